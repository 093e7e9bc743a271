"""The agent's TPM commands on a real swtpm, judged by the verifier and by tpm2-tools."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from fakes import swtpm

from sealward.enclave_agent.attesters.tpm import errors, keys, lock, quote
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrSelection
from sealward.enclave_agent.attesters.tpm.commands import Tpm
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.keys import (
    AttestationKeyKind,
    EndorsementKeyKind,
    Hierarchy,
)
from sealward.enclave_agent.attesters.tpm.transport import Socket
from sealward.verifier.formats.tpm import credential, name, pcr, public
from sealward.verifier.formats.tpm import keys as key_rules
from sealward.verifier.formats.tpm import lock as locks
from sealward.verifier.formats.tpm import quote as quotes
from sealward.verifier.wire.tcg_hash import HashAlg as VerifierHash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fakes.swtpm import Swtpm

    from sealward.enclave_agent.attesters.tpm.codec import PcrBank

pytestmark = pytest.mark.integration

NONCE = bytes(range(32))
BOOT = PcrSelection(HashAlg.SHA256, (*range(8), 23))
BOTH_BANKS = (PcrSelection(HashAlg.SHA384, (0, 7)), PcrSelection(HashAlg.SHA256, tuple(range(24))))
EXTEND_23 = bytes.fromhex("8002 00000041 00000182 00000017 00000009 40000009 0000 00 0000")
PRESENT = (EndorsementKeyKind.RSA_2048, EndorsementKeyKind.ECC_P384)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swtpm]:
    with swtpm.fresh(tmp_path_factory.mktemp("swtpm")) as running:
        yield running


@contextmanager
def speaking(machine: Swtpm) -> Iterator[Tpm]:
    """Only one client at a time may speak: tools run outside of this block."""
    with Socket("127.0.0.1", machine.port) as transport:
        yield Tpm(transport, random_bytes=os.urandom, sleep=time.sleep)


def for_verifier(pcrs: tuple[PcrBank, ...]) -> tuple[pcr.PcrBank, ...]:
    return tuple(pcr.PcrBank(VerifierHash(bank.bank), bank.values) for bank in pcrs)


def quoted(
    tpm: Tpm, kind: AttestationKeyKind, *selections: PcrSelection
) -> tuple[quote.Quote, bytes]:
    """Return a quote by a fresh key, and the key's public area."""
    created = keys.create_attestation_key(tpm, kind, Hierarchy.ENDORSEMENT)
    with keys.loaded(tpm, created, Hierarchy.ENDORSEMENT) as key:
        return quote.collect(tpm, key, selections, nonce=NONCE), key.public.area


