"""Credentials for TPMs, and what TPM evidence is verified under (docs/specs/tpm-node.md 2, 3)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from fakes.admin_plane import START, AdminPlane
from fakes.software_tpm import EndorsementKey, name_of, public_area
from fakes.state import a_node
from fakes.tpm_cas import BELOW, OTHER_ROOT, ROOT, Ca, certificate_of
from fakes.tpm_machines import Machine, tpm_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.services.challenges import ChallengeService, IssuedChallenge
from sealward.controlplane.services.tpm_nodes import CredentialCall, TpmNodes, is_tpm
from sealward.protos import tpm_node
from sealward.verifier.composite.tpm_node import ActivatedKey
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.binding import Purpose, thumbprint
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import pem

SPKI = b"an instance's key"
BINDING = b"a binding"
MACHINE = Machine()


@dataclass
class Desk:
    """TPM nodes over an administration that trusts the root of `MACHINE`."""

    plane: AdminPlane
    alice: Principal
    nodes: TpmNodes

    def challenge(self, purpose: Purpose = Purpose.ENROLL) -> IssuedChallenge:
        return self.nodes.challenges.issue(purpose, SPKI)

    def call(self, machine: Machine = MACHINE, **changes: Any) -> CredentialCall:  # noqa: ANN401 - any field
        fields: dict[str, Any] = {
            "ticket": self.challenge().ticket if "ticket" not in changes else b"",
            "tls_spki": SPKI,
            "ak_public": machine.ak_public,
            "ek_public": machine.ek.public,
            "ek_certificate": machine.ek_certificate(START),
            "received": self.plane.clock.now(),
        }
        return CredentialCall(**(fields | changes))

    def opened(self, given: IssuedChallenge, machine: Machine = MACHINE) -> bytes:
        """Have the TPM open a credential for a challenge."""
        made = self.nodes.credential(self.call(machine, ticket=given.ticket))
        return machine.activate(made, machine.ak_public)

    def proof(self, given: IssuedChallenge, machine: Machine = MACHINE) -> bytes:
        secret = self.opened(given, machine)
        return tpm_node.credential_proof(secret, nonce=given.nonce, binding=BINDING)


@pytest.fixture
def desk(plane: AdminPlane) -> Desk:
    alice = plane.administrator().principal
    challenges = ChallengeService(
        keystore=plane.keystore,
        clock=plane.clock,
        random_bytes=secrets.token_bytes,
        trust=plane.services.trust.configuration,
    )
    nodes = TpmNodes(
        database=plane.database,
        keystore=plane.keystore,
        random_bytes=secrets.token_bytes,
        challenges=challenges,
    )
    plane.services.trust_anchors.add(alice, certificate_of(ROOT, START))
    return Desk(plane, alice, nodes)


def refusal(desk: Desk, call: CredentialCall) -> Refused:
    before = desk.plane.row_counts()
    with pytest.raises(Refused) as caught:
        desk.nodes.credential(call)
    assert desk.plane.row_counts() == before
    return caught.value


# Credentials.


def test_a_credential_opens_in_its_tpm_beside_its_key_only(desk: Desk) -> None:
    given = desk.challenge()
    made = desk.nodes.credential(desk.call(ticket=given.ticket))
    secret = MACHINE.activate(made, MACHINE.ak_public)
    assert len(secret) == 32
    for other in (Machine(label="machine b"), Machine(ak="another key")):
        with pytest.raises((AssertionError, ValueError)):
            other.activate(made, other.ak_public)


@pytest.mark.parametrize("kind", ["rsa2048", "p384"])
def test_every_kind_of_endorsement_key_gets_one(desk: Desk, kind: str) -> None:
    ek = EndorsementKey(kind=kind, label="another kind")
    given = desk.challenge()
    made = desk.nodes.credential(
        desk.call(
            ticket=given.ticket,
            ek_public=ek.public,
            ek_certificate=MACHINE.certificate_for(ek, START),
        )
    )
    opened = ek.activate(made.id_object, made.encrypted_secret, name_of(MACHINE.ak_public))
    assert len(opened) == 32


def test_asking_for_one_writes_nothing_and_spends_nothing(desk: Desk) -> None:
    before = desk.plane.everything_stored()
    given = desk.challenge()
    assert desk.opened(given) == desk.opened(given), "the secret follows from challenge and keys"
    assert desk.plane.everything_stored() == before


def test_the_secret_is_the_one_of_the_specification(desk: Desk) -> None:
    given = desk.challenge()
    ek = bytes.fromhex(MACHINE.platform_id.removeprefix("tpm:ek:"))
    label = b"\x00\x1asealward/tpm-activation/v1"
    message = label + given.nonce + ek + name_of(MACHINE.ak_public)
    _, expected = desk.plane.keystore.mac(KeyPurpose.tpm_activation, message)
    assert desk.opened(given) == expected


def test_secrets_differ_with_challenge_and_keys(desk: Desk) -> None:
    first, second = desk.challenge(), desk.challenge()
    machines = (MACHINE, Machine(label="machine b"), Machine(ak="another key"))
    found = {desk.opened(given, machine) for given in (first, second) for machine in machines}
    assert len(found) == 6


def test_an_intermediate_completes_a_chain(desk: Desk) -> None:
    below = Machine(label="machine c", root=BELOW)
    assert refusal(desk, desk.call(below)).detail.startswith("endorsement_missing: ")
    desk.plane.services.trust_anchors.add(desk.alice, certificate_of(BELOW, START, ROOT))
    assert len(desk.opened(desk.challenge(), below)) == 32


def test_an_intermediate_alone_vouches_for_nothing(desk: Desk) -> None:
    anchors = desk.plane.services.trust_anchors
    anchors.add(desk.alice, certificate_of(BELOW, START, ROOT))
    root = next(a for a in anchors.page(desk.alice, limit=9, after=None).items if a.role == "root")
    anchors.remove(desk.alice, root.fingerprint, reason="a test")
    error = refusal(desk, desk.call(Machine(root=BELOW)))
    assert (error.code, error.hint.rpartition(": ")[2]) == (
        Code.evidence_refused,
        "sealward trust-anchor add FILE",
    )


def test_without_any_anchor_the_command_is_named(desk: Desk) -> None:
    anchors = desk.plane.services.trust_anchors
    (root,) = anchors.page(desk.alice, limit=9, after=None).items
    anchors.remove(desk.alice, root.fingerprint, reason="a test")
    error = refusal(desk, desk.call())
    assert error.code is Code.evidence_refused
    assert "sealward trust-anchor add" in error.hint


def ak(attributes: int = 0x00050072) -> bytes:
    return public_area("p256", "bad", scheme=("ecdsa", "sha256"), attributes=attributes)


MALFORMED: dict[str, dict[str, Any]] = {
    "ak": {"ak_public": b""},
    "ak with a trailing byte": {"ak_public": MACHINE.ak_public + b"\0"},
    "large ak": {"ak_public": bytes(5000)},
    "ek": {"ek_public": MACHINE.ek.public[:-1]},
    "certificate": {"ek_certificate": b"\x30\x00"},
    "large certificate": {"ek_certificate": bytes(1 << 20)},
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an ak that could leave its TPM": ({"ak_public": ak(0x00050070)}, "key_attributes_forbidden"),
    "an ak that decrypts": ({"ak_public": ak(0x00070072)}, "key_attributes_forbidden"),
    "an ek in the place of the ak": ({"ak_public": MACHINE.ek.public}, "key_attributes_forbidden"),
    "an ak in the place of the ek": ({"ek_public": MACHINE.ak_public}, "key_attributes_forbidden"),
    "another ek than the certified one": (
        {"ek_public": Machine(label="machine b").ek.public},
        "key_kind_mismatch",
    ),
    "the certificate of a CA": (
        {"ek_certificate": certificate_of(ROOT, START)},
        "certificate_forbidden",
    ),
    "a certificate of a CA that nobody added": (
        {"ek_certificate": Machine(root=OTHER_ROOT).ek_certificate(START)},
        "endorsement_missing",
    ),
    "a certificate of one that only bears the name": (
        {
            "ek_certificate": Machine(
                label="machine d", root=Ca(name=ROOT.name, label="an impostor")
            ).ek_certificate(START)
        },
        "signature_invalid",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_does_not_parse_is_malformed(desk: Desk, case: str) -> None:
    assert refusal(desk, desk.call(**MALFORMED[case])).code is Code.evidence_malformed


@pytest.mark.parametrize("case", REFUSED)
def test_keys_and_certificates_of_no_tpm_of_ours_are_refused(desk: Desk, case: str) -> None:
    changes, told = REFUSED[case]
    error = refusal(desk, desk.call(**changes))
    assert (error.code, error.detail.partition(":")[0]) == (Code.evidence_refused, told)


def test_a_chain_that_has_ended_is_refused(desk: Desk) -> None:
    desk.plane.clock.advance(timedelta(days=60))
    assert refusal(desk, desk.call()).detail.startswith("certificate_expired: ")


def test_the_challenge_comes_first(desk: Desk) -> None:
    """F30: nothing of a stranger's is parsed before his ticket is known to be ours."""
    nonsense: dict[str, Any] = {"ak_public": b"?", "ek_public": b"?", "ek_certificate": b"?"}
    given = desk.challenge()
    forged = given.ticket[:-1] + bytes([given.ticket[-1] ^ 1])
    assert refusal(desk, desk.call(ticket=forged, **nonsense)).code is Code.challenge_invalid
    other = desk.call(ticket=given.ticket, tls_spki=b"another key", **nonsense)
    assert refusal(desk, other).code is Code.key_mismatch
    attesting = desk.challenge(Purpose.ATTEST).ticket
    assert refusal(desk, desk.call(ticket=attesting, **nonsense)).code is Code.purpose_mismatch
    desk.plane.clock.advance(timedelta(seconds=31))
    assert refusal(desk, desk.call(ticket=given.ticket, **nonsense)).code is Code.challenge_expired


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    field=st.sampled_from(("ticket", "ak_public", "ek_public", "ek_certificate")),
    at=st.integers(min_value=0),
    bit=st.integers(0, 7),
)
def test_no_flipped_bit_gets_a_credential_or_an_undocumented_error(
    desk: Desk, field: str, at: int, bit: int
) -> None:
    call = desk.call()
    value = bytearray(getattr(call, field))
    value[at % len(value)] ^= 1 << bit
    try:
        made = desk.nodes.credential(replace(call, **{field: bytes(value)}))
    except Refused:
        return
    # A certificate says nothing of its key's template, and another AK's area may read as one: that
    # credential opens beside that AK, which no TPM has.
    assert field in {"ak_public", "ek_public"}
    if field == "ak_public":
        with pytest.raises(AssertionError):
            MACHINE.activate(made, MACHINE.ak_public)


