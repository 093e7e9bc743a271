"""The loop of an agent: enrol, stay connected, stop what has ended, and stop cleanly.

Whatever goes wrong with the control plane, leases that are live are served until their horizon and
not longer; whatever comes back, the agent recovers by itself. In doubt it refuses.

Nothing here is tried again without a pause, and what fails again and again is tried ever more
rarely. Only after a session that lasted `SETTLED_S` do the pauses begin anew: an answer alone is no
sign that anything works.

An agent that did not run for a while (its machine slept) serves nothing past a horizon when it
wakes: the gate refuses by the clock, before any task here has run. It gives up whatever it was
about to hear, as connections die in sleep without knowing, and attests on a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any, Final

from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.backoff import Backoff, fraction
from sealward.enclave_agent.certificate import NodeCertificate, read_certificate
from sealward.enclave_agent.clock import NS_PER_S, ClockInDoubt
from sealward.enclave_agent.enrollment import Enroller
from sealward.enclave_agent.lifecycle import AgentEvent
from sealward.enclave_agent.messages import Admission, Denial, EnrollAnswer, ProtocolViolation
from sealward.enclave_agent.session import UNKNOWN, EnrollAgain, Session, SessionParts
from sealward.enclave_agent.standing import Absence
from sealward.enclave_agent.transport import CallFailed, ControlPlane, Refused, Unreachable
from sealward.telemetry import correlated, get_logger, new_correlation_id

WATCHDOG_S: Final = 0.05  # how late a horizon is wiped at most; the gate is not late at all
LOOK_S: Final = 0.01
REOPEN_S: Final = 0.25
FAREWELL_S: Final = 2.0  # for the control plane to record what was wiped at shutdown
SETTLED_S: Final = 5.0  # a session that lasted so long was none of a series of failures
# A watchdog this late tells of an absence. Shorter ones cost no connection: keepalive sees to them,
# and a machine that is merely busy must not make its load worse.
ABSENT_NS: Final = 5 * NS_PER_S
SUSPECT_AFTER: Final = 3  # sessions that ended unheard: perhaps the certificate is the reason

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How long to wait for another try, in seconds: the first time, and at most.

    Attributes:
        connect: the control plane cannot be reached. Short: leases run out meanwhile.
        admit: it can, and what it says makes this node enrol once more.
        pend: admission awaits an operator.
        reject: admission was refused; asking again is for the case that this is undone.
        wake: the agent did not run for a while. Drawn from all of it: a fleet may wake as one.
    """

    connect: tuple[float, float] = (0.25, 3.0)
    admit: tuple[float, float] = (0.25, 60.0)
    pend: tuple[float, float] = (2.0, 60.0)
    reject: tuple[float, float] = (30.0, 600.0)
    wake: tuple[float, float] = (0.0, 2.0)


@unique
class Ended(StrEnum):
    """Why a run ended."""

    STOPPED = "stopped"  # as it was told to
    SPENT = "spent"  # the control plane forgot this instance: another one may begin


