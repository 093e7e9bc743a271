"""Azure's report layout, its metadata service, and a TPM that is none of Azure's."""

from __future__ import annotations

import io
import json
import socket
import time
from contextlib import AbstractContextManager, nullcontext
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fakes import azure_vtpm as fake
from fakes.azure_vtpm import SNP, TDX
from fakes.azure_vtpm_metadata import FakeMetadata, chip_certificates, mint_quote, serving
from fakes.tpm_answers import SUCCESS, Script, authorised, plain, refusal, speak
from hypothesis import given, settings
from hypothesis import strategies as st

from sealward.enclave_agent.attesters import auto, registry
from sealward.enclave_agent.attesters.azure_vtpm import hcl, metadata
from sealward.enclave_agent.attesters.azure_vtpm.attester import AzureAttester
from sealward.enclave_agent.attesters.azure_vtpm.hcl import HclReport, Tee
from sealward.enclave_agent.attesters.azure_vtpm.metadata import MetadataError, MetadataService
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.enclave_agent.attesters.tpm import nv
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, PcrSelection
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.transport import CharacterDevice, TpmTransport
from sealward.verifier.rats.errors import MalformedEvidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BOUND = bytes(range(64))
KEY = rsa.generate_private_key(65537, 2048).public_key()
RUNTIME = fake.claims(KEY, BOUND)
REPORT = fake.mint_report(SNP, RUNTIME)
NOTHING_THERE = refusal(0x18B)


# The report


@pytest.mark.parametrize("hash_type", [1, 2, 3])
@pytest.mark.parametrize(("kind", "tee"), [(SNP, Tee.SEV_SNP), (TDX, Tee.TDX)])
def test_a_report_is_taken_apart(kind: int, tee: Tee, hash_type: int) -> None:
    report = hcl.parse(fake.mint_report(kind, RUNTIME, hash_type=hash_type))
    assert report.tee is tee
    assert report.claims == RUNTIME
    assert report.whole
    assert report.carries(BOUND)
    assert report.takes_user_data()
    assert not report.carries(bytes(64))
    made = fake.snp_report(report.bound) if kind == SNP else fake.td_report(report.bound)
    assert report.hardware[:0x2A0] == made[:0x2A0]  # what follows in an SNP report is its signature


def test_reports_of_real_machines_are_taken_apart(vectors_dir: Path) -> None:
    found = {
        path.name: hcl.parse(path.read_bytes()) for path in vectors_dir.glob("azure/*.hcl.bin")
    }
    assert {name: report.tee for name, report in found.items()} == {
        "az-snp-v1.hcl.bin": Tee.SEV_SNP,
        "az-snp-v2-userdata.hcl.bin": Tee.SEV_SNP,
        "az-tdx-v1.hcl.bin": Tee.TDX,
    }
    assert all(report.whole and report.takes_user_data() for report in found.values())
    carried = json.loads(found["az-snp-v2-userdata.hcl.bin"].claims)["user-data"]  # noqa: TID251 - another reader
    assert found["az-snp-v2-userdata.hcl.bin"].carries(bytes.fromhex(carried))
    assert not found["az-snp-v1.hcl.bin"].carries(bytes.fromhex(carried))


@settings(deadline=None)
@given(st.integers(0, len(REPORT) - 1), st.integers(0, 255), st.integers(0, len(REPORT)))
def test_a_changed_or_cut_report_is_read_or_refused_and_nothing_else(
    at: int, value: int, size: int
) -> None:
    changed = bytearray(REPORT)
    changed[at] = value
    for content in (bytes(changed), REPORT[:size], bytes(changed)[:size]):
        try:
            report = hcl.parse(content)
        except MalformedEvidence:
            continue
        assert isinstance(report, HclReport)
        assert report.content == content


@pytest.mark.parametrize("at", [0x70, 0xAF, 0x4D4, 0x4D4 + len(RUNTIME) - 1])
def test_claims_that_the_hardware_did_not_sign_are_no_whole_report(at: int) -> None:
    changed = bytearray(REPORT)
    changed[at] ^= 1
    assert not hcl.parse(bytes(changed)).whole


# NV memory, byte by byte


