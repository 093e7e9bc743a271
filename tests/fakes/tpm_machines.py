"""Machines with a TPM, and instances that attest on them.

Everything a machine does is computed from the TPM specification (fakes/software_tpm.py), and
nothing by the code under test but the envelope and what both sides share (sealward.protos).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

import cbor2
from cryptography.hazmat.primitives import serialization
from fakes import software_tpm
from fakes.control_plane import World
from fakes.instances import Instance
from fakes.software_tpm import ALG, EndorsementKey, SoftwareTpm, lock_object, name_of
from fakes.tpm_cas import ROOT, Ca, certificate_of

from sealward.controlplane.services.attestation_call import AttestAnswer
from sealward.controlplane.services.evidence import Presented
from sealward.controlplane.services.tpm_nodes import CredentialCall
from sealward.protos import agent_pb2, terms, tpm_node
from sealward.protos.terms import VerifiedTerms
from sealward.sealing import hpke
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.binding import Binding, Purpose

BOOT_SET = "tpm-images"
_COMPONENTS = {0: ["firmware"], 4: ["kernel"], 8: ["cmdline", "rootfs", "agent"]}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine with a TPM in one state; its boot is the same wherever `boot` is."""

    label: str = "machine a"
    boot: str = "image 1.0"
    root: Ca = ROOT
    ak: str = "ak"

    @property
    def pcrs(self) -> dict[str, dict[int, bytes]]:
        return {
            "sha256": {n: hashlib.sha256(f"{self.boot} {n}".encode()).digest() for n in range(9)}
        }

    @property
    def ek(self) -> EndorsementKey:
        return EndorsementKey(kind="p256", label=f"ek of {self.label}")

    @property
    def quoting(self) -> SoftwareTpm:
        return SoftwareTpm(
            kind="p256",
            scheme=("ecdsa", "sha256"),
            banks=self.pcrs,
            label=f"{self.ak} of {self.label}",
        )

    @property
    def ak_public(self) -> bytes:
        return self.quoting.ak_public

    @property
    def quoting_name(self) -> bytes:
        """Name of the attestation key."""
        return name_of(self.ak_public)

    @property
    def lock(self) -> bytes:
        """The lock object that an agent makes here for the present state, unlike any other's."""
        unique = hashlib.sha256(self.label.encode()).digest()
        return lock_object(self.pcrs)[: -len(unique)] + unique

    @property
    def platform_id(self) -> str:
        spki = software_tpm.private("p256", self.ek.label).public_key()
        der = spki.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return f"tpm:ek:{hashlib.sha256(der).hexdigest()}"

    def ek_certificate(self, now: datetime) -> bytes:
        return self.certificate_for(self.ek, now)

    def certificate_for(self, ek: EndorsementKey, now: datetime) -> bytes:
        return _ek_certificate(ek, self.root, now)

    def activate(self, made: Credential, loaded: bytes) -> bytes:
        """ActivateCredential with this object: AssertionError where the TPM answers an error.

        The role ADMIN of a lock object needs its policy: PolicyPCR over what the PCRs hold now.
        """
        if loaded[:2] == b"\x00\x08":  # TPM_ALG_KEYEDHASH
            assert loaded == self.lock, "TPM_RC_POLICY_FAIL"
        return self.ek.activate(made.id_object, made.encrypted_secret, name_of(loaded))


def tpm_record(machine: Machine, nonce: bytes, *, made: datetime, **members: Any) -> bytes:  # noqa: ANN401 - members of the payload
    """An envelope with a quote over `nonce`; `m6=None` leaves member 6 out, and so on."""
    quoting = machine.quoting
    message = quoting.message(nonce)
    payload = {
        1: message,
        2: quoting.sign(message),
        3: quoting.ak_public,
        4: [
            [ALG[bank], [[index, values[index]] for index in sorted(values)]]
            for bank, values in machine.pcrs.items()
        ],
        5: None,
        6: machine.ek_certificate(made),
        7: machine.ek.public,
        8: machine.lock,
    }
    payload |= {int(name.removeprefix("m")): value for name, value in members.items()}
    encoded = cbor2.dumps(payload, canonical=True)
    return envelopes.encode(envelopes.Record(envelopes.TPM_EVIDENCE, encoded))


@cache
def _ek_certificate(ek: EndorsementKey, root: Ca, now: datetime) -> bytes:
    return software_tpm.ek_certificate(ek, issuer_name=root.name, issuer_label=root.label, now=now)