# The proof at an enrolment.


def enrolling(desk: Desk, given: IssuedChallenge, proof: bytes, **how: Any) -> Any:  # noqa: ANN401 - TpmTrust
    arguments: dict[str, Any] = {
        "evidence": tpm_record(MACHINE, b"whatever", made=START),
        "nonce": given.nonce,
        "binding": BINDING,
        "proof": proof,
    }
    arguments |= how
    return desk.nodes.enrolling(arguments.pop("evidence"), **arguments)


def refused_proof(desk: Desk, given: IssuedChallenge, proof: bytes, **how: Any) -> Code:  # noqa: ANN401 - as above
    with pytest.raises(Refused) as caught:
        enrolling(desk, given, proof, **how)
    return caught.value.code


def test_the_proof_activates_exactly_the_keys_of_the_credential(desk: Desk) -> None:
    given = desk.challenge()
    found = enrolling(desk, given, desk.proof(given))
    ek = MACHINE.platform_id.removeprefix("tpm:ek:")
    assert found.trust.activated == {ActivatedKey(name_of(MACHINE.ak_public), ek)}
    assert [root.der for root in found.trust.roots] == [certificate_of(ROOT, START)]
    assert found.epochs == {fences.TRUST_ANCHOR: 0}


def test_no_proof_is_its_own_refusal(desk: Desk) -> None:
    assert refused_proof(desk, desk.challenge(), b"") is Code.credential_missing


