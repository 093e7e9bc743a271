"""The signed core of a sealed model: what is sealed, for whom, by whom (section 4).

Its digest is the associated data of the body and the context of every wrap and commitment: change a
byte of it and the signatures, the content key's unwrapping and the body refuse independently.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum, unique
from typing import Final, Self

from sealward.sealing import floe
from sealward.sealing.errors import Code, MalformedSealedModel
from sealward.sealing.fields import TEXT, Fields, Value, format_instant
from sealward.verifier.wire import json

SEGMENT_BYTES: Final = 1 << 21  # fastest of the sizes measured (sealed-inference sheet, 3.3)
MIN_SEGMENT_BYTES: Final = 1 << 12
MAX_SEGMENT_BYTES: Final = 1 << 24
MAX_TOTAL_BYTES: Final = 1 << 40  # far beyond any model, and every sum of three stays exact in JSON
CONTENT_KEY_ID_BYTES: Final = 32

_DIGEST_BYTES: Final = 32
_MAX_PARTS: Final = 3
_NAMES: Final = (
    "content_key_id",
    "created",
    "creator_key_id",
    "digest_alg",
    "external_digest",
    "format",
    "model",
    "optimised_by",
    "parts",
    "plain_digest",
    "segment_size",
    "tenant",
    "total",
    "v",
    "version",
    "workload",
)


@unique
class PartName(StrEnum):
    """What a part holds."""

    MODEL = "model"  # the ONNX file as it was
    WEIGHTS = "weights"  # initialisers, each at a multiple of 4096
    TENSORS = "tensors"  # the table of what lies where in `weights`
    SKELETON = "skeleton"  # the ONNX model without them


@unique
class Format(StrEnum):
    """How the model was cut into parts."""

    ONNX = "onnx"
    ONNX_SPLIT = "onnx-split"

    @property
    def part_names(self) -> tuple[PartName, ...]:
        """The parts, in the order in which they stand in the body.

        Weights come first, so that all but their last segment decrypt straight to their place.
        """
        if self is Format.ONNX:
            return (PartName.MODEL,)
        return (PartName.WEIGHTS, PartName.TENSORS, PartName.SKELETON)


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the plaintext body; parts follow one another without gaps."""

    name: PartName
    offset: int
    length: int

    @property
    def end(self) -> int:
        """First byte after the part."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What the creator says about a sealed model.

    Attributes:
        tenant: whose it is.
        workload: the right under which it may run.
        model: its name.
        version: of the model, at least 1; a higher one is newer.
        format: how it was cut.
        parts: in the order of `format`, gapless from 0.
        segment_size: FLOE segment length in bytes, a power of two.
        content_key_id: random name of the content key.
        plain_digest: SHA-256 of the ONNX file that was sealed.
        external_digest: SHA-256 over the canonical list of external-data files, or None (4.3).
        optimised_by: what optimised the graph before sealing, or None.
        creator_key_id: SHA-256 of the creator's public key.
        created: when it was sealed, by the creator's clock, UTC in whole seconds.
    """

    tenant: str
    workload: str
    model: str
    version: int
    format: Format
    parts: tuple[Part, ...]
    segment_size: int
    content_key_id: bytes
    plain_digest: bytes
    external_digest: bytes | None
    optimised_by: str | None
    creator_key_id: bytes
    created: datetime

    @classmethod
    def from_json(cls, value: Value) -> Self:
        """Read a core from a decoded JSON value.

        Raises:
            MalformedSealedModel: MALFORMED_HEADER.
        """
        fields = Fields(value, _NAMES, what="core", code=Code.MALFORMED_HEADER)
        fields.fixed("v", 0)
        fields.fixed("digest_alg", "sha256")
        form = fields.choice("format", Format)
        parts = _parts(fields.array("parts", most=_MAX_PARTS), form)
        fields.fixed("total", parts[-1].end)
        return cls(
            tenant=fields.text("tenant"),
            workload=fields.text("workload"),
            model=fields.text("model"),
            version=fields.integer("version", least=1),
            format=form,
            parts=parts,
            segment_size=_segment_size(fields),
            content_key_id=fields.hex("content_key_id", CONTENT_KEY_ID_BYTES),
            plain_digest=fields.hex("plain_digest", _DIGEST_BYTES),
            external_digest=fields.optional_hex("external_digest", _DIGEST_BYTES),
            optimised_by=fields.optional_text("optimised_by", TEXT),
            creator_key_id=fields.hex("creator_key_id", _DIGEST_BYTES),
            created=fields.instant("created"),
        )

    def to_json(self) -> dict[str, json.Canonical]:
        """Return the JSON value that `from_json` reads."""
        return {
            "v": 0,
            "tenant": self.tenant,
            "workload": self.workload,
            "model": self.model,
            "version": self.version,
            "format": str(self.format),
            "parts": [
                {"name": str(part.name), "offset": part.offset, "length": part.length}
                for part in self.parts
            ],
            "total": self.total,
            "segment_size": self.segment_size,
            "content_key_id": self.content_key_id.hex(),
            "plain_digest": self.plain_digest.hex(),
            "external_digest": None if self.external_digest is None else self.external_digest.hex(),
            "optimised_by": self.optimised_by,
            "creator_key_id": self.creator_key_id.hex(),
            "created": format_instant(self.created),
            "digest_alg": "sha256",
        }

    @property
    def total(self) -> int:
        """Length of the plaintext body in bytes."""
        return self.parts[-1].end

    @property
    def floe_parameters(self) -> floe.Parameters:
        """Parameters of the body's FLOE message."""
        return floe.Parameters(self.segment_size)

    @property
    def segments(self) -> int:
        """How many segments the body has."""
        return self.floe_parameters.segments(self.total)

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        return json.canonical(self.to_json())

    def digest(self) -> bytes:
        """Return SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.encode()).digest()


def lay_out(form: Format, lengths: tuple[int, ...]) -> tuple[Part, ...]:
    """Return the parts of `form` with these lengths, one after the other."""
    parts: list[Part] = []
    for name, length in zip(form.part_names, lengths, strict=True):
        parts.append(Part(name, parts[-1].end if parts else 0, length))
    return tuple(parts)


def _parts(values: list[Value], form: Format) -> tuple[Part, ...]:
    if len(values) != len(form.part_names):
        raise _refused(f"parts must be: {', '.join(form.part_names)}")
    end = 0
    parts: list[Part] = []
    for value, name in zip(values, form.part_names, strict=True):
        fields = Fields(
            value, ("length", "name", "offset"), what="part", code=Code.MALFORMED_HEADER
        )
        fields.fixed("name", str(name))
        fields.fixed("offset", end)
        part = Part(name, end, fields.integer("length", least=1, most=MAX_TOTAL_BYTES))
        parts.append(part)
        end = part.end
    return tuple(parts)


def _segment_size(fields: Fields) -> int:
    size = fields.integer("segment_size", least=MIN_SEGMENT_BYTES, most=MAX_SEGMENT_BYTES)
    if size & (size - 1):
        raise _refused("segment_size must be a power of two")
    return size


def _refused(detail: str) -> MalformedSealedModel:
    return MalformedSealedModel(Code.MALFORMED_HEADER, f"core: {detail}")
