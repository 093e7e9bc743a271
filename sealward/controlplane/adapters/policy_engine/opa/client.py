"""HTTP to one OPA server: a request gets its whole answer within a deadline and a budget, or fails.

Not `opa-python-client`: docs/adr/0008 says what was measured. Here is the little that is needed of
OPA's API (https://www.openpolicyagent.org/docs/rest-api), with these rules:

    the deadline is on the whole exchange, name look-up and TLS included, not on each read
    an answer is read up to a budget, never unpacked, and judged as bytes by `wire.json`
    paths are ours and of one plain alphabet; nothing is escaped, so nothing can be missed
    redirects, proxies, cookies and the environment are not followed
    one further try, within the same deadline, when a connection broke before an answer began
    an exchange that fails closes its connection: OPA goes on evaluating while it is open, and one
    such evaluation, with one policy put beside it, keeps OPA from answering anybody (ADR 8)
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, TypeVar

import httpx

from sealward.controlplane.adapters.policy_engine.opa.endpoint import Endpoint
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError

MAX_DETAIL_CHARACTERS: Final = 512  # goes into reasons and so into the audit log
_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_.-]+)+")
_MAX_CONNECTIONS: Final = 64
_MAX_IDLE: Final = 16
_LIMITS: Final = httpx.Limits(max_keepalive_connections=1, keepalive_expiry=60)
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "sealward"}
_TRIES: Final = 2
_LOOP_SECONDS: Final = 0.05  # beyond the deadline: for a loop that is short of processor time
_CLOSE_SECONDS: Final = 2.0

# How a connection may end. TLS 1.3 tells a client that its certificate is refused only when it
# reads, and httpx passes that on as it comes from `ssl`.
_BROKEN: Final = (httpx.TransportError, OSError)

_T = TypeVar("_T")


class Unreachable(PolicyEngineError):
    """No connection to the server: no policy can have caused that."""

    def __init__(self, detail: str) -> None:
        super().__init__(EngineFault.CRASHED, detail)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server answered, whole."""

    status: int
    body: bytes


