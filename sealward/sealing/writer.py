"""Sealing: a plain model in, a sealed file out, in one pass and bounded memory.

Two buffers of a segment each and the digest list are all that is held, whatever the model's size.
The header is written last, when the digests are known; its length is known before, because
everything in it has a fixed size.
"""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sealward.sealing import fields, floe
from sealward.sealing.container import Progress
from sealward.sealing.core import CONTENT_KEY_ID_BYTES, SEGMENT_BYTES, Core, Format, lay_out
from sealward.sealing.errors import Code, UnsealableModel
from sealward.sealing.header import DIGEST_BYTES, MAX_SEGMENTS, SealedHeader
from sealward.sealing.memory import wipe
from sealward.sealing.signing import UNSIGNED, CreatorPrivateKey
from sealward.sealing.source import Source
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.wrap import CONTENT_KEY_BYTES, commitment, wrap_content_key

# Largest model that fits the digest list's budget at the standard segment size: 256 GiB.
MAX_MODEL_BYTES: Final = MAX_SEGMENTS * (SEGMENT_BYTES - floe.SEGMENT_OVERHEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainModel:
    """A model cut into the parts of its format, ready to be sealed.

    Attributes:
        format: how it was cut.
        parts: one source for each of `format.part_names`, none empty.
        plain_digest: SHA-256 of the ONNX file.
        external_digest: SHA-256 over its external-data files, or None.
    """

    format: Format
    parts: tuple[Source, ...]
    plain_digest: bytes
    external_digest: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What the creator says about the model.

    Attributes:
        model: name, of the form of `fields.NAME`.
        version: at least 1; agents refuse to go back to a lower one.
        created: aware; kept to whole seconds.
        optimised_by: what optimised the graph before sealing, or None.
    """

    model: str
    version: int
    created: datetime
    optimised_by: str | None = None


def seal(
    plain: PlainModel,
    description: Description,
    *,
    workload_key: WorkloadKey,
    creator: CreatorPrivateKey,
    descriptor: int,
    random_bytes: Callable[[int], bytes],
    progress: Progress | None = None,
    segment_bytes: int = SEGMENT_BYTES,
) -> SealedHeader:
    """Write a sealed model to an empty file and return its header.

    The content key is wiped before this returns; the bytes object in which `random_bytes` handed it
    out, and the key schedule inside OpenSSL, are not ours to wipe.

    Args:
        plain: what to seal.
        description: what to say of it.
        workload_key: whose content it becomes.
        creator: who signs it.
        descriptor: open for writing, empty, seekable; the caller syncs and names the file.
        random_bytes: source of the content key, its id and all IVs.
        progress: called with the number of plaintext bytes sealed since the last call.
        segment_bytes: FLOE segment length; another than the standard's only in small test files.

    Raises:
        UnsealableModel: PARAMETER_INVALID.
        RefusedSealedModel: SOURCE_FAILED, or WRAP_REFUSED for an impossible workload key.
        MalformedSealedModel: TRUNCATED, a source shrank.
        OSError: the file could not be written.
    """
    core = _core(
        plain,
        description,
        workload_key=workload_key,
        creator=creator,
        segment_bytes=segment_bytes,
        content_key_id=random_bytes(CONTENT_KEY_ID_BYTES),
    )
    content_key = bytearray(random_bytes(CONTENT_KEY_BYTES))
    try:
        core_digest = core.digest()
        unsigned = SealedHeader(
            core=core,
            commitment=commitment(content_key, core_digest),
            digest_list=bytes((core.segments + 1) * DIGEST_BYTES),  # of the final length already
            signatures=UNSIGNED,
            wraps=(wrap_content_key(content_key, workload_key.public, core_digest),),
        )
        message = floe.Message.begin(content_key, core_digest, core.floe_parameters, random_bytes)
        body = _Body(message, core, descriptor, unsigned.body_offset)
        digest_list = body.write(Joined(plain.parts), random_bytes, progress)
    finally:
        wipe(content_key)
    header = replace(unsigned, digest_list=digest_list).signed_by(creator)
    write_at(descriptor, 0, header.encode())
    return header


class Joined:
    """Sources one after the other, as one source."""

    __slots__ = ("_ends", "_sources")

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self._sources = sources
        ends: list[int] = []
        for source in sources:
            ends.append(source.size + (ends[-1] if ends else 0))
        self._ends = tuple(ends)

    @property
    def size(self) -> int:
        """Sum of the sizes."""
        return self._ends[-1]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill all of `buffer` from `offset`; see `Source.read_into`."""
        while buffer:
            number = bisect_right(self._ends, offset)
            source, end = self._sources[number], self._ends[number]
            size = min(len(buffer), end - offset)
            source.read_into(offset - (end - source.size), buffer[:size])
            buffer = buffer[size:]
            offset += size


class _Body:
    """Writes the FLOE message, collects its digest list, and wipes the message's key."""

    def __init__(
        self, message: floe.Message, core: Core, descriptor: int, body_offset: int
    ) -> None:
        self._message = message
        self._core = core
        self._descriptor = descriptor
        self._offset = body_offset

    def write(
        self, source: Source, random_bytes: Callable[[int], bytes], progress: Progress | None
    ) -> bytes:
        digests = [self._append(self._message.header)]
        step = self._core.floe_parameters.plaintext_bytes
        plain = bytearray(step)
        sealed = memoryview(bytearray(step + floe.SEGMENT_OVERHEAD))
        last = self._core.segments - 1
        try:
            for index in range(self._core.segments):
                size = min(step, self._core.total - index * step)
                with memoryview(plain)[:size] as piece:
                    source.read_into(index * step, piece)
                    segment = sealed[: size + floe.SEGMENT_OVERHEAD]
                    iv = random_bytes(floe.SEGMENT_IV_BYTES)
                    self._message.encrypt_segment(index, piece, segment, iv, last=index == last)
                digests.append(self._append(segment))
                if progress is not None:
                    progress(size)
        finally:
            wipe(plain)
            self._message.wipe()
        return b"".join(digests)

    def _append(self, data: bytes | memoryview) -> bytes:
        write_at(self._descriptor, self._offset, data)
        self._offset += len(data)
        return hashlib.sha256(data).digest()


def write_at(descriptor: int, offset: int, data: bytes | memoryview) -> None:
    """Write all of `data`; a short write is continued.

    Raises:
        OSError: as the operating system says, a full disk for one.
    """
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view = view[written:]
        offset += written


def _core(
    plain: PlainModel,
    description: Description,
    *,
    workload_key: WorkloadKey,
    creator: CreatorPrivateKey,
    segment_bytes: int,
    content_key_id: bytes,
) -> Core:
    _check(description, plain)
    return Core(
        tenant=workload_key.tenant,
        workload=workload_key.workload,
        model=description.model,
        version=description.version,
        format=plain.format,
        parts=lay_out(plain.format, tuple(part.size for part in plain.parts)),
        segment_size=segment_bytes,
        content_key_id=content_key_id,
        plain_digest=plain.plain_digest,
        external_digest=plain.external_digest,
        optimised_by=description.optimised_by,
        creator_key_id=creator.public.key_id,
        created=description.created.replace(microsecond=0),
    )


def _check(description: Description, plain: PlainModel) -> None:
    """Refuse here what a reader would refuse later."""
    if description.created.tzinfo is None:
        raise ValueError("created must be an aware instant")
    optimised_by = description.optimised_by
    faults = {
        f"the model's name must match {fields.NAME.pattern}": (
            fields.NAME.fullmatch(description.model) is None
        ),
        "the model's version must be 1 or more": (
            not 1 <= description.version <= fields.MAX_INTEGER
        ),
        "what optimised the model must be 1 to 128 printable ASCII characters": (
            optimised_by is not None and fields.TEXT.fullmatch(optimised_by) is None
        ),
        "a part of the model is empty": any(part.size == 0 for part in plain.parts),
        f"the model is larger than {MAX_MODEL_BYTES} bytes": (
            sum(part.size for part in plain.parts) > MAX_MODEL_BYTES
        ),
    }
    for fault, present in faults.items():
        if present:
            raise UnsealableModel(Code.PARAMETER_INVALID, fault)
