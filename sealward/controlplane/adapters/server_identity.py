"""The server's TLS identity while a process runs.

Replaced at half of its life, without a restart.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable
from datetime import datetime

import grpc

from sealward.controlplane.adapters.certificates import SERVER_CERTIFICATE_LIFE, TlsIdentity


class ServerIdentity:
    """One identity for every listener; connections that stand keep the one they began with."""

    def __init__(self, issue: Callable[[datetime], TlsIdentity], now: datetime) -> None:
        """`issue` makes a fresh key and certificate, valid from the instant it is given."""
        self._issue = issue
        self._lock = threading.Lock()
        self._identity = issue(now)
        self._issued = now
        self._contexts: list[ssl.SSLContext] = []

    def renew_if_due(self, now: datetime) -> bool:
        """Replace the identity once half of its life is over; tell whether that was done."""
        with self._lock:
            if now - self._issued < SERVER_CERTIFICATE_LIFE / 2:
                return False
            self._identity = self._issue(now)
            self._issued = now
            for context in self._contexts:
                _load(context, self._identity)
        return True

    def tls_context(self) -> ssl.SSLContext:
        """Return a TLS 1.3 server context that follows every renewal."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with self._lock:
            _load(context, self._identity)
            self._contexts.append(context)
        return context

    def grpc_credentials(self, *, client_root: bytes | None = None) -> grpc.ServerCredentials:
        """Return gRPC server credentials that follow every renewal.

        Args:
            client_root: PEM root that clients must show a certificate of; None for server-only TLS.
        """
        served = self._identity

        def configuration() -> grpc.ServerCertificateConfiguration:
            pair = [(served.key, served.chain)]
            return grpc.ssl_server_certificate_configuration(pair, client_root)

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal served  # gRPC asks at every handshake; None means nothing has changed
            with self._lock:
                if served is self._identity:
                    return None
                served = self._identity
            return configuration()

        return grpc.dynamic_ssl_server_credentials(
            configuration(),
            fetch,  # type: ignore[arg-type]  # gRPC takes None for "unchanged"; its stubs do not say
            require_client_authentication=client_root is not None,
        )


def _load(context: ssl.SSLContext, identity: TlsIdentity) -> None:
    """Load an identity; its key passes through anonymous memory, never a file on disk."""
    descriptor = os.memfd_create("tls-identity", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, identity.key + identity.chain)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)
