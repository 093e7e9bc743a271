"""HTTP to an OPA server: whole answers within deadline and budget, from that server alone."""

from __future__ import annotations

import asyncio
import gzip
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from fakes.fake_authority import Authority
from fakes.opa_server import tls_files
from fakes.scripted_http import answer, serving

from sealward.controlplane.adapters.policy_engine.opa.client import OpaClient, Unreachable
from sealward.controlplane.adapters.policy_engine.opa.endpoint import (
    Endpoint,
    InvalidEndpoint,
    TlsFiles,
)
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError

PATH = "/v1/data/a"
OK = answer("200 OK", b"{}")
NO_FILES: dict[str, None] = {"ca": None, "certificate": None, "key": None}


@contextmanager
def client(endpoint: Endpoint) -> Iterator[OpaClient]:
    opened = OpaClient(endpoint)
    try:
        yield opened
    finally:
        opened.close()


def plain(url: str) -> Endpoint:
    return Endpoint.parse(url, **NO_FILES)


def get(opened: OpaClient, *, seconds: float = 5, max_bytes: int = 1000) -> bytes:
    return opened.request("GET", PATH, seconds=seconds, max_bytes=max_bytes).body


@pytest.mark.parametrize(
    "url",
    [
        "http://opa.example:8181",
        "http://localhost:8181",
        "http://192.0.2.1:8181",
        "http://0.0.0.0:8181",
        "http://127.0.0.1.example:8181",
        "https://opa.example:8181",
        "https://user@opa.example",
        "https://opa.example/prefix",
        "https://opa.example?x=1",
        "https://opa.example:0",
        "https://opa.example:65536",
        "HTTPS://opa.example",
        "ftp://127.0.0.1",
        "opa.example:8181",
        "",
    ],
)
def test_plain_http_beyond_loopback_and_odd_addresses_are_refused(url: str) -> None:
    with pytest.raises(InvalidEndpoint) as refused:
        plain(url)
    assert str(refused.value)


@pytest.mark.parametrize("missing", ["ca", "certificate", "key"])
def test_https_needs_every_file(missing: str) -> None:
    files: dict[str, Path | None] = dict.fromkeys(NO_FILES, Path("file.pem"))
    with pytest.raises(InvalidEndpoint, match="mutual TLS"):
        Endpoint.parse("https://opa.example", **{**files, missing: None})
    with pytest.raises(InvalidEndpoint, match="no TLS files"):
        Endpoint.parse("http://127.0.0.1", **{**files, missing: None})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://[::1]:1", "http://127.9.9.9:1/"])
def test_loopback_may_speak_plain_http(url: str) -> None:
    assert plain(url).context() is None


def test_the_port_is_that_of_opa_unless_it_is_said() -> None:
    assert plain("http://127.0.0.1").url == "http://127.0.0.1:8181"


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(tmp_path: Path) -> None:
    files = tls_files(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    sealed = BestAvailableEncryption(b"secret")
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed))
    with pytest.raises(InvalidEndpoint, match=r"client\.key"):
        Endpoint(url="https://127.0.0.1:1", tls=files).context()


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    files = tls_files(tmp_path)
    files.ca.write_text("no certificate")
    with pytest.raises(InvalidEndpoint):
        Endpoint(url="https://127.0.0.1:1", tls=files).context()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/data/a?pretty=true",
        "/v1/data/../policies",
        "/v1/data/./a",
        "/v1/data/a#b",
        "/v1/data/%2e%2e",
        "/v1//data",
        "/v1/data/",
        "v1/data",
        "/v1/data/a b",
        "/v1/data/\u00e9",
        "/v1/data/a\r\nX: y",
        "http://192.0.2.1/v1",
        "",
    ],
)
def test_a_path_is_of_plain_segments_or_nothing_is_sent(path: str) -> None:
    with serving(lambda _n, _r: iter((OK,))) as server, client(plain(server.url)) as opened:
        with pytest.raises(ValueError, match="not a path of ours"):
            opened.request("GET", path, seconds=5, max_bytes=10)
        assert server.requests == []


def test_a_body_goes_out_as_it_is_and_strictness_is_asked_for() -> None:
    with serving(lambda _n, _r: iter((OK,))) as server, client(plain(server.url)) as opened:
        opened.request("POST", PATH, body=b"", seconds=5, max_bytes=10, strict=True)
        opened.request("POST", PATH, body=b'{"input":{}}', seconds=5, max_bytes=10, strict=True)
    empty, filled = server.requests
    assert empty.startswith(b"POST /v1/data/a?strict-builtin-errors=true HTTP/1.1\r\n")
    assert filled.endswith(b'\r\n\r\n{"input":{}}')


def drip(pieces: bytes, pause: float) -> Iterator[bytes]:
    for at in range(len(pieces)):
        yield pieces[at : at + 1]
        time.sleep(pause)


