"""Reading a sealed model: parse, authenticate, check, decrypt (docs/specs/sealed-model.md, 6).

Order is enforced. Opening proves only that the file is well formed. Before anything is decrypted
the header must be authenticated, by the creator's signatures or by a digest from signed terms.

Every encrypted segment is read once into a private buffer, hashed there and decrypted from there: a
file that changes underneath can make a load fail, never slip by between check and use.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum, unique
from typing import Final, Self, TypeAlias, assert_never

from sealward.sealing import floe
from sealward.sealing.core import Part, PartName
from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel
from sealward.sealing.header import (
    FLOE_HEADER,
    PREFIX_BYTES,
    Prefix,
    SealedHeader,
    body_offset_after,
)
from sealward.sealing.memory import wipe
from sealward.sealing.signing import CreatorPublicKey
from sealward.sealing.source import Source, read

MAX_THREADS: Final = 64  # each holds a segment buffer

Progress: TypeAlias = Callable[[int], None]
_SegmentWork: TypeAlias = Callable[[int, memoryview], None]


@unique
class Check(StrEnum):
    """What is checked of each segment before its plaintext counts."""

    FULL = "digests+aead"  # also stops a forger who holds the content key
    AEAD = "aead"  # for a warm restart of a file that has passed FULL on this machine


class SealedModel:
    """One sealed file, open for reading. Not to be used by two threads at once."""

    __slots__ = ("_authenticated", "_body_offset", "_source", "header")

    def __init__(self, source: Source, header: SealedHeader, body_offset: int) -> None:
        """Use `open`."""
        self._source = source
        self._body_offset = body_offset
        self._authenticated = False
        self.header: Final = header

    @classmethod
    def open(cls, source: Source) -> Self:
        """Read the header and check the file's whole shape; no key, no signature yet.

        Raises:
            MalformedSealedModel: not a sealed model of this version, byte for byte.
            RefusedSealedModel: SOURCE_FAILED.
        """
        if source.size < PREFIX_BYTES:
            raise MalformedSealedModel(Code.TRUNCATED, "shorter than any sealed model")
        prefix = Prefix.parse(read(source, 0, PREFIX_BYTES))
        if source.size < prefix.total_bytes:
            raise MalformedSealedModel(Code.TRUNCATED, "ends within its header")
        header = SealedHeader.parse(read(source, 0, prefix.total_bytes))
        body_offset = body_offset_after(prefix.total_bytes)
        _check_size(source.size, body_offset + header.body_bytes)
        if any(read(source, prefix.total_bytes, body_offset - prefix.total_bytes)):
            raise MalformedSealedModel(
                Code.RESERVED_NOT_ZERO, "padding before the body is not zero"
            )
        return cls(source, header, body_offset)

    @property
    def parts(self) -> tuple[Part, ...]:
        """What the body holds."""
        return self.header.core.parts

    @property
    def core_digest(self) -> bytes:
        """SHA-256 of the canonical core: what wraps and the body are bound to."""
        return self.header.core_digest

    @property
    def header_digest(self) -> bytes:
        """SHA-256 of the signed part: what a grant names a sealed model by."""
        return self.header.header_digest

    def registration(self) -> bytes:
        """Return the file up to its padding: what a control plane registers."""
        return self.header.encode()

    def verify_signatures(self, creator: CreatorPublicKey) -> None:
        """Authenticate the header as this creator's.

        Raises:
            RefusedSealedModel: OTHER_CREATOR or SIGNATURE_INVALID.
        """
        self.header.verify_signatures(creator)
        self._authenticated = True

    def accept_header_digest(self, expected: bytes) -> None:
        """Authenticate the header as the one that signed terms name.

        Args:
            expected: a header digest from a source the caller has authenticated.

        Raises:
            RefusedSealedModel: HEADER_MISMATCH.
        """
        if not hmac.compare_digest(self.header_digest, expected):
            raise RefusedSealedModel(
                Code.HEADER_MISMATCH, "this is not the sealed model that was named"
            )
        self._authenticated = True

    def verify_digests(self, *, threads: int = 1, progress: Progress | None = None) -> None:
        """Check every byte of the body against the digest list. Needs no key.

        Args:
            threads: how many segments to read and hash at once.
            progress: called with the number of body bytes checked since the last call, from any
                of the threads.

        Raises:
            RefusedSealedModel: SEGMENT_DIGEST_MISMATCH or SOURCE_FAILED.
            MalformedSealedModel: TRUNCATED, the file shrank since it was opened.
        """
        self.header.check_digest(FLOE_HEADER, self.read_floe_header())

        def check(index: int, segment: memoryview) -> None:
            self.header.check_digest(index, segment)
            if progress is not None:
                progress(len(segment))

        self._for_each_segment(range(self.header.core.segments), check, threads)

    def decrypt_part_into(
        self,
        content_key: bytes | bytearray,
        part_name: PartName,
        dst: memoryview,
        *,
        threads: int = 1,
        check: Check = Check.FULL,
    ) -> None:
        """Decrypt one part into the caller's memory. On any error `dst` is zeroed.

        Args:
            content_key: 32 bytes; the caller's to wipe.
            part_name: one of `parts`.
            dst: writable and contiguous, exactly as long as the part.
            threads: how many segments to work on at once.
            check: see `Check`.

        Raises:
            RefusedSealedModel: NOT_AUTHENTICATED, NO_SUCH_PART, CONTENT_KEY_MISMATCH,
                SEGMENT_DIGEST_MISMATCH, BODY_REFUSED or SOURCE_FAILED.
            MalformedSealedModel: TRUNCATED, the file shrank since it was opened.
            ValueError: `dst` or `threads` is not as said.
        """
        self._require_authentication()
        part = self._part(part_name)
        with dst.cast("B") as plain:
            if plain.readonly or len(plain) != part.length:
                raise ValueError(f"dst must be writable and {part.length} bytes long")
            self.header.check_content_key(content_key)
            message = self._resume(content_key, check)
            try:
                self._decrypt(message, part, plain, threads, check)
            except BaseException:
                wipe(plain)
                raise
            finally:
                message.wipe()

    def read_segment(self, index: int, buffer: memoryview) -> memoryview:
        """Read one encrypted segment to the front of `buffer` and return that front."""
        core = self.header.core
        parameters = core.floe_parameters
        offset = floe.HEADER_BYTES + index * parameters.segment_bytes
        left = parameters.encrypted_bytes(core.total) - offset
        segment = buffer[: min(parameters.segment_bytes, left)]
        self._source.read_into(self._body_offset + offset, segment)
        return segment

    def read_floe_header(self) -> bytes:
        """Read the first bytes of the body."""
        return read(self._source, self._body_offset, floe.HEADER_BYTES)

    def _require_authentication(self) -> None:
        if not self._authenticated:
            raise RefusedSealedModel(
                Code.NOT_AUTHENTICATED,
                "nothing is decrypted under a header that nobody vouches for",
                hint="call verify_signatures or accept_header_digest first",
            )

    def _part(self, name: PartName) -> Part:
        for part in self.parts:
            if part.name is name:
                return part
        raise RefusedSealedModel(Code.NO_SUCH_PART, f"this sealed model has no part {name}")

    def _resume(self, content_key: bytes | bytearray, check: Check) -> floe.Message:
        core = self.header.core
        header = self.read_floe_header()
        if check is Check.FULL:
            self.header.check_digest(FLOE_HEADER, header)
        return floe.Message.resume(content_key, core.digest(), core.floe_parameters, header)

    def _decrypt(
        self, message: floe.Message, part: Part, plain: memoryview, threads: int, check: Check
    ) -> None:
        core = self.header.core
        step = core.floe_parameters.plaintext_bytes
        last = core.segments - 1

        def decrypt(index: int, segment: memoryview) -> None:
            match check:
                case Check.FULL:
                    self.header.check_digest(index, segment)
                case Check.AEAD:
                    pass
                case _:
                    assert_never(check)
            start = index * step - part.offset  # of this segment, within the part
            stop = start + len(segment) - floe.SEGMENT_OVERHEAD
            if start >= 0 and stop <= part.length:
                message.decrypt_segment(index, segment, plain[start:stop], last=index == last)
                return
            # The segment is shared with a neighbouring part, whose bytes are wiped here.
            shared = bytearray(stop - start)
            try:
                message.decrypt_segment(index, segment, memoryview(shared), last=index == last)
                low, high = max(start, 0), min(stop, part.length)
                plain[low:high] = memoryview(shared)[low - start : high - start]
            finally:
                wipe(shared)

        self._for_each_segment(
            range(part.offset // step, (part.end - 1) // step + 1), decrypt, threads
        )

    def _for_each_segment(self, indices: range, work: _SegmentWork, threads: int) -> None:
        """Read each segment once and hand it to `work`; the first error ends all lanes."""
        if not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"threads must be 1 to {MAX_THREADS}")
        stop = threading.Event()

        def lane(mine: range) -> None:
            buffer = memoryview(bytearray(self.header.core.segment_size))
            try:
                for index in mine:
                    if stop.is_set():
                        return
                    work(index, self.read_segment(index, buffer))
            except BaseException:
                stop.set()
                raise

        lanes = min(threads, len(indices))
        if lanes == 1:
            lane(indices)
            return
        with ThreadPoolExecutor(lanes) as pool:
            for done in [pool.submit(lane, indices[number::lanes]) for number in range(lanes)]:
                done.result()


def _check_size(actual: int, expected: int) -> None:
    if actual < expected:
        raise MalformedSealedModel(
            Code.TRUNCATED, f"{actual} bytes long, its header says {expected}"
        )
    if actual > expected:
        raise MalformedSealedModel(
            Code.TRAILING_BYTES, f"{actual} bytes long, its header says {expected}"
        )