class OpaClient:
    """Speaks to one server from a thread of its own. Thread-safe; close it to end the thread.

    The thread runs an event loop, because that is where a deadline on everything exists: a blocking
    client holds its caller for as long as the server sends a byte now and then.
    """

    def __init__(self, endpoint: Endpoint, *, anonymous: bool = False) -> None:
        """Read the TLS files and start the thread.

        Raises:
            InvalidEndpoint: a file cannot be used.
        """
        context = endpoint.context(anonymous=anonymous)
        # Without TLS none is used, but httpx would make one for each connection.
        self._context = context or httpx.create_ssl_context(trust_env=False)
        self._url = endpoint.url
        self._room = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._idle: list[httpx.AsyncClient] = []  # one connection each; the loop's alone
        self._closing: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="opa", daemon=True)
        self._thread.start()

    def request(  # noqa: D417 - the rest is HTTP's own
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        max_bytes: int,
        body: bytes | None = None,
        media_type: str = "application/json",
        strict: bool = False,
    ) -> Answer:
        """Return the answer.

        Args:
            path: plain segments, each after a slash.
            seconds: until the last byte of the answer.
            max_bytes: longest body that is read.
            strict: ask OPA to make errors of built-ins errors of the evaluation.

        Raises:
            Unreachable: no connection could be made.
            PolicyEngineError: TIMEOUT; CRASHED: the connection broke or the answer is no HTTP;
                ERROR: the body is longer than `max_bytes`.
        """
        if _PATH.fullmatch(path) is None or {".", ".."} & set(path.split("/")):
            raise ValueError(f"not a path of ours: {path!r}")
        request = httpx.Request(
            method,
            self._url + path,
            params={"strict-builtin-errors": "true"} if strict else None,
            content=body,
            headers=_HEADERS if body is None else {**_HEADERS, "Content-Type": media_type},
        )
        at = self._loop.time() + seconds
        return self._wait(self._within(request, at, max_bytes), at)

    def delete_later(self, paths: tuple[str, ...], *, seconds: float) -> None:
        """Delete in the background, in this order; nobody waits and no failure is told.

        What stays behind on the server is never asked again.
        """
        asyncio.run_coroutine_threadsafe(self._delete(paths, seconds), self._loop)

    def close(self) -> None:
        """Finish what was left for later, within two seconds, and end the thread."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(2 * _CLOSE_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._finish())
        finally:
            self._loop.close()

    async def _finish(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            _, late = await asyncio.wait(left, timeout=_CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for http in self._idle:
            self._close(http)
        await asyncio.gather(*self._closing)

    def _wait(self, exchange: Coroutine[object, object, _T], at: float) -> _T:
        if self._loop.is_closed():
            exchange.close()
            raise PolicyEngineError(EngineFault.BUSY, "the control plane is closing")
        future: Future[_T] = asyncio.run_coroutine_threadsafe(exchange, self._loop)
        try:
            return future.result(at - self._loop.time() + _LOOP_SECONDS)
        except TimeoutError:
            # Not cancelled from here: the loop does that at the same deadline, and a second
            # cancellation would interrupt what the first one makes the exchange clean up.
            raise _late() from None

    async def _within(self, request: httpx.Request, at: float, max_bytes: int) -> Answer:
        """Exchange until `at` on the loop's clock, however late the loop comes to it."""
        try:
            async with asyncio.timeout_at(at):
                return await self._exchange(request, max_bytes)
        except TimeoutError:
            raise _late() from None

    async def _exchange(self, request: httpx.Request, max_bytes: int) -> Answer:
        """Exchange over a connection that nobody else has; keep it if all went well.

        Not one pool for all: httpcore's loses a connection for good, open or not, when it is
        cancelled between choosing it and sending on it, and 64 of them are all that there are.
        """
        async with self._room:
            http = self._idle.pop() if self._idle else self._connection()
            try:
                answer = await self._ask(http, request, max_bytes)
            except BaseException:
                self._close(http)
                raise
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(http)
            else:
                self._close(http)
            return answer

    def _connection(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=self._context,
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=None,  # noqa: S113 - the whole exchange has one deadline, see _within
            limits=_LIMITS,
        )

    def _close(self, http: httpx.AsyncClient) -> None:
        """Close in a task of its own, which no deadline can interrupt."""
        task = self._loop.create_task(http.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _ask(self, http: httpx.AsyncClient, request: httpx.Request, max_bytes: int) -> Answer:
        for left in reversed(range(_TRIES)):
            try:
                response = await http.send(request, stream=True)
            except httpx.ConnectError as error:
                raise Unreachable(_clause("OPA cannot be reached", error)) from None
            except _BROKEN as error:
                if left == 0:
                    raise _broken(error) from None
            else:
                return await self._read(response, max_bytes)
        raise AssertionError("the last try answers or raises")

    async def _read(self, response: httpx.Response, max_bytes: int) -> Answer:
        body = bytearray()
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise PolicyEngineError(EngineFault.CRASHED, "OPA's answer is packed, unasked")
            async for part in response.aiter_raw():
                body += part
                if len(body) > max_bytes:
                    raise PolicyEngineError(
                        EngineFault.ERROR, f"the answer is larger than {max_bytes} bytes"
                    )
        except _BROKEN as error:
            raise _broken(error) from None
        finally:
            await response.aclose()
        return Answer(response.status_code, bytes(body))

    async def _delete(self, paths: tuple[str, ...], seconds: float) -> None:
        for path in paths:
            try:
                request = httpx.Request("DELETE", self._url + path, headers=_HEADERS)
                at = self._loop.time() + seconds
                await self._within(request, at, MAX_DETAIL_CHARACTERS)
            except PolicyEngineError:
                return


def _late() -> PolicyEngineError:
    return PolicyEngineError(EngineFault.TIMEOUT, "no answer of OPA within the deadline")


def _broken(error: Exception) -> PolicyEngineError:
    return PolicyEngineError(EngineFault.CRASHED, _clause("the connection to OPA broke", error))


def _clause(what: str, error: Exception) -> str:
    return f"{what}: {str(error) or type(error).__name__}"[:MAX_DETAIL_CHARACTERS]
