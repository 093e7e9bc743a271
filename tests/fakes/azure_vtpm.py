"""An Azure confidential VM: a real swtpm with Azure's key, and a paravisor in front of it.

The paravisor is written from Microsoft's OpenVMM (vm/devices/tpm): it keeps NV index 0x01400001
with a password that only it knows, readable by the owner, and renews its content when a read of it
begins at offset 0, at most once in two seconds, over what NV index 0x01400002 holds just then. The
index is kept here and not in the swtpm, which has none above 2,048 bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from fakes import snp_fixtures
from fakes.swtpm import Swtpm
from sealward_devkit.guest import Guest, report_of_guest

REPORT_INDEX = 0x01400001
INPUT_INDEX = 0x01400002
CERTIFICATE_INDEX = 0x01C101D0
KEY_HANDLE = 0x81000003
SIZE = 2600
SNP, TDX = 2, 4
RATE_LIMIT_S = 2.0
OWNER = 0x40000001
# AuthRead, AuthWrite, OwnerRead, NoDA, Written, PlatformCreate
ATTRIBUTES = 1 << 18 | 1 << 2 | 1 << 17 | 1 << 25 | 1 << 29 | 1 << 30
BAD_AUTH = 0x9A2
NV_RANGE = 0x146
NV_UNINITIALIZED = 0x14A
_NV_WRITE, _NV_READ, _NV_READ_PUBLIC = 0x137, 0x14E, 0x169
_EMPTY_PASSWORD = bytes.fromhex("00000009 40000009 0000 00 0000")
_SESSION_ANSWER = bytes.fromhex("0000 01 0000")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Transport(Protocol):
    """Command bytes there, response bytes back."""

    def execute(self, command: bytes) -> bytes: ...


def provision(machine: Swtpm, *, certificate: bool = True) -> rsa.RSAPublicKey:
    """Make Azure's attestation key and its certificate in a fresh swtpm; return the key."""
    attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign"
    command = ("tpm2_createprimary", "-C", "e", "-G", "rsa2048:rsassa-sha256:null", "-g", "sha256")
    machine.tool(*command, "-a", attributes, "-c", "ak.ctx")
    machine.tool("tpm2_evictcontrol", "-C", "o", "-c", "ak.ctx", f"{KEY_HANDLE:#x}")
    machine.tool("tpm2_readpublic", "-c", f"{KEY_HANDLE:#x}", "-f", "pem", "-o", "ak.pem")
    machine.tool("tpm2_flushcontext", "-t")
    key = serialization.load_pem_public_key((machine.folder / "ak.pem").read_bytes())
    assert isinstance(key, rsa.RSAPublicKey)
    if certificate:
        keep(machine, CERTIFICATE_INDEX, mint_certificate(key).ljust(2048, b"\0"))
    return key


def keep(machine: Swtpm, index: int, content: bytes) -> None:
    """Define an index as the paravisor does, with a password of its own, and write it."""
    attributes = "ownerread|authread|authwrite|platformcreate|no_da"
    define = ("tpm2_nvdefine", f"{index:#x}", "-C", "p", "-s", str(len(content)), "-a", attributes)
    machine.tool(*define, "-p", "paravisor")
    (machine.folder / "content").write_bytes(content)
    write = ("tpm2_nvwrite", f"{index:#x}", "-C", f"{index:#x}", "-P", "paravisor")
    machine.tool(*write, "-i", "content")


