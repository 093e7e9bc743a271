"""Where the time of one attestation goes inside the control plane, measured without a network.

The very objects of the composition root, in this process, one attestation after another; what
`AttestationService` is given is wrapped to be timed, and nothing else differs from production.
Times are CPU time of the process, which is what bounds a machine, and exclusive: the verifier's is
not in the gate's, the policy engine's not in the appraisal's.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from statistics import median
from typing import Any, Final

import sealward
from sealward.controlplane.bootstrap import ControlPlane
from sealward.controlplane.services.attestation import AttestationService
from sealward.controlplane.services.attestation_call import AttestAnswer, AttestCall
from sealward.controlplane.services.enrollment import EnrollCall
from sealward.controlplane.services.evidence import Presented
from sealward.enclave_agent.attesters.port import Attester
from sealward.enclave_agent.evidence import Ratchet
from sealward.enclave_agent.grants import open_ratchet
from sealward.enclave_agent.identity import InstanceKeys
from sealward.protos import terms
from sealward.protos.terms import LeaseTermsState
from sealward.sealing import hpke
from sealward.verifier.rats import binding
from sealward.verifier.rats.binding import AgentStatement, Binding, Purpose

_CERTIFICATE_LIFE: Final = timedelta(hours=12)  # young: not renewed in the middle of a run
_CORRELATION: Final = "0000000000000000"


@dataclass(slots=True)
class StageClock:
    """Seconds by stage of the round that runs, then of all rounds.

    Attributes:
        rounds: stage -> seconds of each round.
    """

    rounds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    _now: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def stage(self, name: str, within: str = "") -> Iterator[None]:
        """Add the time of the block to `name`, and take it from `within`."""
        began = time.process_time()
        try:
            yield
        finally:
            spent = time.process_time() - began
            self._now[name] += spent
            if within:
                self._now[within] -= spent

    def end_round(self) -> None:
        """Keep what the round took."""
        for name, spent in self._now.items():
            self.rounds[name].append(spent)
        self._now.clear()

    def medians(self) -> dict[str, float]:
        """Return stage -> median seconds."""
        return {name: median(spent) for name, spent in self.rounds.items()}


class Timed:
    """Stands for one object; calls of the named methods are timed."""

    def __init__(self, wrapped: object, clock: StageClock, **stages: tuple[str, str]) -> None:
        self._wrapped = wrapped
        self._clock = clock
        self._stages = stages

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the wrapped object has
        attribute = getattr(self._wrapped, name)
        if name not in self._stages:
            return attribute
        stage, within = self._stages[name]

        def call(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed through
            with self._clock.stage(stage, within):
                return attribute(*args, **kwargs)

        return call


class TimedDatabase(Timed):
    """A database whose transactions are told from the commit and the wait around them."""

    def write(self, work: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - passed through
        """Run `work` as one unit."""

        def timed(tx: object) -> object:
            with self._clock.stage("transaction", "commit"):
                return work(tx)

        with self._clock.stage("commit", "other"):
            return self._wrapped.write(timed)  # type: ignore[attr-defined]  # a Database


def timed_service(plane: ControlPlane, clock: StageClock) -> AttestationService:
    """Return the attestation service of `plane` over timed collaborators."""
    service = plane.attestation
    gate, appraiser, releaser = service.gate, service.appraiser, service.releaser
    engine: Any = Timed(
        plane.engines.deciding, clock, evaluate=("policies", "appraise and release")
    )
    verifier = Timed(gate._verifier, clock, verify=("verify evidence", "challenge and binding"))  # noqa: SLF001 - to be timed
    timed_gate: Any = object.__new__(type(gate))
    timed_gate.__dict__.update(gate.__dict__)
    timed_gate._verifier = verifier  # noqa: SLF001 - to be timed
    own = "challenge and binding", "other"
    decide = "appraise and release", "other"
    collaborators: dict[str, Any] = {
        "gate": Timed(timed_gate, clock, open_challenge=own, authenticate=own),
        "database": TimedDatabase(service.database, clock, read=("read facts", "other")),
        "appraiser": Timed(replace(appraiser, engine=engine), clock, appraise=decide),
        "releaser": Timed(replace(releaser, engine=engine), clock, release=decide),
        "issuer": Timed(service.issuer, clock, issue=("sign terms", "transaction")),
    }
    return replace(service, **collaborators)


@dataclass(slots=True)
class LocalAgent:
    """A node without a network: mints evidence and takes answers, and none of that is timed.

    Attributes:
        plane: the control plane of this process.
        service: its attestation service, timed.
        keys: of an instance that has enrolled.
    """

    plane: ControlPlane
    service: AttestationService
    attester: Attester
    keys: InstanceKeys
    workload: str
    held: tuple[bytes, ...] = ()
    _hpke: hpke.PrivateKey = field(init=False)
    _ratchet: Ratchet | None = None

    def __post_init__(self) -> None:
        self._hpke = hpke.PrivateKey.generate(
            hpke.Suite.MLKEM768_X25519, self.plane.attestation.random_bytes
        )

    def enroll(self) -> None:
        """Be admitted; raises SystemExit when the installation does not admit this node."""
        presented, nonce = self._presented(Purpose.ENROLL)
        answer = self.plane.enrollment.enroll(
            EnrollCall(
                presented=presented,
                proof=self.keys.prove(nonce, presented.binding),
                join_token="",
                agent_version=sealward.__version__,
                correlation_id=_CORRELATION,
            )
        )
        if answer.certificate is None:
            raise SystemExit(f"the node was not admitted: {answer.code}")

    def attest(self, clock: StageClock) -> None:
        """Attest once; only the service is on the clock."""
        presented, _ = self._presented(Purpose.ATTEST)
        call = AttestCall(
            presented=presented,
            workloads=(self.workload,),
            certificate_not_after=presented.received + _CERTIFICATE_LIFE,
            agent_version=sealward.__version__,
            correlation_id=_CORRELATION,
        )
        with clock.stage("other"):
            answer = self.service.attest(call)
        clock.end_round()
        self._take(answer)

    def _take(self, answer: AttestAnswer) -> None:
        trust = self.plane.trust
        verified = terms.verify(
            answer.terms,
            keys=trust.terms_keys,
            trust_domain=trust.trust_domain,
            tenant=trust.tenant,
            node=self.keys.node,
        )
        digest = verified.digest
        self._ratchet = open_ratchet(answer.ratchet, hpke_key=self._hpke, terms_digest=digest)
        self.held = tuple(
            lease.lease_id
            for lease in verified.terms.leases
            if lease.state is not LeaseTermsState.ENDED
        )

    def _presented(self, purpose: Purpose) -> tuple[Presented, bytes]:
        """Return fresh evidence for a fresh challenge, and the challenge's nonce."""
        plane, keys, ratchet = self.plane, self.keys, self._ratchet
        issued = plane.challenges.issue(purpose, keys.tls_spki)
        proof = None
        if ratchet is not None:
            mac = binding.ratchet_mac(ratchet.secret, issued.nonce, keys.tls_spki)
            proof = (ratchet.index, mac)
        encoded = Binding(
            purpose=purpose,
            nonce=issued.nonce,
            audience=plane.trust.audience(),
            tenant=plane.trust.tenant,
            tls_spki=keys.tls_spki,
            hpke_suite=self._hpke.public.suite.id,
            hpke_public=self._hpke.public.encoded[2:],
            signing_public=keys.signing_public,
            statement=AgentStatement(
                agent_version=sealward.__version__, clock_source="tsc", held_leases=self.held
            ),
            ratchet=proof,
        ).encode()
        presented = Presented(
            purpose=purpose,
            ticket=issued.ticket,
            binding=encoded,
            evidence=self.attester.collect(binding.digest(encoded)).cmw,
            tls_spki=keys.tls_spki,
            received=plane.clock.now(),
        )
        return presented, issued.nonce
