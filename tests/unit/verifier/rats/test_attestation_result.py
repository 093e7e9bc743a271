"""What a reader of attestation results believes, and each thing that makes it refuse."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fakes.ear_tokens import AUDIENCE, NOW, VECTOR, Maker, claims_of
from hypothesis import given
from hypothesis import strategies as st

from sealward.verifier.rats.attestation_result import InvalidResult, Problem
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.result import Dimension, Tier
from sealward.verifier.rats.result_keys import ResultKey, decode_set, encode_set
from sealward.verifier.wire import base64, json

MAKER = Maker.fresh()
OTHER = Maker.fresh()
TOKEN = MAKER.token()


def problem_of(token: str, **how: object) -> Problem:
    with pytest.raises(InvalidResult) as caught:
        MAKER.verify(token, **how)
    return caught.value.problem


def test_a_result_that_holds_says_what_its_maker_found() -> None:
    result = MAKER.verify(TOKEN)
    assert [one.label for one in result.appraisals] == ["gpu-0", "snp"]
    assert result.status is Tier.AFFIRMING
    assert result.appraisals[1].vector.to_json() == VECTOR
    assert (result.node, result.issued_at) == ("0b" * 32, NOW)
    assert result.basis.to_json() == claims_of(MAKER.node)["ear.sealward"]


def test_a_copied_result_is_worth_nothing_to_another_key() -> None:
    assert problem_of(TOKEN, presenter=OTHER.node) is Problem.CONFIRMATION
    for bound in (None, {}, {"jkt": 7}, {"jwk": {}}, "text"):
        assert problem_of(MAKER.token(cnf=bound)) is Problem.CONFIRMATION, bound


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"aud": None}, Problem.AUDIENCE),
        ({"aud": "https://bank.example.evil"}, Problem.AUDIENCE),
        ({"aud": [AUDIENCE, "https://other.example"]}, Problem.AUDIENCE),
        ({"eat_profile": None}, Problem.PROFILE),
        ({"eat_profile": "tag:ietf.org,2026:rats/ear#05"}, Problem.PROFILE),
        ({"eat_nonce": None}, Problem.NONCE),
        ({"eat_nonce": "AAAAAAAAAAAAAAAAAAAAAA"}, Problem.NONCE),
        ({"iat": None}, Problem.MALFORMED),
        ({"exp": None}, Problem.MALFORMED),
        ({"exp": True}, Problem.MALFORMED),
        ({"exp": "1"}, Problem.MALFORMED),
        ({"exp": 253_402_300_800}, Problem.MALFORMED),
        ({"jti": None}, Problem.MALFORMED),
        ({"submods": {}}, Problem.MALFORMED),
        ({"submods": {"snp": {}}}, Problem.MALFORMED),
        ({"ear.sealward": None}, Problem.MALFORMED),
        ({"ear.sealward": {}}, Problem.MALFORMED),
    ],
)
def test_a_claim_that_is_not_as_it_must_be_is_refused(
    changes: dict[str, object], problem: Problem
) -> None:
    assert problem_of(MAKER.token(**changes)) is problem


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"typ": "JWT"},
        {"typ": None},
        {"crit": ["exp"]},
        {"jku": "https://evil.example"},
    ],
)
def test_any_other_header_is_refused(header: dict[str, object]) -> None:
    assert problem_of(MAKER.with_header(**header).token()) is Problem.HEADER


def test_only_a_known_key_signs() -> None:
    assert problem_of(OTHER.token()) is Problem.UNKNOWN_KEY
    assert problem_of(OTHER.with_header(kid=MAKER.key.key_id).token()) is Problem.SIGNATURE


def test_time_is_a_half_open_interval_with_leeway_for_the_makers_clock() -> None:
    end = NOW + timedelta(minutes=5)
    MAKER.verify(TOKEN, now=end - timedelta(milliseconds=1))
    assert problem_of(TOKEN, now=end) is Problem.EXPIRED
    MAKER.verify(TOKEN, now=NOW - timedelta(seconds=10))
    assert problem_of(TOKEN, now=NOW - timedelta(seconds=11)) is Problem.NOT_YET_VALID


def test_every_flipped_bit_of_a_token_is_refused() -> None:
    data = TOKEN.encode()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(InvalidResult):
            MAKER.verify(changed.decode("latin-1"))


def test_a_claim_that_is_there_twice_is_refused() -> None:
    twice = b'{"aud":"https://evil.example",' + json.canonical(claims_of(MAKER.node))[1:]
    assert problem_of(MAKER.token(twice)) is Problem.MALFORMED


@pytest.mark.parametrize(
    ("statuses", "status"),
    [
        (("affirming", "affirming"), Tier.AFFIRMING),
        (("affirming", "warning"), Tier.WARNING),
        (("affirming", "none"), Tier.NONE),
        (("warning", "none"), Tier.CONTRAINDICATED),
        (("none", "contraindicated"), Tier.CONTRAINDICATED),
    ],
)
def test_the_worst_attester_decides(statuses: tuple[str, str], status: Tier) -> None:
    submods = {
        f"part-{at}": {**claims_of(MAKER.node)["submods"]["snp"], "ear.status": one}
        for at, one in enumerate(statuses)
    }
    result = MAKER.verify(MAKER.token(submods=submods))
    assert result.status is status
    assert result.passes(()) is (status is Tier.AFFIRMING)


def test_nothing_is_taken_as_said_that_is_not_said() -> None:
    result = MAKER.verify(TOKEN)
    assert result.passes((Dimension.HARDWARE, Dimension.EXECUTABLES))
    assert not result.passes((Dimension.FILE_SYSTEM,))  # claimed as `none`


def test_a_value_of_a_maker_s_own_is_of_the_tier_that_its_size_says() -> None:
    submods = {
        "snp": {
            **claims_of(MAKER.node)["submods"]["snp"],
            "ear.trustworthiness-vector": {"hardware": 97, "executables": -3},
        }
    }
    vector = MAKER.verify(MAKER.token(submods=submods)).appraisals[0].vector
    assert (vector.hardware, vector.executables) == (Tier.CONTRAINDICATED, Tier.AFFIRMING)
    assert vector.instance_identity is Tier.NONE


@given(st.text(max_size=300))
def test_no_text_is_a_result(text: str) -> None:
    problem_of(text)


@given(st.binary(max_size=200))
def test_no_signed_bytes_but_claims_are_a_result(data: bytes) -> None:
    problem_of(MAKER.token(data))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**52), 2**52) | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    st.sampled_from(sorted(claims_of(MAKER.node))),
)
def test_a_signed_claim_of_any_type_is_read_or_refused(value: object, name: str) -> None:
    try:
        MAKER.verify(MAKER.token(**{name: value}))
    except InvalidResult:
        return


# --- keys ---------------------------------------------------------------------------------------


def test_a_key_set_reads_as_it_was_written() -> None:
    keys = (MAKER.key, OTHER.key)
    assert decode_set(encode_set(keys)) == keys


def test_a_thumbprint_is_that_of_rfc_7638() -> None:
    """Computed with PyJWT's key and the RFC's own recipe."""
    spki = MAKER.signing.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert ResultKey.from_spki(spki) == MAKER.key
    jwk = MAKER.key.to_jwk()
    text = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    assert jwk["kid"] == base64.encode_url(hashlib.sha256(text.encode()).digest())


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "RSA"},
        {"crv": "P-384"},
        {"alg": "none"},
        {"use": "enc"},
        {"x": "AA"},
        {"x": 7},
        {"kid": "another"},
        {"y": base64.encode_url(bytes(32))},
    ],
)
def test_a_key_of_another_kind_is_refused(changes: dict[str, object]) -> None:
    document = {"keys": [{**MAKER.key.to_jwk(), **changes}]}
    with pytest.raises(MalformedEvidence):
        decode_set(json.canonical(document))


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"keys":[]}', b'{"keys":[7]}', b"", b"\xff"])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        decode_set(document)


def test_a_key_on_another_curve_is_refused() -> None:
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(MalformedEvidence):
        ResultKey.from_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(MalformedEvidence):
        ResultKey.from_spki(b"spki")