@dataclass
class TpmInstance(Instance):
    """An instance on a machine with a TPM.

    `sends_lock` and `lock_of` say which lock object goes with its evidence.
    """

    machine: Machine = field(default_factory=Machine)
    made: datetime = field(kw_only=True)  # of the certificate of the endorsement key
    sends_lock: bool = True
    lock_of: bytes | None = None

    def credential_call(self, world: World, ticket: bytes, **changes: Any) -> CredentialCall:  # noqa: ANN401 - fields of CredentialCall
        call = CredentialCall(
            ticket=ticket,
            tls_spki=self.keys.tls_spki,
            ak_public=self.machine.ak_public,
            ek_public=self.machine.ek.public,
            ek_certificate=self.machine.ek_certificate(self.made),
            received=world.clock.now(),
        )
        return replace(call, **changes)

    def proof(self, world: World, ticket: bytes, nonce: bytes, encoded: bytes) -> bytes:
        """Have the TPM open a credential for this challenge, and prove it for a binding."""
        made = world.plane.tpm_nodes.credential(self.credential_call(world, ticket))
        secret = self.machine.activate(made, self.machine.ak_public)
        return tpm_node.credential_proof(secret, nonce=nonce, binding=encoded)

    def presented(self, world: World, purpose: Purpose, **changes: Any) -> Presented:  # noqa: ANN401 - fields of Binding
        shown = super().presented(world, purpose, **changes)
        if purpose is Purpose.ATTEST:
            return shown
        nonce = Binding.decode(shown.binding).nonce
        proof = self.proof(world, shown.ticket, nonce, shown.binding)
        return replace(shown, credential_proof=proof)

    def evidence(self, encoded: bytes, **members: Any) -> bytes:  # noqa: ANN401 - members of the payload
        """TPM evidence whose quote carries the binding with these bytes."""
        lock = (self.lock_of or self.machine.lock) if self.sends_lock else None
        return tpm_record(
            self.machine, bindings.digest(encoded)[:32], made=self.made, **{"m8": lock, **members}
        )

    def attest(
        self, world: World, workloads: tuple[str, ...] = ("scanner",), *, lost: bool = False
    ) -> AttestAnswer:
        answer = world.plane.attestation.attest(
            self.attest_call(self.presented(world, Purpose.ATTEST), workloads)
        )
        if not lost:
            self.take_locked(answer.terms, answer.content_keys, answer.ratchet, answer.tpm_lock)
        return answer

    def take_locked(
        self,
        cose: bytes,
        content_keys: tuple[bytes, ...],
        ratchet: bytes,
        lock: Credential | None,
    ) -> VerifiedTerms:
        """Take an answer as `take` does; its content keys open in the machine's TPM only."""
        verified = self.take(cose, (), ratchet)
        assert (lock is None) is (not content_keys), "keys and their lock come together"
        if lock is not None:
            secret = self.machine.activate(lock, self.machine.lock)
            self.content_keys |= self.opened(verified.digest, content_keys, secret)
        return verified

    def take_response(self, response: agent_pb2.AttestResponse) -> VerifiedTerms:
        if response.certificate_chain:
            self.chain = tuple(response.certificate_chain)
        lock = response.tpm_lock
        return self.take_locked(
            response.terms,
            tuple(item.ciphertext for item in response.content_keys),
            response.ratchet.ciphertext,
            Credential(lock.id_object, lock.encrypted_secret)
            if response.HasField("tpm_lock")
            else None,
        )

    def opened(
        self, digest: bytes, content_keys: tuple[bytes, ...], secret: bytes
    ) -> dict[bytes, bytes]:
        """Open both layers of content keys; raises what the layer that does not open raises."""
        inner = tpm_node.LockKey.derive(secret, digest)
        found = {}
        for place, wrapped in enumerate(content_keys):
            locked = bytes(hpke.open(self.hpke_key, wrapped, terms.content_key_info(digest)))
            _, key_id, key = terms.decode_content_key(inner.open(place, locked))
            found[key_id] = key
        return found


def trust(world: World, ca: Ca = ROOT, *, issuer: Ca | None = None) -> str:
    """Add a CA as a development anchor; return its fingerprint."""
    anchor = world.plane.admin.trust_anchors.add(
        world.admin, certificate_of(ca, world.clock.now(), issuer), development=True
    )
    return anchor.fingerprint


def describe(
    world: World,
    set_name: str,
    registers: Mapping[int, bytes],
    *,
    covers: Mapping[int, list[str]] = _COMPONENTS,
    trusting: int = 8,
) -> None:
    """Import one boot as a reference set in force."""
    values = [
        {
            "kind": "pcr",
            "key": f"sha256/{index}/{value.hex()}",
            "value": {
                "name": f"{set_name}, PCR {index}",
                "components": covers.get(index, []),
                "trust_config": "image" if index == trusting else None,
            },
        }
        for index, value in registers.items()
    ]
    document = {"name": set_name, "not_after": None, "values": values}
    world.plane.admin.references.import_set(
        world.admin, json.dumps(document).encode(), activate=True
    )


def expect(world: World, machine: Machine, *, set_name: str = BOOT_SET) -> None:
    """Import what this machine's registers hold as a reference set, and allow its platform."""
    describe(world, set_name, machine.pcrs["sha256"])
    allow(world, machine)


def allow(world: World, machine: Machine) -> None:
    """Allow the platform that the machine's TPM is."""
    world.plane.admin.platforms.allow(world.admin, machine.platform_id)


def ready(world: World, machine: Machine | None = None) -> Machine:
    """Trust the CA of a machine, expect its registers and allow its platform."""
    chosen = machine or Machine()
    trust(world, chosen.root)
    expect(world, chosen)
    return chosen


def admitted(world: World, machine: Machine, **how: Any) -> TpmInstance:  # noqa: ANN401 - fields of TpmInstance
    """An instance on this machine that has just enrolled."""
    instance = TpmInstance(world.plane.trust, machine=machine, made=world.clock.now(), **how)
    answer = instance.enroll(world)
    assert answer.code == "", answer
    return instance
