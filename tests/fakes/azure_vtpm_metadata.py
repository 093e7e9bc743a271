"""Azure's metadata service as the guest meets it: real HTTP, on loopback.

Written from Microsoft's documentation of the service and of THIM, and from what azure-cvm-tooling
sends to /acc/tdquote.
"""

from __future__ import annotations

import base64
import json
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fakes import snp_fixtures

TD_REPORT_DATA = slice(128, 192)


def mint_quote(td_report: bytes, size: int = 5006) -> bytes:
    """A TD quote as far as its shape goes: version 4, and report_data in its place."""
    head = bytes.fromhex("04000200 81000000").ljust(48 + 520, b"\x21")
    return (head + td_report[TD_REPORT_DATA]).ljust(size, b"\x21")


def chip_certificates() -> tuple[str, str]:
    """VCEK and the certificates above it, of the development platform, in PEM."""
    chip = snp_fixtures.platform()
    return _pem(chip.vek), _pem(chip.intermediate) + _pem(chip.root)


def _pem(der: bytes) -> str:
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join(("-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""))


@dataclass
class FakeMetadata:
    """What the service does, and what it was asked.

    Attributes:
        port: where it listens, on 127.0.0.1.
        statuses: answers to give first, without content.
        padded: whether quotes are in padded base64, as one generation of the service sends them.
        body: content to give instead of the right one.
        quoted: the TDREPORT to quote instead of the one sent.
        quote_size: bytes of a quote.
        requests: method, path and headers of each request.
    """

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    padded: bool = False
    body: bytes | None = None
    quoted: bytes | None = None
    quote_size: int = 5006
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=5)

    def answer(self, path: str, content: bytes) -> tuple[int, bytes]:
        if self.statuses:
            return self.statuses.pop(0), b""
        if self.body is not None:
            return 200, self.body
        if path == "/metadata/THIM/amd/certification":
            leaf, chain = chip_certificates()
            certificates = {"vcekCert": leaf, "tcbm": "DB18000000000004"}
            certificates |= {"certificateChain": chain, "cacheControl": "86400"}
            return 200, json.dumps(certificates).encode()
        if path == "/acc/tdquote":
            return self._quote(content)
        return 404, b""

    def _quote(self, content: bytes) -> tuple[int, bytes]:
        sent = json.loads(content)["report"]  # noqa: TID251 - a reader other than the one under test
        report = base64.urlsafe_b64decode(sent + "=" * (-len(sent) % 4))  # noqa: TID251 - likewise
        if len(report) != 1024:
            return 400, b""
        made = mint_quote(self.quoted or report, self.quote_size)
        quote = base64.urlsafe_b64encode(made).decode()
        return 200, json.dumps({"quote": quote if self.padded else quote.rstrip("=")}).encode()


@contextmanager
def serving(fake: FakeMetadata) -> Iterator[FakeMetadata]:
    """Serve on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers["Content-Length"])))

        def _serve(self, content: bytes) -> None:
            fake.requests.append((self.command, self.path, dict(self.headers)))
            status, body = fake.answer(self.path, content)
            if self.headers["Metadata"] != "true":
                status, body = 400, b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status in (301, 302, 307, 308):
                self.send_header("Location", f"http://127.0.0.1:{fake.port}/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
