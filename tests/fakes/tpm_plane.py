"""What a fake control plane does for TPM nodes: credentials, their proofs, locks.

It verifies with the real verifier and computes with what both sides share, so an agent that passes
here does what docs/specs/tpm-node.md says.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sealward.protos import agent_pb2, tpm_node
from sealward.protos.tpm_node import LockKey
from sealward.verifier.composite.tpm_node import Trust, VerifiedNode
from sealward.verifier.formats.tpm import credential, endorsement, name, public
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.binding import Binding
from sealward.verifier.registry import Context, authenticate


@dataclass
class TpmPlane:
    """One tenant's trust in TPMs, and what its nodes have shown.

    `edit_credential` and `edit_lock` change what is sent, to None for nothing at all.
    """

    roots: tuple[bytes, ...]
    intermediates: tuple[bytes, ...] = ()
    edit_credential: Callable[[agent_pb2.TpmCredential], agent_pb2.TpmCredential] = lambda it: it
    edit_lock: Callable[[agent_pb2.TpmCredential], agent_pb2.TpmCredential | None] = lambda it: it
    requests: list[agent_pb2.CredentialRequest] = field(default_factory=list)
    shown: dict[bytes, VerifiedNode] = field(default_factory=dict)  # the last, by TLS key
    locked: int = 0

    def __post_init__(self) -> None:
        self._key = os.urandom(32)

    @property
    def trust(self) -> Trust:
        roots = tuple(EndorsementRoot(der, development=True) for der in self.roots)
        return Trust(roots=roots, certificates=self.intermediates)

    def credential(
        self, request: agent_pb2.CredentialRequest, nonce: bytes
    ) -> agent_pb2.TpmCredential:
        """Answer GetCredential."""
        assert request.protocol_version == 1
        self.requests.append(request)
        trust = self.trust
        endorsed = endorsement.endorse(
            request.ek_certificate, trust.certificates, roots=trust.roots, now=_now()
        )
        ek, ak = public.parse(request.ek_public), public.parse(request.ak_public)
        endorsement.check_key(endorsed, ek)
        secret = self._secret(nonce, endorsed.sha256, name.name(ak))
        made = credential.make(ek, name.name(ak), secret, random_bytes=os.urandom)
        return self.edit_credential(_message(made))

    def carried(self, encoded: bytes, evidence: bytes, proof: bytes | None) -> bytes:
        """Verify evidence, and the proof of an enrolment; return what the quote carries."""
        said = Binding.decode(encoded)
        context = Context(anchors=TrustAnchors(), now=_now(), cache=ChainCache(), tpm=self.trust)
        node = authenticate(evidence, context).native
        assert isinstance(node, VerifiedNode)
        assert node.ek is not None
        if proof is not None:
            secret = self._secret(said.nonce, node.ek.sha256, node.quote.ak_name)
            expected = tpm_node.credential_proof(secret, nonce=said.nonce, binding=encoded)
            assert hmac.compare_digest(proof, expected), "credential_invalid"
        self.shown[said.tls_spki] = node
        return node.quote.nonce

    def lock(self, tls_spki: bytes, digest: bytes, answer: agent_pb2.AttestResponse) -> LockKey:
        """Put a lock into an answer; return what locks its content keys."""
        lock = self.shown[tls_spki].lock
        assert lock is not None, "tpm_lock_missing"
        secret = os.urandom(32)
        made = credential.make(lock.ek, lock.object_name, secret, random_bytes=os.urandom)
        edited = self.edit_lock(_message(made))
        if edited is not None:
            answer.tpm_lock.CopyFrom(edited)
        self.locked += 1
        return LockKey.derive(secret, digest)

    def _secret(self, nonce: bytes, ek_sha256: str, ak_name: bytes) -> bytes:
        message = tpm_node.activation_message(nonce, ek_sha256=ek_sha256, ak_name=ak_name)
        return hmac.digest(self._key, message, "sha256")


def _message(made: Credential) -> agent_pb2.TpmCredential:
    return agent_pb2.TpmCredential(id_object=made.id_object, encrypted_secret=made.encrypted_secret)


def _now() -> datetime:
    return datetime.fromtimestamp(time.time_ns() / 1_000_000_000, UTC)
