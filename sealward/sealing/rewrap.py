"""Replacing the wraps of a sealed model, without its creator and without opening it.

Re-wrapping rotates the workload key only. The content key and the body stay as they are: whoever
ever held this content key can still open every copy, the new one too. Only sealing again, with a
new content key, ends that.
"""

from __future__ import annotations

import hmac

from sealward.sealing import floe
from sealward.sealing.container import Progress, SealedModel
from sealward.sealing.errors import Code, RefusedSealedModel
from sealward.sealing.header import FLOE_HEADER, SealedHeader
from sealward.sealing.wrap import Wrap, WrapFile
from sealward.sealing.writer import write_at


def merged(header: SealedHeader, add: tuple[WrapFile, ...], drop: frozenset[bytes]) -> SealedHeader:
    """Return `header` with wraps added, or replaced where the key is the same, and others dropped.

    Args:
        header: of the model to re-wrap.
        add: wraps made for exactly this model.
        drop: key ids whose wraps go.

    Raises:
        RefusedSealedModel: HEADER_MISMATCH, a wrap was made for another model; NO_WRAP_FOR_KEY,
            there is nothing to drop.
        MalformedSealedModel: MALFORMED_HEADER, no wrap or too many would be left.
    """
    wraps: dict[bytes, Wrap] = {wrap.key_id: wrap for wrap in header.wraps}
    for key_id in drop:
        del wraps[header.wrap_for(key_id).key_id]
    for file in add:
        if not hmac.compare_digest(file.core_digest, header.core_digest):
            raise RefusedSealedModel(
                Code.HEADER_MISMATCH, "a wrap was made for another sealed model"
            )
        wraps[file.wrap.key_id] = file.wrap
    return header.with_wraps(tuple(wraps.values()))


def rewrap(
    model: SealedModel, header: SealedHeader, descriptor: int, progress: Progress | None = None
) -> None:
    """Write `model` under `header` to an empty file, checking each segment while it is copied.

    Args:
        model: the sealed model as it is.
        header: what `merged` returned for it.
        descriptor: open for writing, empty, seekable; the caller syncs and names the file.
        progress: called with the number of body bytes copied since the last call.

    Raises:
        RefusedSealedModel: SEGMENT_DIGEST_MISMATCH, the body is damaged; SOURCE_FAILED.
        MalformedSealedModel: TRUNCATED, the file shrank since it was opened.
        OSError: the file could not be written.
    """
    if header.header_digest != model.header_digest:
        raise ValueError("the header is of another model")
    prelude = model.read_floe_header()
    header.check_digest(FLOE_HEADER, prelude)
    offset = header.body_offset
    write_at(descriptor, offset, prelude)
    offset += floe.HEADER_BYTES
    buffer = memoryview(bytearray(header.core.segment_size))
    for index in range(header.core.segments):
        segment = model.read_segment(index, buffer)
        header.check_digest(index, segment)
        write_at(descriptor, offset, segment)
        offset += len(segment)
        if progress is not None:
            progress(len(segment))
    write_at(descriptor, 0, header.encode())
