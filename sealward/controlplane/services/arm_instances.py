"""Arm CCA platforms and PSA devices: the tenant's key that their evidence is verified under.

No certificate stands behind such a token: it names an instance, and the tenant has said which key
is that instance's. The key is found by what the token says of itself before anything is verified;
whether the token is that instance's is the verifier's to find out, under this key and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.trust_anchors import AnchorKind, TrustAnchor, VouchedInstance
from sealward.controlplane.services.ports import Database, Transaction
from sealward.verifier.formats.cca import evidence as cca_evidence
from sealward.verifier.formats.cca import token as cca_token
from sealward.verifier.formats.psa import evidence as psa_evidence
from sealward.verifier.formats.psa import token as psa_token
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import Record
from sealward.verifier.registry.composite import MACHINE

# Whoever sends one of these kinds, alone or with devices, spells its media type out.
_SPELLED: Final = (envelopes.CCA_EVIDENCE.encode(), envelopes.PSA_EVIDENCE.encode())


@dataclass(frozen=True, slots=True)
class InstanceTrust:
    """What one piece of Arm evidence is verified under.

    Attributes:
        keys: of the instance that the token names.
        epochs: fence values under which they stand; a decision commits only while they do.
    """

    keys: tuple[InstanceKey, ...]
    epochs: Mapping[str, int]


NO_INSTANCE: Final = InstanceTrust((), {})
"""For every other kind of evidence, which rests on no such key."""


def trust(database: Database, evidence: bytes) -> InstanceTrust:
    """Return what an envelope with a CCA or PSA token is verified under; of others, nothing.

    Other kinds cost a look for the two media types; nothing of them is parsed.

    Raises:
        MalformedEvidence: envelope or token do not parse.
        RefusedEvidence: ENDORSEMENT_MISSING, the tenant vouches for no such instance.
    """
    instance = _instance_of(evidence)
    if instance is None:
        return NO_INSTANCE
    return database.read(lambda tx: _vouched(tx, instance))


def key_of(anchor: TrustAnchor) -> InstanceKey | None:
    """Return the key that an anchor holds; None for a certificate."""
    instance = anchor.instance
    if instance is None:
        return None
    implementation = instance.implementation_id
    return InstanceKey(
        scheme=Scheme(instance.scheme),
        spki=anchor.certificate,
        instance_id=bytes.fromhex(instance.instance_id),
        implementation_id=None if implementation is None else bytes.fromhex(implementation),
    )


def _vouched(tx: Transaction, instance: VouchedInstance) -> InstanceTrust:
    epochs = tx.epochs.read((fences.TRUST_ANCHOR,))
    anchor = tx.trust_anchors.find(instance.kind, instance.fingerprint)
    key = None if anchor is None or anchor.removed is not None else key_of(anchor)
    if key is None:
        raise RefusedEvidence(
            Code.ENDORSEMENT_MISSING,
            f"no key of this {instance.scheme} instance is a trust anchor here",
            claim="platform_id",
            expected="an instance whose key is a trust anchor",
            actual=instance.platform_id,
            hint=f"add the key that its maker names: sealward trust-anchor add KEY.pem"
            f" --kind {instance.kind} --instance-id {instance.instance_id}",
        )
    return InstanceTrust((key,), epochs)


def _instance_of(evidence: bytes) -> VouchedInstance | None:
    """Return the instance that a token says it is of; None where there is no token."""
    if not any(spelled in evidence for spelled in _SPELLED):
        return None
    envelope = envelopes.decode(evidence)
    record = envelope if isinstance(envelope, Record) else dict(envelope.entries).get(MACHINE)
    if not isinstance(record, Record):
        return None
    if record.media_type == envelopes.CCA_EVIDENCE:
        cca = cca_token.parse(cca_evidence.parse(record.value))
        return VouchedInstance(AnchorKind.cca_key, cca.platform.instance_id.hex())
    if record.media_type == envelopes.PSA_EVIDENCE:
        psa = psa_token.parse(psa_evidence.parse(record.value))
        return VouchedInstance(AnchorKind.psa_key, psa.instance_id.hex())
    return None
