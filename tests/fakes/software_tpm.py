"""A TPM made of Python: keys, quotes and ActivateCredential, written from the specification alone.

It shares no code with the verifier, so that what both get wrong together is not invisible.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.x509.oid import NameOID, ObjectIdentifier

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
AK_ATTRIBUTES = 0x00050072
EK_ATTRIBUTES = 0x000300B2
ALG = {"sha1": 4, "sha256": 0xB, "sha384": 0xC, "sha512": 0xD}
_SCHEME = {"rsassa": 0x14, "rsapss": 0x16, "ecdsa": 0x18}
_CURVES = {"p256": (3, ec.SECP256R1()), "p384": (4, ec.SECP384R1())}
_HASH = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha1": hashes.SHA1()}  # noqa: S303 - a weak key must be refused


def tpm2b(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


@cache
def private(kind: str, label: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """One key for each (kind, label) in a run: RSA keys are slow to make."""
    del label
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))
    return ec.generate_private_key(_CURVES[kind][1])


def public_area(
    kind: str,
    label: str,
    *,
    scheme: tuple[str, str] | None,
    attributes: int,
    name_alg: str = "sha256",
    aes: int | None = None,
    policy: bytes = b"",
) -> bytes:
    """TPMT_PUBLIC of a key."""
    key = private(kind, label).public_key()
    kinds = struct.pack(">HHI", 1 if kind.startswith("rsa") else 0x23, ALG[name_alg], attributes)
    symmetric = struct.pack(">H", 0x10) if aes is None else struct.pack(">HHH", 6, aes, 0x43)
    signing = (
        struct.pack(">H", 0x10)
        if scheme is None
        else struct.pack(">HH", _SCHEME[scheme[0]], ALG[scheme[1]])
    )
    head = kinds + tpm2b(policy) + symmetric + signing
    if isinstance(key, rsa.RSAPublicKey):
        modulus = key.public_numbers().n.to_bytes(key.key_size // 8, "big")
        return head + struct.pack(">HI", key.key_size, 0) + tpm2b(modulus)
    numbers, size = key.public_numbers(), key.key_size // 8
    x, y = (value.to_bytes(size, "big") for value in (numbers.x, numbers.y))
    return head + struct.pack(">HH", _CURVES[kind][0], 0x10) + tpm2b(x) + tpm2b(y)


def name_of(public: bytes) -> bytes:
    (algorithm,) = struct.unpack(">H", public[2:4])  # noqa: TID251 - this is the other side
    label = {value: name for name, value in ALG.items()}[algorithm]
    return public[2:4] + hashlib.new(label, public).digest()


def selection(banks: dict[str, dict[int, bytes]], size: int = 3) -> bytes:
    """TPML_PCR_SELECTION."""
    found = struct.pack(">I", len(banks))
    for bank, values in banks.items():
        bitmap = sum(1 << index for index in values)
        found += struct.pack(">HB", ALG[bank], size) + bitmap.to_bytes(size, "little")
    return found


@dataclass(frozen=True, kw_only=True)
class SoftwareTpm:
    """One attestation key of a kind, and what it quotes.

    `banks` stand in the quote in their own order; that is the order hashed. `counts` are resets and
    restarts.
    """

    kind: str = "rsa2048"
    scheme: tuple[str, str] = ("rsassa", "sha256")
    banks: dict[str, dict[int, bytes]] = field(
        default_factory=lambda: {"sha256": {0: b"\x01" * 32, 7: b"\x07" * 32}}
    )
    label: str = "ak"
    attributes: int = AK_ATTRIBUTES
    ak_name_alg: str = "sha256"
    counts: tuple[int, int] = (7, 3)

    @property
    def ak_public(self) -> bytes:
        return public_area(
            self.kind,
            self.label,
            scheme=self.scheme,
            attributes=self.attributes,
            name_alg=self.ak_name_alg,
        )

    def message(self, nonce: bytes, *, digest: bytes | None = None) -> bytes:
        values = b"".join(
            values[index] for values in self.banks.values() for index in sorted(values)
        )
        if digest is None:
            digest = hashlib.new(self.scheme[1], values).digest()
        head = b"\xffTCG\x80\x18" + tpm2b(name_of(self.ak_public)) + tpm2b(nonce)
        clock = struct.pack(">QIIBQ", 123_456, *self.counts, 1, 0x0102030405060708)
        return head + clock + selection(self.banks) + tpm2b(digest)

    def sign(self, message: bytes) -> bytes:
        key, algorithm = private(self.kind, self.label), _HASH[self.scheme[1]]
        head = struct.pack(">HH", _SCHEME[self.scheme[0]], ALG[self.scheme[1]])
        if isinstance(key, rsa.RSAPrivateKey):
            pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.MAX_LENGTH)
            chosen = padding.PKCS1v15() if self.scheme[0] == "rsassa" else pss
            return head + tpm2b(key.sign(message, chosen, algorithm))
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(algorithm)))
        parts = (value.to_bytes((value.bit_length() + 7) // 8, "big") for value in (r, s))
        return head + b"".join(tpm2b(part) for part in parts)


def lock_object(
    banks: dict[str, dict[int, bytes]], *, attributes: int = 0x492, policy: bytes | None = None
) -> bytes:
    """TPMT_PUBLIC of a keyed-hash object that only the state of `banks` activates."""
    if policy is None:
        values = b"".join(some[index] for some in banks.values() for index in sorted(some))
        pcrs = struct.pack(">I", 0x17F) + selection(banks) + hashlib.sha256(values).digest()
        state = hashlib.sha256(bytes(32) + pcrs).digest()
        policy = hashlib.sha256(state + struct.pack(">II", 0x16C, 0x147)).digest()
    head = struct.pack(">HHI", 8, ALG["sha256"], attributes) + tpm2b(policy)
    return head + struct.pack(">H", 0x10) + tpm2b(hashlib.sha256(b"unique").digest())


@dataclass(frozen=True, kw_only=True)
class EndorsementKey:
    """An endorsement key and its certificate under a local CA."""

    kind: str = "rsa2048"
    name_alg: str = "sha256"
    aes: int = 128
    attributes: int = EK_ATTRIBUTES
    label: str = "ek"

    @property
    def public(self) -> bytes:
        policy = bytes(hashlib.new(self.name_alg).digest_size)
        return public_area(
            self.kind,
            self.label,
            scheme=None,
            attributes=self.attributes,
            name_alg=self.name_alg,
            aes=self.aes,
            policy=policy,
        )

    def activate(self, blob: bytes, encrypted_secret: bytes, ak_name: bytes) -> bytes:
        """TPM2_ActivateCredential: the secret, or AssertionError where a TPM answers an error."""
        key = private(self.kind, self.label)
        size = hashlib.new(self.name_alg).digest_size
        if isinstance(key, rsa.RSAPrivateKey):
            algorithm = _HASH[self.name_alg]
            oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, b"IDENTITY\0")
            seed = key.decrypt(encrypted_secret, oaep)
        else:
            seed = self._agree(key, encrypted_secret, size)
        (mac_size,) = struct.unpack(">H", blob[:2])  # noqa: TID251 - this is the other side
        mac, encrypted = blob[2 : 2 + mac_size], blob[2 + mac_size :]
        integrity = self._kdf_a(seed, b"INTEGRITY", b"", 8 * size)
        assert hmac.digest(integrity, encrypted + ak_name, self.name_alg) == mac
        storage = self._kdf_a(seed, b"STORAGE", ak_name, self.aes)
        plain = Cipher(algorithms.AES(storage), CFB(bytes(16))).decryptor().update(encrypted)
        (length,) = struct.unpack(">H", plain[:2])  # noqa: TID251 - this is the other side
        assert len(plain) == 2 + length
        return plain[2:]

    def _agree(self, key: ec.EllipticCurvePrivateKey, point: bytes, size: int) -> bytes:
        width = key.key_size // 8
        assert point[:2] == point[2 + width : 4 + width] == struct.pack(">H", width)
        x, y = point[2 : 2 + width], point[4 + width :]
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(x, "big"), int.from_bytes(y, "big"), key.curve
        )
        z = key.exchange(ec.ECDH(), numbers.public_key())
        mine = key.public_key().public_numbers().x.to_bytes(width, "big")
        one = struct.pack(">I", 1) + z + b"IDENTITY\0" + x + mine
        return hashlib.new(self.name_alg, one).digest()[:size]

    def _kdf_a(self, key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
        fixed = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", bits)
        return hmac.digest(key, fixed, self.name_alg)[: bits // 8]


def ca_name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def root_certificate() -> bytes:
    """A tenant's own root of TPM endorsement keys, DER."""
    key = private("p256", "tpm-ca")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    name = ca_name("Example TPM Root")
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage(sign=True), critical=True)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@cache
def root_certificate_once() -> bytes:
    """The one root of this run; `root_certificate` signs a new one each time."""
    return root_certificate()