def public_of(index: int, attributes: int, size: int) -> bytes:
    area = index.to_bytes(4, "big") + b"\0\x0b" + attributes.to_bytes(4, "big") + b"\0\0"
    area += size.to_bytes(2, "big")
    return plain(len(area).to_bytes(2, "big") + area + b"\0\2\0\x0b")


def test_an_index_that_is_not_there_is_defined_by_the_owner_and_written() -> None:
    script = Script(NOTHING_THERE, authorised(b""), authorised(b""))
    nv.write(speak(script), 0x01400002, b"\xaa" * 64)
    assert script.asked[1:] == [
        bytes.fromhex(
            "8002 0000002d 0000012a 40000001 00000009 40000009 0000 00 0000"
            "0000 000e 01400002 000b 00020002 0000 0040"
        ),
        bytes.fromhex(
            "8002 00000063 00000137 40000001 01400002 00000009 40000009 0000 00 0000 0040"
        )
        + b"\xaa" * 64
        + bytes(2),
    ]


@pytest.mark.parametrize(
    ("attributes", "authority"), [(1 << 1, "40000001"), (1 << 2, "01400002"), (6, "40000001")]
)
def test_an_index_is_written_by_the_owner_where_the_owner_may(
    attributes: int, authority: str
) -> None:
    script = Script(public_of(0x01400002, attributes, 64), authorised(b""))
    nv.write(speak(script), 0x01400002, bytes(64))
    assert script.asked[1][10:14].hex() == authority


@pytest.mark.parametrize(
    ("attributes", "authority"), [(1 << 17 | 1 << 18, "40000001"), (1 << 18, "01c101d0")]
)
def test_an_index_is_read_in_pieces_and_by_the_owner_where_the_owner_may(
    attributes: int, authority: str
) -> None:
    pieces = [authorised(b"\2\0" + bytes([n]) * 512) for n in range(2)]
    last = authorised(b"\0\1\xff")
    script = Script(public_of(0x01C101D0, attributes, 1025), *pieces, last)
    tpm = speak(script)
    found = nv.find(tpm, 0x01C101D0)
    assert found is not None
    assert nv.read(tpm, found, most=2000) == bytes(512) + b"\1" * 512 + b"\xff"
    assert [asked[10:14].hex() for asked in script.asked[1:]] == [authority] * 3
    assert [int.from_bytes(asked[-2:], "big") for asked in script.asked[1:]] == [0, 512, 1024]
    with pytest.raises(TpmError, match="has 1025 bytes; at most 1024 are read"):
        nv.read(tpm, found, most=1024)


def test_a_piece_that_is_short_is_an_error() -> None:
    script = Script(public_of(1 << 24, 1 << 17, 600), authorised(b"\0\1\xff"))
    tpm = speak(script)
    found = nv.find(tpm, 1 << 24)
    assert found is not None
    with pytest.raises(TpmError, match="gave 1 bytes of NV memory for 512"):
        nv.read(tpm, found, most=600)


# A machine that is no confidential VM of Azure


def attester(
    connect: Callable[[], AbstractContextManager[TpmTransport]],
) -> AzureAttester:
    return AzureAttester(
        connect,
        MetadataService(nobody, sleep=lambda _: None),
        selections=(PcrSelection(HashAlg.SHA256, (0,)),),
        log=Path("/nonexistent"),
        random_bytes=bytes,
        sleep=lambda _: None,
    )


def nobody() -> HTTPConnection:
    return HTTPConnection("127.0.0.1", 1, timeout=1)


def absent() -> CharacterDevice:
    return CharacterDevice("/nonexistent/tpmrm0")


def refused() -> CharacterDevice:
    raise TpmError(None, "The TPM cannot be used: this user may not open /dev/tpmrm0 (join tss).")


def answering(*answers: bytes) -> Callable[[], AbstractContextManager[TpmTransport]]:
    return lambda: nullcontext(Script(*answers))


NO_KEY = (
    public_of(hcl.INDEX, 1 << 17, 2600),
    authorised(b"\0\x14" + REPORT[0x4C0:0x4D4]),
    NOTHING_THERE,
)