class AgentRuntime:
    """One agent, from start to stop."""

    def __init__(
        self,
        *,
        plane: ControlPlane,
        enroller: Enroller,
        parts: SessionParts,
        delays: Delays,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        def backoff(times: tuple[float, float]) -> Backoff:
            return Backoff(first=times[0], most=times[1], random_bytes=random_bytes)

        self._plane: Final = plane
        self._enroller: Final = enroller
        self._parts: Final = parts
        self._connect: Final = backoff(delays.connect)
        self._admit: Final = backoff(delays.admit)
        self._pend: Final = backoff(delays.pend)
        self._reject: Final = backoff(delays.reject)
        self._wake: Final = delays.wake
        self._random_bytes: Final = random_bytes
        self._woken: Final = asyncio.Event()
        self._suspect = False  # that the certificate is why nobody answers
        self._unheard = 0
        self._stopping = False
        self._forgotten = False

    async def run(self, stop: asyncio.Event) -> Ended:
        """Run until `stop` is set or the instance is spent; then end every lease, wipe, say so.

        A bug in one of the tasks stops the agent in the same way, and is raised afterwards.

        Raises:
            ClockInDoubt: the boot-time clock erred; everything was ended and wiped, as at a stop.
        """
        connection = asyncio.create_task(self._stay_connected())
        others = (
            asyncio.create_task(self._watch_horizons()),
            asyncio.create_task(self._reopen()),
        )
        stopping = asyncio.create_task(_until(stop))
        tasks = (connection, *others, stopping)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self._stopping = True
        if not self._parts.standing.connected:
            connection.cancel()
            await asyncio.wait({connection})
        self._parts.standing.feed(AgentEvent.STOP)
        await self._parts.holdings.stop()
        await self._farewell()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._parts.keyring.wipe()
        self._parts.standing.feed(AgentEvent.STOPPED)
        for task in done:
            task.result()
        return Ended.STOPPED if stopping in done else Ended.SPENT

    async def _stay_connected(self) -> None:
        """Enrol and serve; return only when this instance is spent and holds nothing."""
        while not self._stopping:
            if self._forgotten:
                if not self._parts.book.live(self._parts.clock()):
                    return
                await asyncio.sleep(WATCHDOG_S)
                continue
            certificate = self._usable_certificate()
            with correlated(new_correlation_id()):
                wait_s = await self._awake(
                    self._enroll() if certificate is None else self._serve(certificate)
                )
            await asyncio.sleep(wait_s)

    async def _awake(self, work: Coroutine[Any, Any, float]) -> float:
        """Return what `work` returns, or give it up when the agent was absent meanwhile.

        An answer that is lost by this costs nothing (see `Session`), and pacing asks again.
        """
        self._woken.clear()
        working = asyncio.create_task(work)
        tasks = (working, asyncio.create_task(_until(self._woken)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not working.cancelled():
            return working.result()
        self._parts.standing.lost()
        least_s, most_s = self._wake
        return least_s + (most_s - least_s) * fraction(self._random_bytes)

    def _usable_certificate(self) -> NodeCertificate | None:
        certificate = self._parts.standing.certificate
        if certificate is None or self._suspect:
            return None
        return certificate if self._parts.clock() < certificate.ends_ns else None

    # --- enrolment -------------------------------------------------------------------------------

    async def _enroll(self) -> float:
        """Ask for admission once; return the seconds to wait before going on."""
        self._parts.standing.feed(AgentEvent.ENROLL)
        try:
            answer = await self._enroller.enroll()
            return self._take_admission(answer)
        except Refused as refused:
            denial = Denial(code=refused.code, correlation_id=refused.correlation_id)
            return self._rejected(denial, AgentEvent.REJECT, at_least=0.0)
        except (Unreachable, ProtocolViolation) as error:
            _log.warning("enrolment failed", why=str(error))
        except AttesterUnavailable as error:
            _log.error("no evidence can be had", why=str(error))
        standing = self._parts.standing
        standing.lost()
        if self._suspect and standing.certificate is not None:  # it may well be good: one try
            self._suspect = False
            standing.feed(AgentEvent.RESUME)
        return self._connect.delay()

    def _take_admission(self, answer: EnrollAnswer) -> float:
        standing = self._parts.standing
        if answer.admission is not Admission.ADMIT:
            event = AgentEvent.PEND if answer.admission is Admission.PEND else AgentEvent.REJECT
            denial = answer.denial or Denial(code=f"enrollment_{event}", correlation_id="")
            return self._rejected(denial, event, at_least=answer.retry_after_s)
        standing.certificate = read_certificate(
            answer.chain, tls_spki=self._parts.maker.keys.tls_spki, sent_ns=answer.sent_ns
        )
        standing.last_denial = None
        standing.feed(AgentEvent.ADMIT)
        self._suspect = False
        for backoff in (self._pend, self._reject):
            backoff.reset()
        if self._usable_certificate() is None:
            _log.error("the certificate is over before it can be used; see the control plane's log")
            return self._admit.delay()
        return 0.0

    def _rejected(self, denial: Denial, event: AgentEvent, *, at_least: float) -> float:
        self._parts.standing.certificate = None
        self._parts.standing.last_denial = denial
        self._parts.standing.feed(event)
        backoff = self._pend if event is AgentEvent.PEND else self._reject
        wait_s = backoff.delay(at_least=at_least)
        _log.warning(
            "not admitted",
            answer=event,
            code=denial.code,
            quote=denial.correlation_id,
            again_in_s=round(wait_s, 1),
        )
        return wait_s

    # --- the stream ------------------------------------------------------------------------------

    async def _serve(self, certificate: NodeCertificate) -> float:
        """Hold one session; return the seconds to wait before the next one."""
        standing = self._parts.standing
        began_ns = self._parts.clock()
        async with self._plane.agent(certificate) as client:
            session = Session(client, self._parts)
            try:
                standing.certificate = await session.run()
            except EnrollAgain:
                standing.certificate = None
                self._lasted(began_ns)
                return self._admit.delay()
            except Refused as refused:
                _log.warning("refused", code=refused.code, quote=refused.correlation_id)
                standing.certificate = None
                # Terms for this instance would begin at a sequence that is behind us, and would be
                # dropped for ever: a control plane that lost its state gets a new instance.
                self._forgotten = refused.code in UNKNOWN and self._parts.book.highest_sequence > 0
                self._lasted(began_ns)
                return self._admit.delay()
            except CallFailed as error:
                _log.warning("control plane lost", why=str(error))
                standing.lost()
                self._unheard = 1 if session.heard else self._unheard + 1
                self._suspect = self._unheard % SUSPECT_AFTER == 0
            else:
                self._unheard = 0
                if self._lasted(began_ns):  # the ordinary change of certificates
                    return 0.0
        self._lasted(began_ns)
        return self._connect.delay()

    def _lasted(self, began_ns: int) -> bool:
        """Say whether a session was no mere failure; if so, the pauses begin anew."""
        lasted = self._parts.clock() - began_ns >= SETTLED_S * NS_PER_S
        if lasted:
            self._connect.reset()
            self._admit.reset()
        return lasted

    # --- what ends by itself ---------------------------------------------------------------------

    async def _watch_horizons(self) -> None:
        """Wipe what is over, notice absences, and raise `ClockInDoubt` when the clock erred."""
        parts = self._parts
        looked_ns = parts.clock()
        while True:
            horizon_ns = parts.book.next_horizon_ns()
            left_s = WATCHDOG_S
            if horizon_ns is not None:
                left_s = (horizon_ns - parts.clock()) / NS_PER_S
            # Timers stand still while a machine is suspended and the boot-time clock does not: so
            # never sleep for long, and read the clock again.
            await asyncio.sleep(min(max(left_s, 0.001), WATCHDOG_S))
            if parts.holdings.expire():
                _log.warning("horizon reached")
            now_ns, before_ns = parts.clock(), looked_ns
            parts.standing.drained(live=bool(parts.book.live(now_ns)))
            if parts.book.in_doubt:
                raise ClockInDoubt(parts.book.in_doubt)
            looked_ns = now_ns
            if now_ns - before_ns >= ABSENT_NS:
                self._note_absence(Absence(lasted_ns=now_ns - before_ns, ended_ns=now_ns))

    def _note_absence(self, absence: Absence) -> None:
        _log.warning(
            "did not run for a while; connecting and attesting anew",
            seconds=round(absence.lasted_ns / NS_PER_S, 1),
        )
        self._parts.standing.last_absence = absence
        self._parts.pacing.at_once()
        self._woken.set()

    async def _reopen(self) -> None:
        while True:
            await asyncio.sleep(REOPEN_S)
            await self._parts.holdings.reopen()

    async def _farewell(self) -> None:
        """Give the open stream a moment to deliver what was wiped."""
        for _ in range(int(FAREWELL_S / LOOK_S)):
            if not (self._parts.standing.connected and self._parts.desk.waiting()):
                return
            await asyncio.sleep(LOOK_S)


async def _until(event: asyncio.Event) -> None:
    await event.wait()
