"""Where the OPA server is, and how it and we prove who we are."""

from __future__ import annotations

import ipaddress
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9][a-z0-9.-]{0,252})(?::(?P<port>[0-9]{1,5}))?/?"
)
_DEFAULT_PORT: Final = 8181  # OPA's own
_PORTS: Final = range(1, 1 << 16)
_FILES_FOR_HTTPS: Final = (
    "give a CA, a certificate and a key for it (--opa-ca, --opa-certificate, --opa-key)"
)


class InvalidEndpoint(Exception):
    """What was said about the OPA server cannot be used; says what to give instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of mutual TLS.

    Attributes:
        ca: certificates that the server's certificate must lead to; nothing else is trusted.
        certificate: our certificate, with its chain.
        key: its private key, not encrypted.
    """

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One OPA server. Make it with `parse`, which checks.

    Attributes:
        url: "https://opa.example:8181", without a path and without a slash at its end.
        tls: files for https; None exactly for plain http, which only loopback may speak.
    """

    url: str
    tls: TlsFiles | None

    @classmethod
    def parse(
        cls, url: str, *, ca: Path | None, certificate: Path | None, key: Path | None
    ) -> Self:
        """Read what an operator gave.

        Raises:
            InvalidEndpoint: another kind of URL, plain http beyond loopback, or files missing.
        """
        found = _URL.fullmatch(url)
        if found is None:
            raise InvalidEndpoint(
                f"{url!r} is not the address of an OPA server, for example https://opa.example:8181"
            )
        port = int(found["port"] or _DEFAULT_PORT)
        if port not in _PORTS:
            raise InvalidEndpoint(f"port {port} is not in 1..65535")
        origin = f"{found['scheme']}://{found['host']}:{port}"
        if found["scheme"] == "http":
            return cls(url=_loopback(origin, found["host"], (ca, certificate, key)), tls=None)
        if ca is None or certificate is None or key is None:
            raise InvalidEndpoint(f"{origin} needs mutual TLS: {_FILES_FOR_HTTPS}")
        return cls(url=origin, tls=TlsFiles(ca=ca, certificate=certificate, key=key))

    def context(self, *, anonymous: bool = False) -> ssl.SSLContext | None:
        """Return the TLS context of a connection, None for plain http.

        Args:
            anonymous: without our certificate, to see what the server does with a stranger.

        Raises:
            InvalidEndpoint: a file cannot be read, or is not what it should be.
        """
        if self.tls is None:
            return None
        # Not create_default_context: that one obeys SSLKEYLOGFILE, which tells a file our secrets.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        files = self.tls
        try:
            context.load_verify_locations(cafile=files.ca)
            if not anonymous:
                # The empty password refuses an encrypted key instead of asking a terminal for it.
                context.load_cert_chain(files.certificate, files.key, password="")
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            names = f"{files.ca}, {files.certificate}, {files.key}"
            raise InvalidEndpoint(f"TLS files of OPA ({names}): {error}") from None
        return context


def _loopback(origin: str, host: str, files: tuple[Path | None, ...]) -> str:
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name: who answers to it is for somebody else to say
        loopback = False
    if not loopback:
        raise InvalidEndpoint(
            f"{origin} speaks plain http, which is only for a loopback address such as"
            f" http://127.0.0.1:8181; elsewhere use https and {_FILES_FOR_HTTPS}"
        )
    if any(file is not None for file in files):
        raise InvalidEndpoint(f"{origin} uses no TLS files; write https, or leave them out")
    return origin
