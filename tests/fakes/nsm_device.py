"""/dev/nsm and the Nitro Secure Module behind it, with documents under a test root.

The ioctl is written from include/uapi/linux/nsm.h and drivers/misc/nsm.c, the messages from
aws-nitro-enclaves-nsm-api, the document from AWS's description (evidence-formats section 4).
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

NSM_IOCTL_RAW = 0xC0200A00
MAX_REQUEST = 0x1000
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PROTECTED = bytes.fromhex("a1013822")  # {1: -35}: ES384
MAX_FIELD = 1024


class Raw(ctypes.Structure):
    """struct nsm_raw."""

    _fields_ = (
        ("request_addr", ctypes.c_uint64),
        ("request_len", ctypes.c_uint64),
        ("response_addr", ctypes.c_uint64),
        ("response_len", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class Module:
    """A module's key, its certificate, and the bundle: root first."""

    key: ec.EllipticCurvePrivateKey
    certificate: bytes
    cabundle: tuple[bytes, ...]


@cache
def module() -> Module:
    """A module under a test root, made once per process."""
    root, intermediate, leaf = (ec.generate_private_key(ec.SECP384R1()) for _ in range(3))
    bundle = (
        _certificate("test.nitro-enclaves", root, "test.nitro-enclaves", root),
        _certificate("zone.test.nitro-enclaves", intermediate, "test.nitro-enclaves", root),
    )
    last = _certificate(
        "i-0test-enc0test", leaf, "zone.test.nitro-enclaves", intermediate, ca=False
    )
    return Module(leaf, last, bundle)


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = True,
) -> bytes:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder(
        issuer_name=name(issuer),
        subject_name=name(subject),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - timedelta(minutes=1),
        not_valid_after=NOW + timedelta(hours=3),
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return builder.sign(issuer_key, hashes.SHA384()).public_bytes(serialization.Encoding.DER)


def mint_document(user_data: bytes | None, nonce: bytes | None, public_key: bytes | None) -> bytes:
    """A COSE_Sign1 document as a module writes it: untagged, nulls for what was not given."""
    made = module()
    payload = cbor2.dumps(
        {
            "module_id": "i-0test-enc0test",
            "digest": "SHA384",
            "timestamp": int(NOW.timestamp() * 1000),
            "pcrs": {index: hashlib.sha384(b"%d" % index).digest() for index in range(16)},
            "certificate": made.certificate,
            "cabundle": list(made.cabundle),
            "public_key": public_key,
            "user_data": user_data,
            "nonce": nonce,
        }
    )
    der = made.key.sign(to_be_signed(payload), ec.ECDSA(hashes.SHA384()))
    signature = b"".join(number.to_bytes(48, "big") for number in decode_dss_signature(der))
    return cbor2.dumps([PROTECTED, {}, payload, signature])


def to_be_signed(payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4."""
    return cbor2.dumps(["Signature1", PROTECTED, b"", payload])


@dataclass
class FakeNsm:
    """One device; `answers` are given instead of the module's own, in order.

    Attributes:
        open_fails: errno that opening ends with, 0 for none.
        ioctl_fails: errno that the ioctl ends with, 0 for none.
    """

    path: str = "/dev/nsm"
    open_fails: int = 0
    ioctl_fails: int = 0
    answers: list[bytes] = field(default_factory=list)

    def check(self) -> None:
        if self.open_fails:
            raise OSError(self.open_fails, self.path)

    def ioctl(self, number: int, argument: bytearray) -> None:
        self.check()
        if number != NSM_IOCTL_RAW:
            raise OSError(errno.EINVAL, "ioctl")
        assert len(argument) == ctypes.sizeof(Raw) == 32
        raw = Raw.from_buffer(argument)
        if raw.request_len > MAX_REQUEST:
            raise OSError(errno.EMSGSIZE, "request")
        if self.ioctl_fails:
            raise OSError(self.ioctl_fails, "request")
        answer = self._answer(ctypes.string_at(raw.request_addr, raw.request_len))
        raw.response_len = min(raw.response_len, len(answer))
        ctypes.memmove(raw.response_addr, answer, raw.response_len)

    def _answer(self, request: bytes) -> bytes:
        if self.answers:
            return self.answers.pop(0)
        match cbor2.loads(request):  # noqa: TID251 - a decoder other than the one under test
            case {"Attestation": {"user_data": user_data, "nonce": nonce, "public_key": key}}:
                given = (user_data, nonce, key)
                if any(len(item) > MAX_FIELD for item in given if item is not None):
                    return cbor2.dumps({"Error": "InputTooLarge"})
                return cbor2.dumps({"Attestation": {"document": mint_document(*given)}})
            case _:
                return cbor2.dumps({"Error": "InvalidArgument"})