def test_a_proof_for_anything_else_is_refused(desk: Desk) -> None:
    given, other = desk.challenge(), desk.challenge()
    proof = desk.proof(given)
    for changed in (
        {"nonce": other.nonce},
        {"binding": b"another binding"},
        {"evidence": tpm_record(Machine(ak="another key"), b"x", made=START)},
        {"evidence": tpm_record(Machine(label="machine b"), b"x", made=START)},
        {"evidence": tpm_record(MACHINE, b"x", made=START, m6=None, m7=None, m8=None)},
    ):
        assert refused_proof(desk, given, proof, **changed) is Code.credential_invalid
    assert refused_proof(desk, other, desk.proof(given)) is Code.credential_invalid
    by_another_tpm = desk.proof(given, Machine(label="machine b"))
    assert refused_proof(desk, given, by_another_tpm) is Code.credential_invalid
    beside_another_key = desk.proof(given, Machine(ak="another key"))
    assert refused_proof(desk, given, beside_another_key) is Code.credential_invalid


@given(proof=st.binary(min_size=1, max_size=64))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_guess_is_a_proof(desk: Desk, proof: bytes) -> None:
    assert refused_proof(desk, desk.challenge(), proof) is Code.credential_invalid


def test_a_proof_made_under_another_installations_key_is_refused(desk: Desk) -> None:
    given = desk.challenge()
    message = tpm_node.activation_message(
        given.nonce,
        ek_sha256=MACHINE.platform_id.removeprefix("tpm:ek:"),
        ak_name=name_of(MACHINE.ak_public),
    )
    for key in (b"", bytes(32), hashlib.sha256(b"guess").digest()):
        secret = hmac.digest(key, message, "sha256")
        proof = tpm_node.credential_proof(secret, nonce=given.nonce, binding=BINDING)
        assert refused_proof(desk, given, proof) is Code.credential_invalid