@pytest.mark.parametrize("slow", ["nothing at all", "headers", "body"])
def test_a_server_that_sends_a_byte_now_and_then_holds_nobody_beyond_the_deadline(
    slow: str,
) -> None:
    quit_now = threading.Event()

    def handle(_number: int, _request: bytes) -> Iterator[bytes]:
        if slow == "body":
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        if slow != "nothing at all":
            for piece in drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 500, 0.02):
                if quit_now.is_set():
                    return
                yield piece
        quit_now.wait(10)

    with serving(handle) as server, client(plain(server.url)) as opened:
        began = time.monotonic()
        with pytest.raises(PolicyEngineError) as late:
            get(opened, seconds=0.3)
        held = time.monotonic() - began
        quit_now.set()
    assert late.value.fault is EngineFault.TIMEOUT
    assert 0.25 < held < 2


class _Slow(selectors.DefaultSelector):
    """Under an event loop that is short of processor time: each of its rounds takes a while."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        time.sleep(0.02)
        return ready


@pytest.mark.parametrize("shortest", [0.0, 0.6], ids=["before it is sent", "waiting for an answer"])
def test_an_exchange_that_is_given_up_closes_its_connection_however_late_the_loop_is(
    monkeypatch: pytest.MonkeyPatch, shortest: float
) -> None:
    """OPA evaluates for as long as it is open, and cannot take another policy meanwhile."""
    monkeypatch.setattr(asyncio, "new_event_loop", lambda: asyncio.SelectorEventLoop(_Slow()))
    callers = 32
    with socket.create_server(("127.0.0.1", 0), backlog=2 * callers) as silent:

        def ask(number: int) -> EngineFault:
            with pytest.raises(PolicyEngineError) as late:
                get(opened, seconds=shortest + (number + 1) * 0.01)
            return late.value.fault

        with (
            client(plain(f"http://127.0.0.1:{silent.getsockname()[1]}")) as opened,
            ThreadPoolExecutor(callers) as pool,
        ):
            assert set(pool.map(ask, range(callers))) == {EngineFault.TIMEOUT}
            requests = [_until_closed(connection) for connection in _waiting(silent)]
    assert requests
    if shortest:
        assert any(request.startswith(b"GET ") for request in requests)


def _waiting(listener: socket.socket) -> Iterator[socket.socket]:
    """Yield the connections that nobody has accepted yet."""
    listener.settimeout(0.1)
    with suppress(TimeoutError):
        while True:
            connection, _ = listener.accept()
            with connection:
                yield connection


def _until_closed(connection: socket.socket) -> bytes:
    """Return what was sent; fails when the other side leaves the connection open."""
    connection.settimeout(5)
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_an_answer_beyond_the_budget_is_not_read_to_its_end() -> None:
    sent = []

    def handle(_number: int, _request: bytes) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
        for _ in range(10_000):
            sent.append(1)
            yield bytes(10_000)

    with serving(handle) as server, client(plain(server.url)) as opened:
        with pytest.raises(PolicyEngineError, match="larger than 1000 bytes") as refused:
            get(opened)
        assert refused.value.fault is EngineFault.ERROR
    assert len(sent) < 10_000


def test_an_answer_of_exactly_the_budget_is_read() -> None:
    body = b"x" * 1000
    with (
        serving(lambda _n, _r: iter((answer("200 OK", body),))) as server,
        client(plain(server.url)) as opened,
    ):
        assert get(opened) == body


def test_a_packed_answer_is_not_unpacked() -> None:
    bomb = answer("200 OK", gzip.compress(bytes(10_000_000)), "Content-Encoding: gzip")
    with serving(lambda _n, _r: iter((bomb,))) as server, client(plain(server.url)) as opened:
        with pytest.raises(PolicyEngineError, match="packed"):
            get(opened, max_bytes=100_000_000)
        assert b"Accept-Encoding: identity" in server.requests[0]


@pytest.mark.parametrize("status", ["301 M", "302 F", "307 T", "308 P"])
def test_a_redirect_is_an_answer_and_is_not_followed(status: str) -> None:
    with serving(lambda _n, _r: iter((OK,))) as elsewhere:
        moved = answer(status, b"", f"Location: {elsewhere.url}/v1/data/a")
        with serving(lambda _n, _r: iter((moved,))) as server, client(plain(server.url)) as opened:
            got = opened.request("POST", PATH, body=b"{}", seconds=5, max_bytes=10)
        assert got.status == int(status[:3])
        assert elsewhere.requests == []


def test_a_cookie_is_not_kept() -> None:
    baked = answer("200 OK", b"{}", "Set-Cookie: a=b")
    with serving(lambda _n, _r: iter((baked,))) as server, client(plain(server.url)) as opened:
        get(opened)
        get(opened)
    assert b"ookie" not in server.requests[1]


def test_the_environment_sends_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _n, _r: iter((OK,))) as elsewhere:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, elsewhere.url)
        with serving(lambda _n, _r: iter((OK,))) as server, client(plain(server.url)) as opened:
            get(opened)
        assert elsewhere.requests == []


def test_a_connection_that_breaks_before_an_answer_is_tried_once_more() -> None:
    def handle(number: int, _request: bytes) -> Iterator[bytes]:
        if number > 1:
            yield OK

    with serving(handle) as server, client(plain(server.url)) as opened:
        assert get(opened) == b"{}"
        assert len(server.requests) == 2


def test_a_connection_that_always_breaks_is_tried_twice_and_no_more() -> None:
    with serving(lambda _n, _r: iter(())) as server, client(plain(server.url)) as opened:
        with pytest.raises(PolicyEngineError, match="broke") as broken:
            get(opened)
        assert broken.value.fault is EngineFault.CRASHED
        assert not isinstance(broken.value, Unreachable)
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_answer_is_never_asked_for_twice(status: int) -> None:
    down = answer(f"{status} X", b"no")
    with serving(lambda _n, _r: iter((down,))) as server, client(plain(server.url)) as opened:
        assert opened.request("GET", PATH, seconds=5, max_bytes=10).status == status
        assert len(server.requests) == 1


@pytest.mark.parametrize("noise", [b"\x00" * 100, b"HTTP/9.9 abc\r\n\r\n", b"SSH-2.0-x\r\n\r\n"])
def test_what_is_no_http_is_a_broken_connection(noise: bytes) -> None:
    def handle(_number: int, _request: bytes) -> Iterator[bytes]:
        yield noise

    with serving(handle) as server, client(plain(server.url)) as opened:
        with pytest.raises(PolicyEngineError) as broken:
            get(opened, seconds=2)
        assert broken.value.fault is EngineFault.CRASHED


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with client(plain(f"http://127.0.0.1:{port}")) as opened, pytest.raises(Unreachable):
        get(opened)


def test_what_is_closed_may_be_closed_again_and_refuses() -> None:
    opened = OpaClient(plain("http://127.0.0.1:1"))
    opened.close()
    opened.close()
    with pytest.raises(PolicyEngineError) as closed:
        get(opened)
    assert closed.value.fault is EngineFault.BUSY


# --- TLS --------------------------------------------------------------------------------------


@contextmanager
def tls_server(context: ssl.SSLContext) -> Iterator[int]:
    """One connection at a time; answers {} to whoever gets through the handshake."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError, ssl.SSLError):
                    connection.settimeout(5)
                    with context.wrap_socket(connection, server_side=True) as secure:
                        secure.recv(65536)
                        secure.sendall(OK)
                connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


