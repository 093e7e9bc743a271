"""The header of a sealed model: what its creator signed, and the wraps beside it.

`SealedHeader` is the whole of what can be known without the body: the prefix, the header JSON and
the digest list, in this order and with nothing after them. Their bytes are also how a model is
registered. docs/specs/sealed-model.md sections 3 and 4.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final, Self

from sealward.sealing.core import Core
from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel, as_malformed
from sealward.sealing.fields import Fields, Value, decode_canonical
from sealward.sealing.signing import (
    ED25519_SIGNATURE_BYTES,
    MLDSA65_SIGNATURE_BYTES,
    CreatorPrivateKey,
    CreatorPublicKey,
    Signatures,
)
from sealward.sealing.wrap import COMMITMENT_BYTES, Wrap, check_commitment
from sealward.verifier.wire import base64, json
from sealward.verifier.wire.reader import Reader

MAGIC: Final = b"SLWDMDL\x00"
FORMAT_VERSION: Final = 0
PREFIX_BYTES: Final = 24  # 8 magic, 4 version, 4 header length, 8 digest list length
BODY_ALIGNMENT: Final = 4096  # a page, so that a body can be mapped
MAX_HEADER_BYTES: Final = 65536  # signatures take 5 kB, a hybrid wrap 1.7 kB
MAX_WRAPS: Final = 16  # a workload key, its successor, recovery keys; far from the header budget
DIGEST_BYTES: Final = 32
# 2**17 segments of 2 MiB are 256 GiB; their digest list, which a control plane takes in, is 4 MiB.
MAX_SEGMENTS: Final = 1 << 17
MAX_DIGEST_LIST_BYTES: Final = (MAX_SEGMENTS + 1) * DIGEST_BYTES
MAX_REGISTRATION_BYTES: Final = PREFIX_BYTES + MAX_HEADER_BYTES + MAX_DIGEST_LIST_BYTES

FLOE_HEADER: Final = -1  # as the number of a segment: its digest is the first of the list

_NAMES: Final = ("commit", "core", "digests", "sigs", "wraps")
_SIGNATURE_NAMES: Final = ("ed25519", "ml-dsa-65")


@dataclass(frozen=True, slots=True)
class Prefix:
    """The first PREFIX_BYTES of a sealed model: how much follows before the body."""

    header_bytes: int
    digest_list_bytes: int

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read exactly PREFIX_BYTES.

        Raises:
            MalformedSealedModel: NOT_A_SEALED_MODEL, UNSUPPORTED_VERSION, OVER_BUDGET, TRUNCATED.
        """
        return cls.read(Reader(data))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the prefix where `reader` stands; see `parse`."""
        with as_malformed(Code.TRUNCATED):
            if reader.take(len(MAGIC), "magic") != MAGIC:
                raise MalformedSealedModel(Code.NOT_A_SEALED_MODEL, "not a sealed model")
            version = reader.be(4, "format version")
            if version != FORMAT_VERSION:
                raise MalformedSealedModel(
                    Code.UNSUPPORTED_VERSION,
                    f"format version {version}, only {FORMAT_VERSION} is known",
                    hint="open it with the release that sealed it, or seal the model again",
                )
            prefix = cls(reader.be(4, "header length"), reader.be(8, "digest list length"))
        _check_budget("header", prefix.header_bytes, MAX_HEADER_BYTES)
        _check_budget("digest list", prefix.digest_list_bytes, MAX_DIGEST_LIST_BYTES)
        return prefix

    @property
    def total_bytes(self) -> int:
        """Length of prefix, header and digest list together."""
        return PREFIX_BYTES + self.header_bytes + self.digest_list_bytes

    def encode(self) -> bytes:
        """Return PREFIX_BYTES."""
        return (
            MAGIC
            + FORMAT_VERSION.to_bytes(4, "big")
            + self.header_bytes.to_bytes(4, "big")
            + self.digest_list_bytes.to_bytes(8, "big")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedHeader:
    """A well-formed header. Nothing in it is proven before `verify_signatures` has returned.

    Attributes:
        core: what is sealed, for whom, by whom.
        commitment: ties the content key to `core`.
        digest_list: SHA-256 of the FLOE header, then of each encrypted segment, 32 bytes each.
        signatures: both creator signatures over core, commitment and the digest of `digest_list`.
        wraps: the content key, wrapped; in ascending order of key id. Not signed.
    """

    core: Core
    commitment: bytes
    digest_list: bytes = field(repr=False)  # up to 4 MiB
    signatures: Signatures
    wraps: tuple[Wrap, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read prefix, header and digest list, exactly.

        Raises:
            MalformedSealedModel: anything else; no other error escapes for any input.
        """
        reader = Reader(data)
        prefix = Prefix.read(reader)
        with as_malformed(Code.TRUNCATED):
            header = reader.take(prefix.header_bytes, "header")
            digest_list = reader.take(prefix.digest_list_bytes, "digest list")
        with as_malformed(Code.TRAILING_BYTES):
            reader.finish()
        value = decode_canonical(
            header, what="header", max_bytes=MAX_HEADER_BYTES, code=Code.MALFORMED_HEADER
        )
        return cls._from_json(value, digest_list)

    @classmethod
    def _from_json(cls, value: Value, digest_list: bytes) -> Self:
        fields = Fields(value, _NAMES, what="header", code=Code.MALFORMED_HEADER)
        core = Core.from_json(fields.raw("core"))
        if core.segments > MAX_SEGMENTS:
            raise MalformedSealedModel(Code.OVER_BUDGET, f"more than {MAX_SEGMENTS} segments")
        if len(digest_list) != (core.segments + 1) * DIGEST_BYTES or hashlib.sha256(
            digest_list
        ).digest() != fields.hex("digests", DIGEST_BYTES):
            raise MalformedSealedModel(
                Code.DIGEST_LIST_MISMATCH, "the digest list is not the one the header names"
            )
        return cls(
            core=core,
            commitment=fields.hex("commit", COMMITMENT_BYTES),
            digest_list=digest_list,
            signatures=_signatures(fields.raw("sigs")),
            wraps=_wraps(fields.array("wraps", most=MAX_WRAPS)),
        )

    def signed_by(self, creator: CreatorPrivateKey) -> Self:
        """Return this header under both signatures of the creator that its core names."""
        if self.core.creator_key_id != creator.public.key_id:
            raise ValueError("the core names another creator")
        return replace(self, signatures=creator.sign(self._signed()))

    def with_wraps(self, wraps: tuple[Wrap, ...]) -> Self:
        """Return this header with `wraps` instead of its own, put in order.

        Raises:
            MalformedSealedModel: MALFORMED_HEADER, two wraps for one key, none, or too many.
        """
        ordered = tuple(sorted(wraps, key=lambda wrap: wrap.key_id))
        _check_wraps(ordered)
        return replace(self, wraps=ordered)

    @property
    def core_digest(self) -> bytes:
        """SHA-256 of the canonical core: the context of every wrap and of the body."""
        return self.core.digest()

    @property
    def header_digest(self) -> bytes:
        """SHA-256 of all that is signed: names exactly one sealed content, whatever its wraps."""
        return hashlib.sha256(self._signed()).digest()

    @property
    def body_offset(self) -> int:
        """Where the FLOE message begins in the file."""
        return body_offset_after(len(self.encode()))

    @property
    def file_bytes(self) -> int:
        """Length of the whole sealed file."""
        return self.body_offset + self.body_bytes

    @property
    def body_bytes(self) -> int:
        """Length of the FLOE message."""
        return self.core.floe_parameters.encrypted_bytes(self.core.total)

    def check_digest(self, index: int, data: bytes | memoryview) -> None:
        """Refuse an encrypted segment, or the FLOE header, that is not the listed one.

        Args:
            index: the segment's number, or FLOE_HEADER.
            data: the bytes as they stand in the file.

        Raises:
            RefusedSealedModel: SEGMENT_DIGEST_MISMATCH.
        """
        start = (index + 1) * DIGEST_BYTES
        if hashlib.sha256(data).digest() != self.digest_list[start : start + DIGEST_BYTES]:
            name = "the body's header" if index == FLOE_HEADER else f"segment {index}"
            raise RefusedSealedModel(
                Code.SEGMENT_DIGEST_MISMATCH, f"{name} is not what the header lists"
            )

    def wrap_for(self, key_id: bytes) -> Wrap:
        """Return the wrap for one workload key.

        Raises:
            RefusedSealedModel: NO_WRAP_FOR_KEY.
        """
        for wrap in self.wraps:
            if wrap.key_id == key_id:
                return wrap
        raise RefusedSealedModel(
            Code.NO_WRAP_FOR_KEY,
            f"not sealed for workload key {key_id.hex()[:16]}",
            hint="seal it again for this workload's current key, or add a wrap with "
            "`sealward model rewrap`",
        )

    def verify_signatures(self, creator: CreatorPublicKey) -> None:
        """Accept the header only as this creator's.

        Raises:
            RefusedSealedModel: OTHER_CREATOR or SIGNATURE_INVALID.
        """
        if self.core.creator_key_id != creator.key_id:
            raise RefusedSealedModel(
                Code.OTHER_CREATOR,
                f"sealed by creator {self.core.creator_key_id.hex()[:16]}, "
                f"not {creator.key_id.hex()[:16]}",
            )
        creator.verify(self._signed(), self.signatures)

    def check_content_key(self, content_key: bytes | bytearray) -> None:
        """Refuse a content key other than the one this header was signed with.

        Raises:
            RefusedSealedModel: CONTENT_KEY_MISMATCH.
        """
        check_commitment(content_key, self.core_digest, self.commitment)

    def encode(self) -> bytes:
        """Return the bytes that `parse` reads: the registration form."""
        header = json.canonical(
            {
                "core": self.core.to_json(),
                "commit": self.commitment.hex(),
                "digests": hashlib.sha256(self.digest_list).hexdigest(),
                "sigs": {
                    "ed25519": base64.encode(self.signatures.ed25519),
                    "ml-dsa-65": base64.encode(self.signatures.mldsa65),
                },
                "wraps": [wrap.to_json() for wrap in self.wraps],
            }
        )
        return Prefix(len(header), len(self.digest_list)).encode() + header + self.digest_list

    def _signed(self) -> bytes:
        return json.canonical(
            {
                "core": self.core.to_json(),
                "commit": self.commitment.hex(),
                "digests": hashlib.sha256(self.digest_list).hexdigest(),
            }
        )