def usage(*, sign: bool = False, encrypt: bool = False, agree: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=encrypt,
        data_encipherment=False,
        key_agreement=agree,
        key_cert_sign=sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


DESCRIPTION = (
    ("2.23.133.2.1", "id:45584D50"),
    ("2.23.133.2.2", "Example"),
    ("2.23.133.2.3", "id:00010002"),
)


def ek_certificate(
    ek: EndorsementKey,
    *,
    description: tuple[tuple[str, str], ...] = DESCRIPTION,
    usages: tuple[str, ...] = ("2.23.133.8.1",),
    san_critical: bool = True,
    key_usage: x509.KeyUsage | None = None,
    ca: bool = False,
    issuer_name: str = "Example TPM Root",
    issuer_label: str = "tpm-ca",
    now: datetime = NOW,
) -> bytes:
    """The certificate of an endorsement key under the root, DER, with an empty subject."""
    key, issuer = private(ek.kind, ek.label), private("p256", issuer_label)
    assert isinstance(issuer, ec.EllipticCurvePrivateKey)
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    directory = x509.DirectoryName(
        x509.Name([x509.NameAttribute(ObjectIdentifier(oid), text) for oid, text in description])
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(ca_name(issuer_name))
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(key_usage or usage(encrypt=is_rsa, agree=not is_rsa), critical=True)
        .add_extension(x509.SubjectAlternativeName([directory]), critical=san_critical)
    )
    if usages:
        listed = x509.ExtendedKeyUsage([ObjectIdentifier(usage) for usage in usages])
        builder = builder.add_extension(listed, critical=False)
    return builder.sign(issuer, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