@pytest.mark.parametrize(
    ("connect", "told"),
    [
        (absent, "CONFIG_TCG_TPM"),
        (refused, "join tss"),
        (answering(NOTHING_THERE), "security type ConfidentialVM"),
        (answering(refusal(0x100)), "TPM2_NV_READ_PUBLIC with 0x100"),
        (answering(refusal(0x922)), "stayed busy"),
        (answering(SUCCESS), "cannot be read"),
        (answering(*NO_KEY), "holds no attestation key"),
    ],
)
def test_every_obstacle_is_told_in_one_sentence(
    connect: Callable[[], AbstractContextManager[TpmTransport]], told: str
) -> None:
    found = attester(connect).probe()
    assert not found.available
    assert told in found.why
    assert found.why.startswith("No Azure evidence: ")
    assert found.why.endswith(".")
    assert found.why.count(". ") == 0


@pytest.mark.parametrize("connect", [absent, refused, answering(NOTHING_THERE)])
def test_a_collection_is_refused_with_the_sentence_of_the_probe(
    connect: Callable[[], AbstractContextManager[TpmTransport]],
) -> None:
    why = attester(connect).probe().why
    with pytest.raises(AttesterUnavailable) as caught:
        attester(connect).collect(BOUND)
    assert str(caught.value) == why


@settings(deadline=None)
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=4))
def test_whatever_a_tpm_answers_a_probe_says_a_sentence(answers: list[bytes]) -> None:
    found = attester(answering(*answers)).probe()
    assert not found.available
    assert found.why.endswith(".")


def test_auto_asks_azure_last() -> None:
    assert auto.ORDER[-1] == "azure"
    assert registry.load("azure", {}).kind == "azure"


def test_registers_and_log_are_settings_and_nothing_else_is() -> None:
    chosen = {"pcrs": "sha256:0,7,10", "event_log": "/run/sealward/event-log"}
    assert registry.load("azure", chosen).kind == "azure"
    for wrong in ({"device": "/dev/tpm0"}, {"pcrs": "sha256:24"}, {"event_log": "log"}):
        with pytest.raises(AttesterUnavailable, match=r"^\[attester\]"):
            registry.load("azure", wrong)


# The metadata service


@pytest.fixture(scope="module")
def service() -> Iterator[FakeMetadata]:
    with serving(FakeMetadata()) as running:
        yield running


@pytest.fixture
def host(service: FakeMetadata) -> Iterator[FakeMetadata]:
    yield service
    service.statuses, service.body, service.padded, service.requests = [], None, False, []


def asking(host: FakeMetadata, pauses: list[float] | None = None) -> MetadataService:
    return MetadataService(host.connect, sleep=([] if pauses is None else pauses).append)


def failure(host: FakeMetadata) -> str:
    with pytest.raises(MetadataError) as caught:
        asking(host).td_quote(fake.td_report(BOUND))
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


@pytest.mark.parametrize("padded", [True, False])
def test_a_td_report_becomes_a_quote(host: FakeMetadata, *, padded: bool) -> None:
    host.padded = padded
    report = fake.td_report(BOUND)
    assert asking(host).td_quote(report) == mint_quote(report)


def test_certificates_come_with_the_chips_first(host: FakeMetadata) -> None:
    leaf, chain = chip_certificates()
    assert asking(host).certificates().decode() == f"{leaf}\n{chain}"
    method, path, headers = host.requests[-1]
    assert (method, path) == ("GET", "/metadata/THIM/amd/certification")
    assert headers["Metadata"] == "true"


@pytest.mark.parametrize("status", [410, 429, 500, 503])
def test_a_service_that_asks_for_patience_is_asked_again(host: FakeMetadata, status: int) -> None:
    host.statuses, pauses = [status, status], []
    report = fake.td_report(BOUND)
    assert asking(host, pauses).td_quote(report) == mint_quote(report)
    assert pauses == [0.5, 1.0]
    host.statuses = [status] * 9
    assert f"with status {status}" in failure(host)
    assert len(host.requests) == 3 + 3


@pytest.mark.parametrize("status", [201, 204, 301, 302, 307, 308, 400, 403, 404])
def test_other_answers_are_final_and_redirects_are_not_followed(
    host: FakeMetadata, status: int
) -> None:
    host.statuses = [status]
    assert f"with status {status}" in failure(host)
    assert [path for _, path, _ in host.requests] == ["/acc/tdquote"]