def server_context(folder: Path, *, ask: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    context.load_verify_locations(folder / "ca.pem")
    if ask:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def secure(port: int, files: TlsFiles, host: str = "127.0.0.1") -> Endpoint:
    return Endpoint.parse(
        f"https://{host}:{port}", ca=files.ca, certificate=files.certificate, key=files.key
    )


def test_both_sides_prove_who_they_are_under_a_private_ca(tmp_path: Path) -> None:
    files = tls_files(tmp_path)
    with (
        tls_server(server_context(tmp_path)) as port,
        client(secure(port, files)) as opened,
    ):
        assert get(opened) == b"{}"


def test_a_server_of_another_ca_is_not_spoken_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tls_files(tmp_path / "ours")
    theirs = tls_files(tmp_path / "theirs")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(theirs.ca))  # the environment vouches for nobody
    context = server_context(tmp_path / "theirs", ask=False)
    with (
        tls_server(context) as port,
        client(secure(port, ours)) as opened,
        pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        get(opened)


def test_a_server_of_another_name_is_not_spoken_to(tmp_path: Path) -> None:
    files = tls_files(tmp_path)
    with (
        tls_server(server_context(tmp_path)) as port,
        client(secure(port, files, host="localhost")) as opened,
        pytest.raises(Unreachable, match="Hostname mismatch"),
    ):
        get(opened)


def test_an_old_tls_is_not_spoken(tmp_path: Path) -> None:
    files = tls_files(tmp_path)
    context = server_context(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        tls_server(context) as port,
        client(secure(port, files)) as opened,
        pytest.raises(Unreachable),
    ):
        get(opened)


def test_a_stranger_shows_no_certificate(tmp_path: Path) -> None:
    files = tls_files(tmp_path)
    with tls_server(server_context(tmp_path)) as port:
        stranger = OpaClient(secure(port, files), anonymous=True)
        try:
            with pytest.raises(PolicyEngineError):
                get(stranger)
        finally:
            stranger.close()


def test_tls_secrets_are_not_written_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tls_files(tmp_path)
    keylog = tmp_path / "secrets.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keylog))
    with (
        tls_server(server_context(tmp_path)) as port,
        client(secure(port, files)) as opened,
    ):
        assert get(opened) == b"{}"
    assert not keylog.exists()


def test_a_client_certificate_of_another_ca_is_refused_by_the_server(tmp_path: Path) -> None:
    files = tls_files(tmp_path)
    key = ec.generate_private_key(ec.SECP256R1())
    other = Authority.make("other").issue(key.public_key(), timedelta(days=1), server=False)
    files.certificate.write_bytes(other.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with (
        tls_server(server_context(tmp_path)) as port,
        client(secure(port, files)) as opened,
        pytest.raises(PolicyEngineError) as refused,
    ):
        get(opened)
    assert refused.value.fault is EngineFault.CRASHED