@pytest.mark.parametrize("kind", PRESENT)
def test_the_certificate_is_that_of_the_endorsement_key(
    machine: Swtpm, kind: EndorsementKeyKind
) -> None:
    with speaking(machine) as tpm:
        certificate = x509.load_der_x509_certificate(keys.endorsement_certificate(tpm, kind))
        with keys.endorsement_key(tpm, kind) as endorsement:
            area = public.parse(endorsement.public.area)
    certified = certificate.public_key()
    assert isinstance(certified, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    assert key_rules.check_endorsement_key(area)
    assert key_rules.load(area, owner="EK") == certified
    index = "0x1c00002" if kind is EndorsementKeyKind.RSA_2048 else "0x1c00016"
    machine.tool("tpm2_nvread", index, "-C", "o", "-o", "ek.der")
    assert (machine.folder / "ek.der").read_bytes() == certificate.public_bytes(Encoding.DER)


def test_a_certificate_that_is_not_there_is_a_sentence(machine: Swtpm) -> None:
    with speaking(machine) as tpm, pytest.raises(TpmError, match="ecc-p256") as caught:
        keys.endorsement_certificate(tpm, EndorsementKeyKind.ECC_P256)
    assert caught.value.says(errors.HANDLE)


@pytest.mark.parametrize("hierarchy", Hierarchy)
@pytest.mark.parametrize("kind", AttestationKeyKind)
def test_an_attestation_key_keeps_the_verifiers_rules_and_loads_again(
    machine: Swtpm, kind: AttestationKeyKind, hierarchy: Hierarchy
) -> None:
    with speaking(machine) as tpm:
        created = keys.create_attestation_key(tpm, kind, hierarchy)
    with speaking(machine) as tpm, keys.loaded(tpm, created, hierarchy) as key:
        area = public.parse(key.public.area)
        assert tpm.read_public(key.handle) == key.public
    assert key_rules.check_attestation_key(area)
    assert name.name(area) == created.public.name


def test_a_key_of_one_hierarchy_does_not_load_below_the_other(machine: Swtpm) -> None:
    with speaking(machine) as tpm:
        created = keys.create_attestation_key(tpm, AttestationKeyKind.ECC_P256, Hierarchy.OWNER)
        with (
            pytest.raises(TpmError, match="not made for or by this TPM"),
            keys.loaded(tpm, created, Hierarchy.ENDORSEMENT),
        ):
            pass


@pytest.mark.parametrize("kind", EndorsementKeyKind)
def test_a_credential_made_by_the_verifier_activates(
    machine: Swtpm, kind: EndorsementKeyKind
) -> None:
    secret = os.urandom(32)
    with speaking(machine) as tpm:
        created = keys.create_attestation_key(tpm, AttestationKeyKind.ECC_P256, Hierarchy.OWNER)
        with (
            keys.loaded(tpm, created, Hierarchy.OWNER) as key,
            keys.endorsement_key(tpm, kind) as endorsement,
        ):
            made = credential.make(
                public.parse(endorsement.public.area),
                key.public.name,
                secret,
                random_bytes=os.urandom,
            )
            got = keys.activate_credential(
                tpm,
                key,
                endorsement,
                id_object=made.id_object,
                encrypted_secret=made.encrypted_secret,
            )
    assert got == secret


@pytest.mark.parametrize("kind", PRESENT)
def test_a_credential_for_another_key_does_not_activate(
    machine: Swtpm, kind: EndorsementKeyKind
) -> None:
    with speaking(machine) as tpm:
        created, other = (
            keys.create_attestation_key(tpm, AttestationKeyKind.ECC_P256, Hierarchy.OWNER)
            for _ in range(2)
        )
        with (
            keys.loaded(tpm, created, Hierarchy.OWNER) as key,
            keys.endorsement_key(tpm, kind) as endorsement,
        ):
            made = credential.make(
                public.parse(endorsement.public.area),
                other.public.name,
                b"secret",
                random_bytes=os.urandom,
            )
            with pytest.raises(TpmError, match="TPM2_ACTIVATE_CREDENTIAL"):
                keys.activate_credential(
                    tpm,
                    key,
                    endorsement,
                    id_object=made.id_object,
                    encrypted_secret=made.encrypted_secret,
                )


@pytest.mark.parametrize("kind", AttestationKeyKind)
def test_a_quote_holds_before_the_verifier_and_before_tpm2_tools(
    machine: Swtpm, kind: AttestationKeyKind
) -> None:
    with speaking(machine) as tpm:
        made, area = quoted(tpm, kind, *BOTH_BANKS)
    verified = quotes.authenticate(
        made.message, made.signature, ak=public.parse(area), pcrs=for_verifier(made.pcrs)
    )
    assert verified.nonce == NONCE
    files = {"ak.pub": len(area).to_bytes(2, "big") + area, "q.msg": made.message}
    files |= {"q.sig": made.signature}
    for file, content in files.items():
        (machine.folder / file).write_bytes(content)
    check = ("tpm2_checkquote", "-u", "ak.pub", "-m", "q.msg", "-s", "q.sig", "-g", "sha256")
    machine.tool(*check, "-q", NONCE.hex())
    with pytest.raises(AssertionError, match="tpm2_checkquote"):
        machine.tool(*check, "-q", bytes(32).hex())


def test_pcr_values_are_those_that_tpm2_tools_read(machine: Swtpm) -> None:
    machine.tool("tpm2_pcrread", "sha384:0,7+sha256:" + ",".join(map(str, range(24))), "-o", "raw")
    with speaking(machine) as tpm:
        read = quote.read_pcrs(tpm, BOTH_BANKS)
    assert quote.concatenated(read) == (machine.folder / "raw").read_bytes()
    assert tuple(bank.selection for bank in read) == BOTH_BANKS


def test_a_bank_that_is_switched_off_is_a_sentence(machine: Swtpm) -> None:
    with speaking(machine) as tpm, pytest.raises(TpmError, match="keeps no PCR 0 of bank SHA1"):
        quote.read_pcrs(tpm, (PcrSelection(HashAlg.SHA1, (0,)),))


def test_an_extend_changes_the_quote_by_what_was_extended(machine: Swtpm) -> None:
    digest = hashlib.sha256(b"measured").digest()
    with speaking(machine) as tpm:
        before, _ = quoted(tpm, AttestationKeyKind.ECC_P256, BOOT)
    machine.extend(23, digest)
    with speaking(machine) as tpm:
        after, area = quoted(tpm, AttestationKeyKind.ECC_P256, BOOT)
    old, new = (dict(made.pcrs[0].values) for made in (before, after))
    assert new == old | {23: hashlib.sha256(old[23] + digest).digest()}
    verified = quotes.authenticate(
        after.message, after.signature, ak=public.parse(area), pcrs=for_verifier(after.pcrs)
    )
    assert dict(verified.pcrs[0].values)[23] == new[23]


class Meddling:
    """Extends PCR 23 after each of the first `times` PCR reads, as another process could."""

    def __init__(self, inner: Socket, times: int) -> None:
        self._inner = inner
        self._left = times

    def execute(self, command: bytes) -> bytes:
        answer = self._inner.execute(command)
        if command[6:10] == bytes.fromhex("0000017e") and self._left:
            self._left -= 1
            digest = bytes.fromhex("00000001 000b") + bytes(32)
            assert self._inner.execute(EXTEND_23 + digest)[6:10] == bytes(4)
        return answer


@pytest.mark.parametrize("times", [1, 3])
def test_values_and_quote_belong_together_though_a_pcr_changes_meanwhile(
    machine: Swtpm, times: int
) -> None:
    with Socket("127.0.0.1", machine.port) as transport:
        tpm = Tpm(Meddling(transport, times), random_bytes=os.urandom, sleep=time.sleep)
        made, area = quoted(tpm, AttestationKeyKind.ECC_P256, BOOT)
    quotes.authenticate(
        made.message, made.signature, ak=public.parse(area), pcrs=for_verifier(made.pcrs)
    )


def test_pcrs_that_never_rest_are_an_error(machine: Swtpm) -> None:
    with Socket("127.0.0.1", machine.port) as transport:
        tpm = Tpm(Meddling(transport, 1000), random_bytes=os.urandom, sleep=time.sleep)
        with pytest.raises(TpmError, match="during each of"):
            quoted(tpm, AttestationKeyKind.ECC_P256, BOOT)


@pytest.mark.parametrize("hierarchy", Hierarchy)
def test_what_the_tpm_makes_for_a_state_is_the_lock_that_the_verifier_expects_of_it(
    machine: Swtpm, hierarchy: Hierarchy
) -> None:
    with speaking(machine) as tpm:
        pcrs = quote.read_pcrs(tpm, BOTH_BANKS)
        made = lock.make(tpm, lock.lasting(pcrs), hierarchy)
        with keys.endorsement_key(tpm, EndorsementKeyKind.ECC_P384) as endorsement:
            ek = public.parse(endorsement.public.area)
    expected = locks.check(ek, public.parse(made.created.public.area), for_verifier(pcrs))
    assert expected.object_name == made.created.public.name


def test_nothing_stays_in_the_tpm(machine: Swtpm) -> None:
    """Three slots are all there is: whoever leaks one per use fails within three uses."""
    with speaking(machine) as tpm:
        for _ in range(5):
            quoted(tpm, AttestationKeyKind.ECC_P256, BOOT)
            with (
                pytest.raises(TpmError),
                keys.endorsement_key(tpm, EndorsementKeyKind.ECC_P256) as endorsement,
            ):
                keys.activate_credential(
                    tpm, endorsement, endorsement, id_object=b"no", encrypted_secret=b"no"
                )
    for kind in ("transient", "loaded-session", "saved-session"):
        assert machine.tool("tpm2_getcap", f"handles-{kind}").strip() == ""