def body_offset_after(registration_bytes: int) -> int:
    """Return where the body begins behind prefix, header and digest list of this length."""
    return -(-registration_bytes // BODY_ALIGNMENT) * BODY_ALIGNMENT


def _check_budget(what: str, size: int, budget: int) -> None:
    if size > budget:
        raise MalformedSealedModel(
            Code.OVER_BUDGET, f"{what} of {size} bytes, at most {budget} are read"
        )


def _signatures(value: Value) -> Signatures:
    fields = Fields(value, _SIGNATURE_NAMES, what="sigs", code=Code.MALFORMED_HEADER)
    signatures = Signatures(
        fields.base64("ed25519", most=ED25519_SIGNATURE_BYTES),
        fields.base64("ml-dsa-65", most=MLDSA65_SIGNATURE_BYTES),
    )
    if (
        len(signatures.ed25519) != ED25519_SIGNATURE_BYTES
        or len(signatures.mldsa65) != MLDSA65_SIGNATURE_BYTES
    ):
        raise MalformedSealedModel(Code.MALFORMED_HEADER, "a signature has a wrong length")
    return signatures


def _wraps(values: list[Value]) -> tuple[Wrap, ...]:
    wraps = tuple(Wrap.from_json(value) for value in values)
    _check_wraps(wraps)
    return wraps


def _check_wraps(wraps: tuple[Wrap, ...]) -> None:
    key_ids = [wrap.key_id for wrap in wraps]
    if not 1 <= len(wraps) <= MAX_WRAPS or key_ids != sorted(set(key_ids)):
        raise MalformedSealedModel(
            Code.MALFORMED_HEADER, f"wraps must be 1 to {MAX_WRAPS}, in order and for distinct keys"
        )