def test_evidence_that_does_not_parse_is_malformed(desk: Desk) -> None:
    given = desk.challenge()
    whole = tpm_record(MACHINE, b"x", made=START)
    for evidence in (whole[:-1], whole + b"\0", tpm_record(MACHINE, b"x", made=START, m3=b"?")):
        with pytest.raises(MalformedEvidence):
            enrolling(desk, given, b"proof", evidence=evidence)


# The record of a node.


def test_a_nodes_record_says_which_key_is_activated(desk: Desk) -> None:
    ak_name, ek = name_of(MACHINE.ak_public), "ab" * 32
    nodes = {
        "tpm": (a_node("tpm", instance_value=ak_name.hex(), platform_id=f"tpm:ek:{ek}"), True),
        "snp": (a_node("snp", instance_value="00" * 32, platform_id="snp:chip:00"), False),
        "unproven": (a_node("unproven", instance_value=ak_name.hex(), platform_id=None), False),
    }
    for name, (node, activated) in nodes.items():
        kept = replace(node, node_id=thumbprint(name.encode()).hex())
        desk.plane.database.write(lambda tx, n=kept: tx.nodes.add(n))
        found = desk.nodes.attesting(name.encode()).trust.activated
        assert found == ({ActivatedKey(ak_name, ek)} if activated else set()), name
    assert desk.nodes.attesting(b"a stranger").trust.activated == frozenset()


def test_trust_is_read_with_its_epoch(desk: Desk) -> None:
    anchors = desk.plane.services.trust_anchors
    other = anchors.add(desk.alice, certificate_of(OTHER_ROOT, START), development=True)
    both = desk.nodes.attesting(SPKI)
    assert {root.development for root in both.trust.roots} == {True, False}
    anchors.remove(desk.alice, other.fingerprint, reason="a test")
    one = desk.nodes.attesting(SPKI)
    assert [root.der for root in one.trust.roots] == [certificate_of(ROOT, START)]
    assert one.epochs[fences.TRUST_ANCHOR] == both.epochs[fences.TRUST_ANCHOR] + 1


def test_only_a_record_of_tpm_evidence_is_taken_for_one() -> None:
    record = tpm_record(MACHINE, b"x", made=START)
    assert is_tpm(record)
    for other in (envelopes.SNP_EVIDENCE, envelopes.TPM_EVIDENCE + "x", "a/b"):
        assert not is_tpm(envelopes.encode(envelopes.Record(other, b"x")))
    inside = envelopes.Collection((("tpm", envelopes.Record(envelopes.TPM_EVIDENCE, b"x")),))
    assert not is_tpm(envelopes.encode(inside))
    assert not is_tpm(b"")


@pytest.mark.parametrize(("id_", "mac"), [("tpm-swtpm-rsa", 32), ("tpm-swtpm-ecc", 48)])
def test_a_tpm_of_swtpm_gets_a_credential_under_its_own_ca(
    desk: Desk, vectors_dir: Path, id_: str, mac: int
) -> None:
    """Files that swtpm and tpm2-tools wrote: CA, certificate and public areas."""

    def part(name: str) -> bytes:
        return (vectors_dir / "tpm" / f"{id_}.{name}").read_bytes()

    for name in ("swtpm-localca-rootca-cert.pem", "issuercert.pem"):
        (der,) = pem.decode(part(name), what=name, max_bytes=1 << 16)
        desk.plane.clock.instant = max(
            desk.plane.clock.instant, x509.load_der_x509_certificate(der).not_valid_before_utc
        )
        desk.plane.services.trust_anchors.add(desk.alice, der, development=True)
    call = desk.call(
        ak_public=part("ak.pub"),
        ek_public=part("ek.pub")[2:],  # TPM2B_PUBLIC: the size in front
        ek_certificate=part("ek.der"),
    )
    made = desk.nodes.credential(call)
    assert len(made.id_object) == 2 + mac + 2 + 32  # sizes, the name algorithm's HMAC, the secret
