"""A kernel that measures: appends entries and extends PCR 10, written from the format alone.

It shares no code with the verifier. Where extensions go is the caller's: registers of its own
always, and a TPM besides (`on_swtpm`).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from fakes.swtpm import Swtpm

Extend = Callable[[int, dict[str, bytes]], None]


def sized(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def digest_of(content: bytes, algorithm: str = "sha256") -> bytes:
    return hashlib.new(algorithm, content).digest()


def d_ng(digest: bytes, algorithm: str = "sha256") -> bytes:
    return algorithm.encode() + b":\0" + digest


@dataclass(frozen=True)
class Appended:
    """One entry: what was hashed differs from what is shown for the template "ima" alone."""

    register: int
    template: bytes
    shown: bytes
    hashed: bytes
    violation: bool

    def line(self, template_hash: str) -> bytes:
        digest = hashlib.new(template_hash, self.hashed).digest()
        if self.violation:
            digest = bytes(len(digest))
        head = struct.pack("<I", self.register) + digest + sized(self.template)
        return head + (self.shown if self.template == b"ima" else sized(self.shown))

    def extension(self, bank: str, *, padded: bool) -> bytes:
        size = hashlib.new(bank).digest_size
        if padded and bank != "sha1":
            sha1 = b"\xff" * 20 if self.violation else hashlib.sha1(self.hashed).digest()  # noqa: S324 - the format's own
            return sha1.ljust(size, b"\0")
        return b"\xff" * size if self.violation else hashlib.new(bank, self.hashed).digest()


@dataclass
class ImaKernel:
    """One boot; `padded` is a kernel before 5.8."""

    banks: tuple[str, ...] = ("sha1", "sha256", "sha384")
    padded: bool = False
    extend: Extend = lambda _register, _digests: None
    appended: list[Appended] = field(default_factory=list)
    registers: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registers = {bank: bytes(hashlib.new(bank).digest_size) for bank in self.banks}

    def boot(self, pcrs: dict[int, bytes], bank: str = "sha256", *, last: int = 9) -> None:
        """Append the boot aggregate of these PCR values."""
        values = b"".join(pcrs[index] for index in range(last + 1))
        self.append_ng("boot_aggregate", hashlib.new(bank, values).digest(), bank)

    def measure(self, path: str | bytes, content: bytes, signature: bytes | None = None) -> bytes:
        """Measure a file, as ima-sig when security.ima holds something; return its digest."""
        digest = digest_of(content)
        if signature is None:
            self.append_ng(path, digest)
        else:
            self.append(b"ima-sig", d_ng(digest), name(path), signature)
        return digest

    def measure_buffer(self, path: str, content: bytes) -> None:
        self.append(b"ima-buf", d_ng(digest_of(content)), name(path), content)

    def violate(self, path: str, *, digest_size: int = 32) -> None:
        """A file was open for writing; older kernels write 20 zero bytes for any hash."""
        self._append(b"ima-ng", sized(d_ng(bytes(digest_size))) + sized(name(path)), violation=True)

    def append_ng(self, path: str | bytes, digest: bytes, algorithm: str = "sha256") -> None:
        self.append(b"ima-ng", d_ng(digest, algorithm), name(path))

    def append(self, template: bytes, *fields: bytes, register: int = 10) -> None:
        self._append(template, b"".join(map(sized, fields)), register=register)

    def append_first(self, path: str, digest: bytes) -> None:
        """An entry of the template "ima"."""
        raw = path.encode()
        self._append(b"ima", digest + sized(raw), digest + raw.ljust(256, b"\0"))

    def runtime_measurements(self, template_hash: str = "sha1", first: int = 0) -> bytes:
        """What securityfs shows from an entry on."""
        return b"".join(entry.line(template_hash) for entry in self.appended[first:])

    def _append(
        self,
        template: bytes,
        shown: bytes,
        hashed: bytes | None = None,
        *,
        register: int = 10,
        violation: bool = False,
    ) -> None:
        """Append first, extend then: a quote in between proves one entry less."""
        entry = Appended(register, template, shown, shown if hashed is None else hashed, violation)
        self.appended.append(entry)
        digests = {bank: entry.extension(bank, padded=self.padded) for bank in self.banks}
        for bank, digest in digests.items():
            self.registers[bank] = hashlib.new(bank, self.registers[bank] + digest).digest()
        self.extend(register, digests)


def name(path: str | bytes) -> bytes:
    return (path.encode() if isinstance(path, str) else path) + b"\0"


def on_swtpm(machine: Swtpm) -> Extend:
    """Extend a real TPM in software, in every bank that the kernel has."""

    def extend(register: int, digests: dict[str, bytes]) -> None:
        values = ",".join(f"{bank}={digest.hex()}" for bank, digest in digests.items())
        machine.tool("tpm2_pcrextend", f"{register}:{values}")

    return extend
