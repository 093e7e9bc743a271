"""Hygon machines of the tests' own: real formats, signed with SM2 under a root that nobody pins.

The signer is written apart from the verifier: affine points and one bit at a time, so that the two
agree only where both keep GB/T 32918.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from sealward.verifier.formats.hygon_csv import evidence
from sealward.verifier.formats.hygon_csv.endorsements import Endorsements
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.roots import PinnedRoot, Vendor
from sealward.verifier.rats.evidence import HYGON_EVIDENCE, Record, encode

Point = tuple[int, int] | None

P = 2**256 - 2**224 - 2**96 + 2**64 - 1
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)

PROTECTED = 0x0000004D  # no debug, encrypted state, not to be sent, CSV3


def plus(left: Point, right: Point) -> Point:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    top, bottom = (3 * x1 * x1 + A, 2 * y1) if left == right else (y2 - y1, x2 - x1)
    slope = top * pow(bottom, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def times(scalar: int, point: Point) -> Point:
    found: Point = None
    for bit in f"{scalar:b}":
        found = plus(found, found)
        if bit == "1":
            found = plus(found, point)
    return found


def sm3(*parts: bytes) -> bytes:
    digest = hashes.Hash(hashes.SM3())
    for part in parts:
        digest.update(part)
    return digest.finalize()


def wide(number: int) -> bytes:
    return number.to_bytes(32, "big")


@dataclass(frozen=True)
class Key:
    """A private key under a user id."""

    secret: int
    user_id: bytes

    @property
    def public(self) -> tuple[int, int]:
        return public(self.secret)

    def sign(self, message: bytes, nonce: int | None = None) -> tuple[int, int]:
        """GB/T 32918.2 section 6."""
        identity = sm3(
            (8 * len(self.user_id)).to_bytes(2, "big"),
            self.user_id,
            *(wide(number) for number in (A, B, *G, *self.public)),
        )
        e = int.from_bytes(sm3(identity, message), "big")
        k = nonce or int.from_bytes(sm3(b"nonce", wide(self.secret), message), "big") % (N - 1) + 1
        point = times(k, G)
        assert point is not None
        r = (e + point[0]) % N
        s = pow(1 + self.secret, -1, N) * (k - r * self.secret) % N
        assert 0 < r < N
        assert 0 < s < N
        assert r + k != N
        return r, s


@cache
def public(secret: int) -> tuple[int, int]:
    point = times(secret, G)
    assert point is not None
    return point


def key(name: str) -> Key:
    """The key of a role; another name with the same first letters is another key of that role."""
    secret = int.from_bytes(sm3(name.encode()), "big") % (N - 2) + 1
    return Key(secret, b"HYGON-SSD-" + name[:3].upper().encode())


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(72, "little") for value in values)


def user_id(name: bytes) -> bytes:
    return len(name).to_bytes(2, "little") + name.ljust(254, b"\0")


@dataclass(frozen=True, kw_only=True)
class Ca:
    """An HRK or HSK."""

    own: Key
    signer: Key
    usage: int
    key_id: bytes
    issuer_id: bytes
    version: int = 1
    curve: int = 3

    def encode(self) -> bytes:
        body = struct.pack("<I16s16sI", self.version, self.key_id, self.issuer_id, self.usage)
        body = body.ljust(64, b"\0") + struct.pack("<I", self.curve) + numbers(*self.own.public)
        body = (body + user_id(self.own.user_id)).ljust(576, b"\0")
        return (body + numbers(*self.signer.sign(body))).ljust(832, b"\0")


@dataclass(frozen=True, kw_only=True)
class Csv:
    """A CEK or PEK; `signers` are (usage, key), None for a place that is not used."""

    own: Key
    usage: int
    issuer_id: bytes
    signers: tuple[tuple[int, Key] | None, ...]
    version: int = 1
    algorithm: int = 4
    curve: int = 3

    def encode(self) -> bytes:
        head = (self.version, 1, 3, self.usage, self.algorithm, self.curve)
        body = struct.pack("<IBBxxIII", *head) + numbers(*self.own.public)
        body = (body + user_id(self.own.user_id) + self.issuer_id).ljust(1044, b"\0")
        return body + b"".join(self._signature(body, signer) for signer in self.signers)

    def _signature(self, body: bytes, signer: tuple[int, Key] | None) -> bytes:
        if signer is None:
            return struct.pack("<I", 0x1000).ljust(520, b"\0")
        usage, own = signer
        return (struct.pack("<II", usage, 4) + numbers(*own.sign(body))).ljust(520, b"\0")


HRK = Ca(own=key("hrk"), signer=key("hrk"), usage=0, key_id=b"r" * 16, issuer_id=b"r" * 16)
HSK = Ca(own=key("hsk"), signer=key("hrk"), usage=0x13, key_id=b"s" * 16, issuer_id=b"r" * 16)
CEK = Csv(
    own=key("cek"),
    usage=0x1004,
    issuer_id=b"s" * 16,
    signers=((0x13, key("hsk")), None),
    version=2,
)
PEK = Csv(
    own=key("pek"),
    usage=0x1002,
    issuer_id=bytes(16),
    signers=((0x1004, key("cek")), (0x1001, key("oca"))),
)


@cache
def encoded(one: Ca | Csv) -> bytes:
    return one.encode()


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A processor and one guest on it."""

    hrk: Ca = HRK
    hsk: Ca = HSK
    cek: Csv = CEK
    pek: Csv = PEK
    signer: Key = field(default_factory=lambda: key("pek"))
    user_pubkey_digest: bytes = bytes(32)
    vm_id: bytes = b"guest".ljust(16, b"\0")
    vm_version: bytes = bytes(16)
    report_data: bytes = bytes(range(64))
    mnonce: bytes = b"n" * 16
    measure: bytes = hashlib.sha256(b"image").digest()
    policy: int = PROTECTED
    sig_usage: int = 0x1002
    sig_algo: int = 4
    anonce: bytes = b"\x9b\x42\x91\x12"
    serial: bytes = b"NZA0000000000"

    def report(self) -> bytes:
        fields = (
            *(self.user_pubkey_digest, self.vm_id, self.vm_version, self.report_data),
            *(self.mnonce, self.measure, self.policy, self.sig_usage, self.sig_algo),
        )
        front = mask(struct.pack("<32s16s16s64s16s32sIII", *fields), self.anonce)
        back = mask(encoded(self.pek) + self.serial.ljust(64, b"\0"), self.anonce) + b"?" * 32
        signature = numbers(*self.signer.sign(front[:180]))
        return front + self.anonce + signature + back + mac(self.mnonce, back)

    def endorsements(self) -> Endorsements:
        return Endorsements(cek=encoded(self.cek), hsk=encoded(self.hsk), hrk=encoded(self.hrk))

    def anchors(self) -> TrustAnchors:
        return pinned(encoded(self.hrk))

    def files(self) -> tuple[bytes, ...]:
        above = self.endorsements()
        return self.report(), above.cek, above.hsk, above.hrk

    def payload(self) -> bytes:
        return evidence.encode(evidence.Evidence(self.report(), self.endorsements()))

    def envelope(self) -> bytes:
        return encode(Record(HYGON_EVIDENCE, self.payload()))


@cache
def standard() -> Machine:
    return Machine()


def pinned(hrk: bytes) -> TrustAnchors:
    return TrustAnchors((PinnedRoot(Vendor.HYGON, "CSV", hashlib.sha256(hrk).hexdigest()),))


def mask(data: bytes, anonce: bytes) -> bytes:
    return bytes(byte ^ anonce[place % 4] for place, byte in enumerate(data))


def mac(mnonce: bytes, back: bytes) -> bytes:
    made = HMAC(mnonce, hashes.SM3())
    made.update(back)
    return made.finalize()


def masked_anew(report: bytes, anonce: bytes) -> bytes:
    """The same report under another mask: what whoever carries it can do."""
    old = report[188:192]
    shift = bytes(a ^ b for a, b in zip(old, anonce, strict=True))
    mnonce = mask(report[128:144], anonce)
    plain = mask(report[180:188], old)
    back = mask(report[336:2484], shift) + report[2484:2516]
    return report[:180] + mask(plain, anonce) + anonce + report[192:336] + back + mac(mnonce, back)