def mint_certificate(key: rsa.RSAPublicKey) -> bytes:
    """A certificate of the attestation key under a CA of this test."""
    issuer = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateBuilder(
        issuer_name=_name("Global Virtual TPM CA - test"),
        subject_name=_name("test.TrustedVM.Azure"),
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - timedelta(days=1),
        not_valid_after=NOW + timedelta(days=365),
    )
    signed = builder.sign(issuer, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def snp_report(report_data: bytes) -> bytes:
    """A genuine report of the development platform."""
    guest = Guest(measurement=snp_fixtures.MEASUREMENT, host_data=bytes(32))
    return report_of_guest(snp_fixtures.platform(), guest, bytes(range(32)), report_data)


def td_report(report_data: bytes) -> bytes:
    """A TDREPORT: its type and its report_data; the MAC is nobody's to check."""
    head = bytes.fromhex("81000001").ljust(128, b"\0") + report_data
    return head.ljust(1024, b"\x5a")


def claims(key: rsa.RSAPublicKey, user_data: bytes | None) -> bytes:
    """The runtime claims as the paravisor writes them."""
    numbers = key.public_numbers()
    modulus = base64url(numbers.n.to_bytes(256, "big"))
    text: dict[str, object] = {
        "keys": [
            {"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": modulus},
            {"kid": "HCLEkPub", "key_ops": ["encrypt"], "kty": "RSA", "e": "AQAB", "n": "AQAB"},
        ],
        "vm-configuration": {"console-enabled": True, "secure-boot": True, "tpm-enabled": True},
    }
    if user_data is not None:
        text["user-data"] = user_data.hex().upper()
    return json.dumps(text, separators=(",", ":")).encode()


def base64url(data: bytes) -> str:
    """Unpadded, by the standard library: an encoder other than the one under test."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def mint_report(tee: int, runtime: bytes, *, hash_type: int = 1, size: int = SIZE) -> bytes:
    """The content of the index: header, hardware report over the claims' hash, claims."""
    digest = {1: hashlib.sha256, 2: hashlib.sha384, 3: hashlib.sha512}[hash_type](runtime).digest()
    hardware = {SNP: snp_report, TDX: td_report}[tee](digest.ljust(64, b"\0"))
    data = pack("<IIIII", 20 + len(runtime), 1, tee, hash_type, len(runtime)) + runtime
    header = b"HCLA" + pack("<IIII", 2, 0x4C0 + len(data), 2, 0) + bytes(12)
    return (header + hardware.ljust(1184, b"\0") + data).ljust(size, b"\0")


@dataclass
class Clock:
    """Time that passes only where somebody sleeps."""

    now: float = 1000.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Paravisor:
    """Serves the report's index, and hands every other command on to the TPM.

    Attributes:
        inner: the TPM.
        key: its attestation key, which reports name.
        clock: what the rate limit goes by.
        tee: what reports are of.
        user_data: whether the claims have that member.
        lag: None as OpenVMM; else seconds after a write until the report is renewed, as before it.
        fails: renewals that fail and leave the old report.
        torn: reads in whose middle another process has the report renewed over its own data.
        rivals: writes of the input that another process overwrites at once.
        content: what is read, or None where nothing was ever written.
        size: of the index, or None where there is none.
        renewed: how often.
    """

    inner: Transport
    key: rsa.RSAPublicKey
    clock: Clock
    tee: int = SNP
    user_data: bool = True
    lag: float | None = None
    fails: int = 0
    torn: int = 0
    rivals: int = 0
    content: bytes | None = field(default=None, repr=False)
    size: int | None = SIZE
    renewed: int = 0
    change: Callable[[bytes], bytes] = lambda content: content
    _renewed_at: float | None = None
    _due: float | None = None

    def __post_init__(self) -> None:
        if self.content is None:
            self.content = self._mint(bytes(64))

    def execute(self, command: bytes) -> bytes:
        code, first, second = (int.from_bytes(command[i : i + 4], "big") for i in (6, 10, 14))
        if code == _NV_READ_PUBLIC and first == REPORT_INDEX:
            return self._public() if self.size is not None else _refusal(0x18B)
        if code == _NV_READ and second == REPORT_INDEX:
            assert command[18:31] == _EMPTY_PASSWORD
            size, offset = (int.from_bytes(command[i : i + 2], "big") for i in (31, 33))
            return self._read(first, size, offset)
        answer = self.inner.execute(command)
        if code == _NV_WRITE and second == INPUT_INDEX and answer[6:10] == bytes(4):
            self._written(first)
        return answer

    def _written(self, authority: int) -> None:
        if self._due is None:
            self._due = self.clock.now + (self.lag or 0)
        if self.rivals:
            self.rivals -= 1
            theirs = (
                pack(">II", authority, INPUT_INDEX) + _EMPTY_PASSWORD + b"\0\x40" + b"\x77" * 64
            )
            assert self.inner.execute(_framed(_NV_WRITE, theirs + b"\0\0"))[6:10] == bytes(4)

    def _public(self) -> bytes:
        area = pack(">IHIHH", REPORT_INDEX, 0xB, ATTRIBUTES, 0, self.size or 0)
        name = b"\0\x0b" + hashlib.sha256(area).digest()
        body = pack(">H", len(area)) + area + pack(">H", len(name)) + name
        return b"\x80\x01" + pack(">II", 10 + len(body), 0) + body

    def _read(self, authority: int, size: int, offset: int) -> bytes:
        if authority != OWNER:
            return _refusal(BAD_AUTH)
        if offset == 0:
            self._refresh()
        elif self.torn:
            self.torn -= 1
            self.content = self._mint(b"\x99" * 64)
        if not self.content:
            return _refusal(NV_UNINITIALIZED)
        content = self.change(self.content)
        if offset + size > len(content):
            return _refusal(NV_RANGE)
        data = pack(">H", size) + content[offset : offset + size]
        body = pack(">I", len(data)) + data + _SESSION_ANSWER
        return b"\x80\x02" + pack(">II", 10 + len(body), 0) + body

    def _refresh(self) -> None:
        if self.lag is not None:
            if self._due is None or self.clock.now < self._due:
                return
        elif self._renewed_at is not None and self.clock.now - self._renewed_at <= RATE_LIMIT_S:
            return
        if not self.content:
            return
        if self.fails:
            self.fails -= 1
            return
        self.content = self._mint(self._input())
        self._renewed_at, self._due = self.clock.now, None
        self.renewed += 1

    def _mint(self, user_data: bytes) -> bytes:
        runtime = claims(self.key, user_data if self.user_data else None)
        return mint_report(self.tee, runtime, size=self.size or SIZE)

    def _input(self) -> bytes:
        body = pack(">II", OWNER, INPUT_INDEX) + _EMPTY_PASSWORD + pack(">HH", 64, 0)
        answer = self.inner.execute(_framed(_NV_READ, body))
        return answer[16:80] if answer[6:10] == bytes(4) else bytes(64)


def _framed(code: int, body: bytes) -> bytes:
    return b"\x80\x02" + pack(">II", 10 + len(body), code) + body


def _refusal(code: int) -> bytes:
    return b"\x80\x01" + pack(">II", 10, code)
