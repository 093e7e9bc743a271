"""Answers about revocation are believed from the issuer or its delegate, in date, and no others.

They are minted with `cryptography`, a second implementation of RFC 6960: no real one is at hand.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp as theirs
from fakes import nvidia_devices as lab

from sealward.verifier.formats.nvidia_gpu import revocation
from sealward.verifier.formats.nvidia_gpu.chain import CHAIN_RULES
from sealward.verifier.pki import certificate, ocsp
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence, VerifierError

PATH = lab.gpu_authority("GH100").path
KEYS = lab.gpu_authority("GH100").keys
SUBJECT, ISSUER = certificate.parse(PATH[0]), certificate.parse(PATH[1])
OTHER = certificate.parse(PATH[2])
HOUR = timedelta(hours=1)


def answer(**changes: Any) -> bytes:  # noqa: ANN401 - those of the fake
    return lab.answer(PATH[0], PATH[1], KEYS[1], **changes)


def forged_answer() -> bytes:
    """The issuer's good answer about another time, with the signature of this one."""
    good = answer(next_update=lab.NOW + timedelta(days=9))
    end = (lab.NOW + timedelta(days=9)).strftime("%Y%m%d%H%M%SZ").encode()
    assert good.count(end) == 1
    return good.replace(end, (lab.NOW + timedelta(days=8)).strftime("%Y%m%d%H%M%SZ").encode())


def verify(data: bytes) -> ocsp.Answer:
    return ocsp.verify(data, SUBJECT, ISSUER, rules=CHAIN_RULES)


def refusal(data: bytes) -> Code:
    with pytest.raises(RefusedEvidence) as caught:
        verify(data)
    return caught.value.code


@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("digest", [hashes.SHA1(), hashes.SHA256()], ids=["sha1", "sha256"])  # noqa: S303
def test_the_issuers_answer_is_believed_until_its_next_update(by_key: bool, digest: Any) -> None:  # noqa: ANN401, FBT001
    found = verify(answer(by_key=by_key, digest=digest))
    assert found.revoked is None
    assert found.not_after == lab.NOW + timedelta(days=1)
    assert found.is_current(lab.NOW)
    assert found.is_current(found.not_after)
    assert not found.is_current(found.not_after + timedelta(seconds=1))
    assert not found.is_current(lab.NOW - HOUR - timedelta(seconds=1))


@pytest.mark.parametrize("by_key", [False, True])
def test_a_delegate_may_answer_when_its_certificate_says_so(by_key: bool) -> None:  # noqa: FBT001
    assert verify(answer(delegate=lab.delegate(PATH[1], KEYS[1]), by_key=by_key)).revoked is None


def test_nobody_else_may_answer() -> None:
    not_for_this = lab.delegate(PATH[1], KEYS[1], may_sign=False)
    assert refusal(answer(delegate=not_for_this)) is Code.CERTIFICATE_FORBIDDEN
    of_another = lab.delegate(PATH[2], KEYS[2])
    assert refusal(answer(delegate=of_another)) is Code.CHAIN_BROKEN
    stranger = ec.generate_private_key(ec.SECP384R1())
    forged = lab.delegate(PATH[1], stranger)
    assert refusal(answer(delegate=forged)) is Code.SIGNATURE_INVALID
    assert refusal(forged_answer()) is Code.SIGNATURE_INVALID


def test_an_answer_about_another_certificate_or_about_none_says_nothing() -> None:
    other = lab.answer(PATH[1], PATH[2], KEYS[2])
    assert refusal(other) is Code.COLLATERAL_MISMATCH
    unknown = answer(status=theirs.OCSPCertStatus.UNKNOWN)
    assert refusal(unknown) is Code.COLLATERAL_MISMATCH


def test_an_answer_without_an_end_is_refused() -> None:
    with pytest.raises(MalformedEvidence):
        verify(answer(next_update=None))


def test_a_responder_that_gave_no_answer_is_malformed() -> None:
    sorry = theirs.OCSPResponseBuilder.build_unsuccessful(theirs.OCSPResponseStatus.TRY_LATER)
    with pytest.raises(MalformedEvidence):
        verify(sorry.public_bytes(Encoding.DER))


def test_one_xor_at_every_position_of_an_answer_is_refused() -> None:
    data = answer(delegate=lab.delegate(PATH[1], KEYS[1]))
    verify(data)
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1
        with pytest.raises(VerifierError):
            verify(bytes(damaged))


def check(held: dict[Key, bytes], now: Any = lab.NOW) -> revocation.Revocation:  # noqa: ANN401
    return revocation.check(
        revocation.revocable((SUBJECT, ISSUER, OTHER)),
        rules=CHAIN_RULES,
        source=lab.Store(held),
        now=now,
        cache=ChainCache(),
    )


def keys() -> list[Key]:
    return [Key(Kind.NVIDIA_OCSP, hashlib.sha256(der).hexdigest()) for der in PATH[:2]]


def test_checked_is_said_only_when_every_certificate_has_an_answer_in_date() -> None:
    first, second = keys()
    both = {first: answer(), second: lab.answer(PATH[1], PATH[2], KEYS[2])}
    assert check(both) == revocation.Revocation(lab.NOW + timedelta(days=1), ())
    assert check({}).missing == (first, second)
    assert check({first: both[first]}).missing == (second,)
    late = check(both, lab.NOW + timedelta(days=2))
    assert (late.checked, late.missing) == (False, (first, second))


def test_a_revoked_certificate_is_refused_even_when_the_answer_has_run_out() -> None:
    first, _ = keys()
    for now in (lab.NOW, lab.NOW + timedelta(days=3)):
        with pytest.raises(RefusedEvidence) as caught:
            check({first: answer(revoked=lab.NOW - 2 * HOUR)}, now)
        assert caught.value.code is Code.CERTIFICATE_REVOKED


def test_an_answer_that_is_held_and_forged_is_refused_and_not_passed_over() -> None:
    first, _ = keys()
    forged = forged_answer()
    with pytest.raises(RefusedEvidence) as caught:
        check({first: forged})
    assert caught.value.code is Code.SIGNATURE_INVALID
