"""uvicorn inside the agent's event loop: the inference listener."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import uvicorn

from sealward.enclave_agent.inference.http import Receive, Scope, Send

if TYPE_CHECKING:
    from pathlib import Path

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application; `InferenceApp` is one."""

MAX_CONNECTIONS: Final = 512  # each may hold a body; uvicorn answers 503 beyond
KEEP_ALIVE_SECONDS: Final = 30
GRACE_SECONDS: Final = 5  # for answers in flight when the server stops


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the listener.

    Attributes:
        certificate: chain, leaf first.
        key: private key; 0600 is the caller's to ensure.
    """

    certificate: Path
    key: Path


class InferenceServer:
    """The listener: `start`, then `stop`, once."""

    def __init__(self, app: Application, *, host: str, port: int, tls: TlsFiles | None) -> None:
        """Take a numeric address.

        Raises:
            ValueError: `host` is not an address, or is not loopback although there is no TLS.
        """
        address = ipaddress.ip_address(host)
        if tls is None and not address.is_loopback:
            raise ValueError(f"{host} is not loopback: give a certificate and a key")
        self._family = socket.AF_INET6 if address.version == 6 else socket.AF_INET  # noqa: PLR2004
        self._address = (host, port)
        config = uvicorn.Config(
            app,
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_context_factory=None if tls is None else lambda _config, _default: _context(tls),
        )
        self._server = uvicorn.Server(config)
        self._listener: socket.socket | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Bind and serve; return the port, which the kernel chose when 0 was given.

        Raises:
            OSError: the address is taken or not ours.
            ssl.SSLError: certificate and key do not fit.
        """
        # The protocol is named because asyncio switches Nagle's algorithm off only where it is;
        # left on, an answer's body waits 40 ms for the acknowledgement of its headers.
        listener = socket.socket(self._family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(self._address)
            self._server.config.load()
        except BaseException:
            listener.close()
            raise
        # The steps of uvicorn's `serve` without its signal handlers, which are the agent's.
        self._listener = listener
        self._server.lifespan = self._server.config.lifespan_class(self._server.config)
        await self._server.startup(sockets=[listener])
        self._serving = asyncio.create_task(self._server.main_loop())
        port: int = listener.getsockname()[1]
        return port

    async def stop(self) -> None:
        """Stop accepting, let answers in flight leave for a short while, close. Idempotent."""
        if self._serving is None or self._listener is None:
            return
        self._server.should_exit = True
        await self._serving
        await self._server.shutdown(sockets=[self._listener])
        self._serving = None


def _context(tls: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(tls.certificate, tls.key)
    context.set_alpn_protocols(["http/1.1"])
    return context
