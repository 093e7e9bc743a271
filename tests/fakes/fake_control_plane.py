"""A small control plane with keys of its own: it speaks the agent's contract over real TLS.

It checks what the agent sends as the real one does (ticket, binding, proof, ratchet), issues real
certificates and signs real terms. What it decides is what a test sets on it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)
from fakes.fake_authority import Authority
from fakes.plane_leases import PlaneNode, over
from fakes.tpm_plane import TpmPlane
from grpc import aio

from sealward.protos import agent_pb2, agent_pb2_grpc, terms, wipe
from sealward.protos.terms import LeaseTerms, LeaseTermsState, ModelTerms, Terms, TermsKind
from sealward.protos.trust import TrustConfiguration
from sealward.sealing import hpke
from sealward.verifier.rats import binding
from sealward.verifier.rats.binding import Binding, Purpose

TRUST_DOMAIN = "development.plane.test"
TENANT = "acme"
CHALLENGE_MS = 30_000
JOIN_TOKEN = "join-me"  # noqa: S105 - of this fake


@dataclass
class Plane:
    """The fake. Tests set the public attributes between `start` and `stop`.

    `admission` answers enrolments; `denial` makes attestations fail; `ttl_ms` is the next lease's
    life; `models` maps workloads to what their leases carry; `edit_terms` changes terms before they
    are signed; `signing` signs them; `drop_answers` loses that many attestation answers after
    they were decided; `join_tokens` maps each join token to the node that used it;
    `refuse_statements` ends the stream of whoever states a wipe; `answer_after_s` delays the next
    attestation's answer after it was decided; `tpm` makes nodes TPM nodes, and nothing else.
    """

    admission: agent_pb2.Answer.ValueType = agent_pb2.ANSWER_ADMIT
    denial: str = ""
    refuse_attest: str = ""
    ttl_ms: int = 60_000
    certificate_life: timedelta = timedelta(minutes=10)
    renew_certificate: bool = False
    models: dict[str, tuple[ModelTerms, ...]] = field(default_factory=dict)
    content_keys: dict[bytes, bytes] = field(default_factory=dict)
    edit_terms: Callable[[Terms], Terms] = lambda terms: terms
    drop_answers: int = 0
    join_tokens: dict[str, str] = field(default_factory=lambda: {JOIN_TOKEN: ""})
    refuse_statements: bool = False
    answer_after_s: float = 0.0
    before_answer: Callable[[], None] = lambda: None
    tpm: TpmPlane | None = None
    server: Authority = field(default_factory=lambda: Authority.make("server root"))
    node_authority: Authority = field(default_factory=lambda: Authority.make("node root"))
    signing: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    client_tokens: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    nodes: dict[str, PlaneNode] = field(default_factory=dict)
    enrolled: list[agent_pb2.EnrollRequest] = field(default_factory=list)
    attested: list[Binding] = field(default_factory=list)
    hellos: list[agent_pb2.Hello] = field(default_factory=list)
    wanted: int = 0
    wiped: list[wipe.WipeStatement] = field(default_factory=list)
    signed: list[bytes] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pinned = raw(self.signing)
        self._tickets: dict[bytes, tuple[bytes, bytes]] = {}
        self._streams: dict[str, asyncio.Queue[agent_pb2.ServerMessage | None]] = {}
        self._server: aio.Server | None = None
        self.enrollment_port = 0
        self.agent_port = 0

    @property
    def trust(self) -> TrustConfiguration:
        return TrustConfiguration(
            trust_domain=TRUST_DOMAIN,
            tenant=TENANT,
            development=True,
            server_roots=(self.server.pem.decode(),),
            terms_keys=(self._pinned,),
            log_keys=(raw(self.signing),),
        )

    # --- the listeners ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen; after a stop, on the same ports."""
        key = ec.generate_private_key(ec.SECP256R1())
        chain = self.server.issue(key.public_key(), timedelta(hours=1), server=True)
        pair = (
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            chain.public_bytes(Encoding.PEM),
        )
        open_to_all = grpc.ssl_server_credentials([pair])
        mutual = grpc.ssl_server_credentials(
            [pair], root_certificates=self.node_authority.pem, require_client_auth=True
        )
        server = aio.server()
        agent_pb2_grpc.add_EnrollmentServicer_to_server(_Enrollment(self), server)
        agent_pb2_grpc.add_AgentServicer_to_server(_Agent(self), server)
        self.enrollment_port = server.add_secure_port(
            f"127.0.0.1:{self.enrollment_port}", open_to_all
        )
        self.agent_port = server.add_secure_port(f"127.0.0.1:{self.agent_port}", mutual)
        await server.start()
        self._server = server

    async def stop(self) -> None:
        """Go away at once."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
            self._streams.clear()

    # --- what tests do ---------------------------------------------------------------------------

    @property
    def node(self) -> PlaneNode:
        """The only node."""
        (node,) = self.nodes.values()
        return node

    @property
    def node_id(self) -> str:
        (node_id,) = self.nodes
        return node_id

    def forget(self) -> None:
        """Lose all state: nodes, and join tokens with them."""
        self.nodes.clear()
        self.join_tokens.clear()

    def streaming(self) -> bool:
        return bool(self._streams)

    def lease_model(self, workload: str, name: str, version: int = 1) -> ModelTerms:
        """Make a model with a content key of its own, for leases of `workload`."""
        model = ModelTerms(
            name=name,
            version=version,
            core_digest=os.urandom(32),
            header_digest=os.urandom(32),
            content_key_id=os.urandom(32),
            min_version=1,
        )
        self.models[workload] = (*self.models.get(workload, ()), model)
        self.content_keys[model.content_key_id] = os.urandom(32)
        return model

    def push(self, message: agent_pb2.ServerMessage) -> None:
        for queue in self._streams.values():
            queue.put_nowait(message)

    def push_challenge(self) -> None:
        self.push(agent_pb2.ServerMessage(challenge=self.challenge(self.node.spki)))

    def revocation(self, *workloads: str) -> bytes:
        """Sign the end of these leases, as the next terms in sequence."""
        ended = tuple(over(self.node.leases.pop(name)) for name in workloads)
        signed = self.sign(self.node_id, TermsKind.REVOCATION, None, ended)[0]
        self.node.revocations.append((self.node.sequence, signed))
        return signed

    def revoke(self, *workloads: str) -> bytes:
        signed = self.revocation(*workloads)
        self.push(agent_pb2.ServerMessage(terms=signed))
        return signed

    def client_token(self, workload: str, **changes: object) -> str:
        now = time.time_ns() // 1_000_000_000
        claims = {
            "iss": TRUST_DOMAIN,
            "aud": f"workload:{workload}",
            "sub": "client",
            "tenant": TENANT,
            "jti": secrets.token_hex(8),
            "iat": now,
            "exp": now + 300,
        }
        kid = hashlib.sha256(raw(self.client_tokens)).hexdigest()
        headers = {"kid": kid, "typ": "sealward-client+jwt"}
        return jwt.encode(claims | changes, self.client_tokens, "EdDSA", headers=headers)

    # --- what the services do --------------------------------------------------------------------

    def challenge(self, spki: bytes) -> agent_pb2.Challenge:
        nonce, ticket = os.urandom(32), os.urandom(64)
        self._tickets[ticket] = (nonce, spki)
        return agent_pb2.Challenge(nonce=nonce, ticket=ticket, expires_in_ms=CHALLENGE_MS)

    def check(
        self,
        purpose: Purpose,
        ticket: bytes,
        encoded: bytes,
        evidence: bytes,
        spki: bytes | None,
        *,
        proof: bytes | None = None,
    ) -> Binding:
        """Check the binding as docs/specs/evidence-binding.md section 3 says."""
        nonce, requester = self._tickets.pop(ticket)
        said = Binding.decode(encoded)
        assert said.purpose is purpose
        assert said.audience == self.trust.audience()
        assert said.tenant == TENANT
        assert said.tls_spki == requester
        assert spki is None or said.tls_spki == spki
        assert said.nonce == nonce
        assert self.tpm is not None or not proof
        carried = evidence if self.tpm is None else self.tpm.carried(encoded, evidence, proof)
        binding.require_bound(encoded, carried)
        return said

    def sign(
        self, node_id: str, kind: TermsKind, nonce: bytes | None, leases: tuple[LeaseTerms, ...]
    ) -> tuple[bytes, bytes]:
        """Return signed terms and the digest of their payload."""
        node = self.nodes[node_id]
        node.sequence += 1
        said = Terms(
            kind=kind,
            trust_domain=TRUST_DOMAIN,
            tenant=TENANT,
            node=bytes.fromhex(node_id),
            sequence=node.sequence,
            issued_ms=time.time_ns() // 1_000_000,
            challenge=None if nonce is None else hashlib.sha256(nonce).digest(),
            leases=leases,
            policies={"release/organisation": bytes(32)},
            log_leaf=bytes(32),
            client_token_keys=(raw(self.client_tokens),),
        )
        payload = self.edit_terms(said).encode()
        signed = terms.sign(payload, public=raw(self.signing), signer=self.signing.sign)
        self.signed.append(signed)
        return signed, hashlib.sha256(payload).digest()

    def decide(self, said: Binding, workloads: tuple[str, ...]) -> agent_pb2.AttestResponse:
        node_id = binding.thumbprint(said.tls_spki).hex()
        node = self.nodes[node_id]
        self._require_ratchet(node, said)
        granted = {} if self.denial else {name: self.models[name] for name in workloads}
        changes = node.decide(said.statement.held_leases, granted, self.ttl_ms)
        signed, digest = self.sign(node_id, TermsKind.GRANT, said.nonce, changes)
        public = hpke.PublicKey.decode(said.hpke_suite.to_bytes(2, "big") + said.hpke_public)
        node.issued += 1
        node.ratchet[node.issued] = os.urandom(32)
        ratchet = terms.encode_ratchet(node.issued, node.ratchet[node.issued])
        answer = agent_pb2.AttestResponse(
            posture="noncompliant" if self.denial else "compliant",
            terms=signed,
            ratchet=_wrapped(public, ratchet, terms.ratchet_info(digest)),
            attest_again_in_ms=int(self.ttl_ms * 0.8),
        )
        keys = [
            self._wrap(lease, model)
            for lease in changes
            if lease.state is LeaseTermsState.GRANTED
            for model in lease.models
        ]
        if keys and self.tpm is not None:
            inner = self.tpm.lock(said.tls_spki, digest, answer)
            keys = [inner.seal(index, key) for index, key in enumerate(keys)]
        info = terms.content_key_info(digest)
        answer.content_keys.extend(_wrapped(public, key, info) for key in keys)
        if self.denial:
            answer.denial.CopyFrom(agent_pb2.Denial(code=self.denial, correlation_id="c-1"))
        return answer

    def _wrap(self, lease: LeaseTerms, model: ModelTerms) -> bytes:
        key = self.content_keys[model.content_key_id]
        return terms.encode_content_key(lease.lease_id, model.content_key_id, key)

    def _require_ratchet(self, node: PlaneNode, said: Binding) -> None:
        if said.ratchet is None:
            if node.confirmed:
                raise Refusal("clone_detected")
            return
        index, mac = said.ratchet
        secret = node.ratchet.get(index) if index in {node.confirmed, node.issued} else None
        if secret is None or mac != binding.ratchet_mac(secret, said.nonce, said.tls_spki):
            raise Refusal("clone_detected")
        node.confirmed = index


class Refusal(Exception):
    """The plane says no, with a code."""


class _Enrollment(agent_pb2_grpc.EnrollmentServicer):
    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def GetChallenge(  # noqa: N802 - the name of the method in the contract
        self,
        request: agent_pb2.ChallengeRequest,
        context: aio.ServicerContext,  # noqa: ARG002 - the shape of a servicer
    ) -> agent_pb2.Challenge:
        assert request.protocol_version == 1
        assert request.purpose == agent_pb2.PURPOSE_ENROLL
        return self._plane.challenge(request.tls_spki)

    async def GetCredential(  # noqa: N802 - as above
        self,
        request: agent_pb2.CredentialRequest,
        context: aio.ServicerContext,
    ) -> agent_pb2.TpmCredential:
        plane = self._plane
        if plane.tpm is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "invalid_request")
        nonce, requester = plane._tickets[request.ticket]  # noqa: SLF001 - not spent
        assert requester == request.tls_spki
        return plane.tpm.credential(request, nonce)

    async def Enroll(  # noqa: N802 - as above
        self,
        request: agent_pb2.EnrollRequest,
        context: aio.ServicerContext,
    ) -> agent_pb2.EnrollResponse:
        plane = self._plane
        said = plane.check(
            Purpose.ENROLL,
            request.ticket,
            request.binding,
            request.evidence,
            None,
            proof=request.credential_proof,
        )
        public = load_der_public_key(said.tls_spki)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        message = b"sealward/enroll-proof/v1" + said.nonce
        public.verify(
            request.proof,
            message + hashlib.sha256(request.binding).digest(),
            ec.ECDSA(hashes.SHA256()),
        )
        plane.enrolled.append(request)
        node_id = binding.thumbprint(said.tls_spki).hex()
        if request.join_token:
            used_by = plane.join_tokens.get(request.join_token)
            if used_by not in ("", node_id):
                code = "join_token_invalid" if used_by is None else "join_token_spent"
                plane.problems.append(code)
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, code)
        answer = agent_pb2.EnrollResponse(answer=plane.admission, node_id=node_id)
        if plane.admission != agent_pb2.ANSWER_ADMIT:
            answer.denial.CopyFrom(agent_pb2.Denial(code="platform_unknown", correlation_id="c-2"))
            return answer
        if node_id not in plane.nodes:
            plane.nodes[node_id] = PlaneNode(said.tls_spki, said.signing_public)
        if request.join_token:
            plane.join_tokens[request.join_token] = node_id
        answer.certificate_chain.extend(node_chain(plane, public))
        return answer


class _Agent(agent_pb2_grpc.AgentServicer):
    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def GetChallenge(  # noqa: N802 - as above
        self,
        request: agent_pb2.ChallengeRequest,  # noqa: ARG002 - as above
        context: aio.ServicerContext,
    ) -> agent_pb2.Challenge:
        return self._plane.challenge(_peer(context))

    async def Attest(  # noqa: N802 - as above
        self, request: agent_pb2.AttestRequest, context: aio.ServicerContext
    ) -> agent_pb2.AttestResponse:
        plane, spki = self._plane, _peer(context)
        if binding.thumbprint(spki).hex() not in plane.nodes:
            await context.abort(grpc.StatusCode.NOT_FOUND, "node_unknown")
        if plane.refuse_attest:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, plane.refuse_attest)
        said = plane.check(Purpose.ATTEST, request.ticket, request.binding, request.evidence, spki)
        plane.attested.append(said)
        try:
            answer = plane.decide(said, tuple(request.workloads))
        except Refusal as refusal:
            plane.problems.append(str(refusal))
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(refusal))
        if plane.renew_certificate:
            public = load_der_public_key(spki)
            assert isinstance(public, ec.EllipticCurvePublicKey)
            answer.certificate_chain.extend(node_chain(plane, public))
            plane.renew_certificate = False
        if plane.drop_answers:
            plane.drop_answers -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "lost")
        delay_s, plane.answer_after_s = plane.answer_after_s, 0.0
        await asyncio.sleep(delay_s)
        plane.before_answer()
        return answer

    async def Watch(  # noqa: N802 - as above
        self,
        request_iterator: AsyncIterator[agent_pb2.AgentMessage],
        context: aio.ServicerContext,
    ) -> AsyncIterator[agent_pb2.ServerMessage]:
        plane, spki = self._plane, _peer(context)
        node_id = binding.thumbprint(spki).hex()
        if node_id not in plane.nodes:
            await context.abort(grpc.StatusCode.NOT_FOUND, "node_unknown")
        await context.send_initial_metadata(())  # tells the agent that its stream is accepted
        queue: asyncio.Queue[agent_pb2.ServerMessage | None] = asyncio.Queue()
        plane._streams[node_id] = queue  # noqa: SLF001 - the plane's own service
        listening = asyncio.create_task(self._listen(request_iterator, spki, queue))
        try:
            while (message := await queue.get()) is not None:
                yield message
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "invalid_request")
        finally:
            listening.cancel()
            if plane._streams.get(node_id) is queue:  # noqa: SLF001 - as above
                del plane._streams[node_id]  # noqa: SLF001 - as above

    async def _listen(
        self,
        messages: AsyncIterator[agent_pb2.AgentMessage],
        spki: bytes,
        queue: asyncio.Queue[agent_pb2.ServerMessage | None],
    ) -> None:
        plane = self._plane
        node = plane.nodes[binding.thumbprint(spki).hex()]
        async for message in messages:
            match message.WhichOneof("message"):
                case "hello":
                    plane.hellos.append(message.hello)
                    for sequence, signed in node.revocations:
                        if sequence > message.hello.highest_sequence:
                            queue.put_nowait(agent_pb2.ServerMessage(terms=signed))
                case "challenge_wanted":
                    plane.wanted += 1
                    queue.put_nowait(agent_pb2.ServerMessage(challenge=plane.challenge(spki)))
                case "wiped":
                    if plane.refuse_statements:
                        queue.put_nowait(None)
                        return
                    plane.wiped.append(
                        wipe.verify(
                            message.wiped.statement,
                            public=node.signing_public,
                            node=binding.thumbprint(spki),
                        )
                    )
                    digest = hashlib.sha256(message.wiped.statement).digest()
                    queue.put_nowait(agent_pb2.ServerMessage(wipe_recorded=digest))
                case None:
                    raise AssertionError("the agent said nothing")


def raw(key: Ed25519PrivateKey) -> bytes:
    """Return the raw public half."""
    return key.public_key().public_bytes_raw()


def _wrapped(public: hpke.PublicKey, plaintext: bytes, info: bytes) -> agent_pb2.WrappedSecret:
    return agent_pb2.WrappedSecret(ciphertext=hpke.seal(public, plaintext, info))


def _peer(context: aio.ServicerContext) -> bytes:
    (pem,) = context.auth_context()["x509_pem_cert"]
    key = x509.load_pem_x509_certificate(pem).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def node_chain(plane: Plane, public: ec.EllipticCurvePublicKey) -> list[bytes]:
    leaf = plane.node_authority.issue(public, plane.certificate_life, server=False)
    return [
        leaf.public_bytes(Encoding.DER),
        plane.node_authority.certificate.public_bytes(Encoding.DER),
    ]
