"""TPM nodes: what their evidence is verified under (docs/specs/tpm-node.md 2 and 3).

A TPM's evidence rests on three things that other evidence does not need: anchors that the tenant
added, the proof that the attestation key is in the TPM of the endorsement key (shown once, at
enrolment, by opening a credential), and from then on the record of that proof. All of them are read
in one snapshot, with the epoch under which the anchors stand.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.nodes import Node
from sealward.controlplane.domain.records import RandomBytes
from sealward.controlplane.domain.trust_anchors import AnchorKind, AnchorRole
from sealward.controlplane.services.challenges import ChallengeService
from sealward.controlplane.services.ports import Database, Keystore, Transaction
from sealward.controlplane.services.refusals import refused
from sealward.protos import tpm_node as protocol
from sealward.verifier.composite.tpm_node import ActivatedKey, Trust
from sealward.verifier.formats.tpm import credential as credentials
from sealward.verifier.formats.tpm import endorsement, keys, name, public
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.pki import certificate
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.binding import Purpose, thumbprint
from sealward.verifier.rats.errors import MalformedEvidence, VerifierError
from sealward.verifier.wire import cbor

# How a record of TPM evidence begins: CBOR array of two, then its media type. An envelope has one
# encoding, so that no TPM evidence begins in another way.
_RECORD: Final = b"\x82" + cbor.encode(envelopes.TPM_EVIDENCE)
PLATFORM_PREFIX: Final = "tpm:ek:"  # of platform ids, as verifier/formats/tpm/claims.py makes them
_OPEN_IT: Final = "open the credential of GetCredential in the TPM, for the challenge answered here"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialCall:
    """One request for a credential.

    Attributes:
        ticket: of the challenge that the enrolment will answer.
        tls_spki: the key that the challenge is bound to.
        ak_public: TPMT_PUBLIC of the attestation key.
        ek_public: TPMT_PUBLIC of the endorsement key.
        ek_certificate: DER.
        received: the instant at which the request arrived.
    """

    ticket: bytes
    tls_spki: bytes
    ak_public: bytes
    ek_public: bytes
    ek_certificate: bytes
    received: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmTrust:
    """What one piece of TPM evidence is verified under.

    Attributes:
        trust: anchors and activated keys.
        epochs: fence values under which this stands; a decision on it commits only while they do.
    """

    trust: Trust
    epochs: Mapping[str, int]


def is_tpm(evidence: bytes) -> bool:
    """Tell whether an envelope says that it holds TPM evidence; nothing of it is parsed."""
    return evidence.startswith(_RECORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class TpmNodes:
    """Credentials for TPMs, and the trust that their evidence is verified under."""

    database: Database
    keystore: Keystore = field(repr=False)
    random_bytes: RandomBytes
    challenges: ChallengeService

    def credential(self, call: CredentialCall) -> Credential:
        """Return a credential that only the TPM of the endorsement key opens, beside the AK.

        The checks come in order of cost; nothing is written and the challenge is not spent. The
        secret inside is derived from challenge and keys, so that `enrolling` needs no memory of it.

        Raises:
            Refused: what is wrong with the challenge, `evidence_malformed`, or `evidence_refused`
                for keys and certificates that no TPM of this tenant has.
        """
        challenge = self.challenges.open(
            call.ticket, purpose=Purpose.ENROLL, tls_spki=call.tls_spki, now=call.received
        )
        try:
            ak = public.parse(call.ak_public)
            keys.check_attestation_key(ak)
            ek = public.parse(call.ek_public)
            keys.check_endorsement_key(ek)
            trust = self.database.read(_anchors).trust
            endorsed = endorsement.endorse(
                call.ek_certificate, trust.certificates, roots=trust.roots, now=call.received
            )
            endorsement.check_key(endorsed, ek)
            key = ActivatedKey(name.name(ak), endorsed.sha256)
            return credentials.make(
                ek,
                key.ak_name,
                self._secret(challenge.nonce, key),
                random_bytes=self.random_bytes,
            )
        except VerifierError as error:
            raise refused(error) from error

    def enrolling(self, evidence: bytes, *, nonce: bytes, binding: bytes, proof: bytes) -> TpmTrust:
        """Return the trust for evidence of an enrolment: its keys count as activated by `proof`.

        Args:
            evidence: the envelope, not verified yet: whether these are the keys that quote and
                chain speak of is the verifier's to find out.
            nonce: of the challenge.
            binding: the encoded binding.
            proof: that the TPM opened the credential for these keys.

        Raises:
            Refused: `credential_missing`, `credential_invalid`, or `evidence_refused` without any
                anchor.
            MalformedEvidence: the evidence, a key in it or its certificate does not parse.
        """
        if not proof:
            raise Refused(
                Code.credential_missing,
                "TPM evidence came without the proof that its attestation key is in that TPM",
                _OPEN_IT,
            )
        key = _keys_of(evidence)
        if key is None or not hmac.compare_digest(
            proof,
            protocol.credential_proof(self._secret(nonce, key), nonce=nonce, binding=binding),
        ):
            raise Refused(
                Code.credential_invalid,
                "the proof is not of a credential for these keys, this challenge and this binding",
                _OPEN_IT,
            )
        return self.database.read(lambda tx: _anchors(tx, key))

    def attesting(self, tls_spki: bytes) -> TpmTrust:
        """Return the trust for evidence of a node: its enrolment showed which key is activated.

        Raises:
            Refused: `evidence_refused` without any anchor.
        """
        node_id = thumbprint(tls_spki).hex()
        return self.database.read(lambda tx: _anchors(tx, _recorded(tx.nodes.find(node_id))))

    def _secret(self, nonce: bytes, key: ActivatedKey) -> bytes:
        message = protocol.activation_message(nonce, ek_sha256=key.ek_sha256, ak_name=key.ak_name)
        _, secret = self.keystore.mac(KeyPurpose.tpm_activation, message)
        return secret


def _anchors(tx: Transaction, activated: ActivatedKey | None = None) -> TpmTrust:
    """Return the anchors in force and their epoch; Refused(evidence_refused) without a root."""
    epochs = tx.epochs.read((fences.TRUST_ANCHOR,))
    found = tx.trust_anchors.in_force(AnchorKind.tpm_ek)
    roots = tuple(
        EndorsementRoot(anchor.certificate, anchor.development)
        for anchor in found
        if anchor.role is AnchorRole.root
    )
    if not roots:
        raise Refused(
            Code.evidence_refused,
            "unsupported_format: no trust anchor for TPMs is in force here",
            "add the roots of your TPMs' vendors: sealward trust-anchor add FILE",
        )
    trust = Trust(
        roots=roots,
        certificates=tuple(
            anchor.certificate for anchor in found if anchor.role is AnchorRole.intermediate
        ),
        activated=frozenset(() if activated is None else (activated,)),
    )
    return TpmTrust(trust=trust, epochs=epochs)


def _keys_of(evidence: bytes) -> ActivatedKey | None:
    """Return the keys that evidence names; None without a certificate of the endorsement key.

    Raises:
        MalformedEvidence: it does not parse.
    """
    record = envelopes.decode(evidence)
    if not isinstance(record, envelopes.Record):
        raise MalformedEvidence(0, "TPM evidence: not one record")
    found = tpm_evidence.parse(record.value)
    if found.ek_certificate is None:
        return None
    ek = certificate.parse(found.ek_certificate).spki
    return ActivatedKey(name.name(public.parse(found.ak_public)), hashlib.sha256(ek).hexdigest())


def _recorded(node: Node | None) -> ActivatedKey | None:
    """Return the key whose activation a node's record keeps."""
    platform = None if node is None else node.platform_id
    if node is None or platform is None or not platform.startswith(PLATFORM_PREFIX):
        return None
    ak_name = bytes.fromhex(node.instance_value)
    return ActivatedKey(ak_name, platform.removeprefix(PLATFORM_PREFIX))