def test_proxies_of_the_environment_are_not_asked(
    host: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert asking(host).certificates()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "cannot be read"),
        (b"[]", "something else"),
        (b"{}", "no text under 'quote'"),
        (b'{"quote": 1}', "no text under 'quote'"),
        (b'{"quote": "AAAA", "quote": "AAAA"}', "duplicate"),
        (b'{"quote": "a+/b"}', "base64"),
        (b'{"quote": "\xff"}', "not UTF-8"),
        (b'{"quote": "' + b"A" * 22_000 + b'"}', "more than 16384 bytes"),
        (b'{"quote": "' + b"A" * 70_000 + b'"}', "at most 65536 are read"),
    ],
)
def test_an_answer_that_is_no_quote_is_told(host: FakeMetadata, body: bytes, told: str) -> None:
    host.body = body
    assert told in failure(host)


@pytest.mark.parametrize(
    "body",
    [
        b'{"vcekCert": "x"}',
        b'{"certificateChain": "x"}',
        json.dumps({"vcekCert": "x" * 9000, "certificateChain": "x" * 9000}).encode(),
    ],
)
def test_certificates_that_are_none_or_too_many_are_told(host: FakeMetadata, body: bytes) -> None:
    host.body = body
    with pytest.raises(MetadataError, match="cannot be read"):
        asking(host).certificates()


def test_a_service_that_is_not_there_is_told_with_what_to_look_at() -> None:
    service = MetadataService(nobody, sleep=lambda _: None)
    assert "firewall" in (service.obstacle() or "")
    with pytest.raises(MetadataError, match="firewall"):
        service.certificates()


def test_a_service_that_listens_is_no_obstacle(host: FakeMetadata) -> None:
    assert asking(host).obstacle() is None
    assert host.requests == []


def test_a_service_that_keeps_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connection = HTTPConnection("127.0.0.1", port, timeout=0.1)
        service = MetadataService(lambda: connection, sleep=lambda _: None)
        begun = time.monotonic()
        with pytest.raises(MetadataError, match="cannot be reached"):
            service.certificates()
        assert time.monotonic() - begun < 5


class Canned(HTTPConnection):
    """A connection whose other side says these bytes and goes away."""

    def __init__(self, answer: bytes) -> None:
        super().__init__("127.0.0.1")
        self._answer = answer

    def connect(self) -> None:
        self.sock = self

    def sendall(self, data: bytes) -> None:
        """Nobody listens."""

    def makefile(self, mode: str) -> io.BytesIO:
        assert mode == "rb"
        return io.BytesIO(self._answer)


class Counting(io.BytesIO):
    """Counts what is taken out of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


class Flood(Canned):
    """A connection whose other side does not stop."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.stream = Counting(HEAD + b"\r\n" + b" " * (1 << 20))

    def makefile(self, mode: str) -> io.BytesIO:
        del mode
        return self.stream


def test_no_more_is_read_than_the_budget() -> None:
    flood = Flood()
    with pytest.raises(MetadataError, match="at most 65536 are read"):
        MetadataService(lambda: flood, sleep=lambda _: None).certificates()
    assert flood.stream.taken == metadata.MAX_ANSWER + 1


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@settings(deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda rest: HEAD + rest),
        st.binary(max_size=300).map(lambda rest: HEAD + b"\r\n" + rest),
        st.binary(max_size=300).map(lambda rest: CHUNKED + rest),
        st.text(max_size=20).map(lambda text: HEAD + f"Content-Length: {text}\r\n\r\n".encode()),
    )
)
def test_whatever_comes_instead_of_http_is_one_error(answer: bytes) -> None:
    service = MetadataService(lambda: Canned(answer), sleep=lambda _: None)
    for ask in (service.certificates, lambda: service.td_quote(bytes(1024))):
        with pytest.raises(MetadataError):
            ask()


def test_the_service_of_a_real_machine_is_the_link_local_one() -> None:
    assert (metadata.ADDRESS, metadata.PORT) == ("169.254.169.254", 80)
