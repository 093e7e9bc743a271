"""Event logs of measured boot, bytes to events and back (TCG PC Client Platform Firmware Profile).

Two formats, told apart by the first record (all numbers little-endian):

    crypto-agile   a SHA-1 record that holds "Spec ID Event03" and the list of hashes and sizes,
                   then records with one digest for each of these hashes;
    SHA-1          records of TPM 1.2 throughout.

A log ends where its bytes end, or in padding: what is left of the area is all FF or all zero.
`encode(parse(x)) == x` for every x that parses. A log is not signed: it says nothing until its
replay matches what a quote or a report says (replay.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.formats.event_log.types import EventType
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget
from sealward.verifier.wire.tcg_hash import HashAlg

MAX_LOG_BYTES: Final = 1024 * 1024  # areas in ACPI tables have 64 KiB to 1 MiB, mostly padding
MAX_EVENTS: Final = 4096  # the longest real log we know has 158
MAX_EVENT_BYTES: Final = 128 * 1024  # a dbx variable grows past 16 KiB
MAX_BANKS: Final = 8

SPEC_ID: Final = b"Spec ID Event03\0"
_SHA1_SIZE: Final = 20
_MAX_DIGEST: Final = 64
_AGILE_HEAD: Final = 12  # index, type, count: count 0 is no record
_SHA1_HEAD: Final = 32  # index, type, digest, size


@dataclass(frozen=True, slots=True)
class Digest:
    """What was extended: a hash identifier, known to us or not, and the digest."""

    algorithm: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One record.

    Attributes:
        register: PCR, or measurement register in a CCEL.
        type: see `EventType`; other values are allowed.
        digests: one for each hash of the log.
        data: what the event says of itself; see `types.SELF_DESCRIBING`.
    """

    register: int
    type: int
    digests: tuple[Digest, ...]
    data: bytes = field(repr=False)

    def digest(self, bank: HashAlg) -> bytes | None:
        """Return what was extended into `bank`, or None when the log does not have it."""
        return next((item.value for item in self.digests if item.algorithm == bank), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first record of a crypto-agile log.

    Attributes:
        register: of the record itself; firmware writes 0, or 1 in a CCEL.
        platform_class: 0 client, 1 server.
        version: of the specification: major, minor, errata.
        uintn_size: 1 for 32 bit, 2 for 64 bit.
        algorithms: (identifier, digest size) of every hash in the log.
        vendor_info: the vendor's own.
    """

    register: int
    platform_class: int
    version: tuple[int, int, int]
    uintn_size: int
    algorithms: tuple[tuple[int, int], ...]
    vendor_info: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """A parsed log; `padding` is (byte, count) of what follows the last record."""

    header: Header | None
    events: tuple[Event, ...]
    padding: tuple[int, int]

    @property
    def banks(self) -> tuple[HashAlg, ...]:
        """The hashes of the log that we can replay."""
        if self.header is None:
            return (HashAlg.SHA1,)
        known = {int(bank): bank for bank in HashAlg}
        return tuple(known[name] for name, _ in self.header.algorithms if name in known)


def parse(data: bytes) -> Log:
    """Read a log.

    Raises:
        MalformedEvidence: not one log as described above, within the budgets.
    """
    check_budget(data, MAX_LOG_BYTES, "event log")
    reader = Reader(data)
    first = _sha1_record(reader)
    header = None
    events: list[Event] = []
    if first.type == EventType.NO_ACTION and first.data.startswith(SPEC_ID):
        header = _header(first)
    else:
        events.append(first)
    padding = 0, 0
    while reader.remaining:
        if _padding_begins(reader, _SHA1_HEAD if header is None else _AGILE_HEAD):
            padding = _padding(reader)
            break
        if len(events) == MAX_EVENTS:
            raise reader.malformed(f"event log: more than {MAX_EVENTS} events")
        events.append(_sha1_record(reader) if header is None else _agile_record(reader, header))
    return Log(header, tuple(events), padding)


def encode(log: Log) -> bytes:
    """Return the bytes that parse to `log`."""
    parts: list[bytes] = []
    if log.header is None:
        parts += [_pack_sha1(event) for event in log.events]
    else:
        data = _pack_header(log.header)
        zero = (Digest(HashAlg.SHA1, bytes(_SHA1_SIZE)),)
        parts.append(_pack_sha1(Event(log.header.register, EventType.NO_ACTION, zero, data)))
        parts += [_pack_agile(event) for event in log.events]
    byte, count = log.padding
    return b"".join(parts) + bytes((byte,)) * count


def _sha1_record(reader: Reader) -> Event:
    what = "event"
    register, kind = reader.le(4, what), reader.le(4, what)
    digest = Digest(HashAlg.SHA1, reader.take(_SHA1_SIZE, what))
    return Event(register, kind, (digest,), _event_data(reader))


def _agile_record(reader: Reader, header: Header) -> Event:
    what = "event"
    register, kind, count = reader.le(4, what), reader.le(4, what), reader.le(4, what)
    sizes = dict(header.algorithms)
    if count != len(sizes):
        raise reader.malformed(f"event: {count} digests, the log's header lists {len(sizes)}")
    digests: list[Digest] = []
    for _ in range(count):
        algorithm = reader.le(2, what)
        size = sizes.pop(algorithm, None)  # each hash once
        if size is None:
            raise reader.malformed(f"event: digest of {algorithm:#06x}, unlisted or repeated")
        digests.append(Digest(algorithm, reader.take(size, what)))
    return Event(register, kind, tuple(digests), _event_data(reader))


def _event_data(reader: Reader) -> bytes:
    size = reader.le(4, "event size")
    if size > MAX_EVENT_BYTES:
        raise reader.malformed(f"event: {size} bytes, at most {MAX_EVENT_BYTES} are read")
    return reader.take(size, "event data")


def _header(record: Event) -> Header:
    what = "Spec ID event"
    reader = Reader(record.data)
    if record.digests[0].value.strip(b"\0"):
        raise MalformedEvidence(8, f"{what}: its digest is not zero")
    reader.take(len(SPEC_ID), what)
    platform_class = reader.le(4, what)
    minor, major, errata, uintn = (reader.u8(what) for _ in range(4))
    count = reader.le(4, what)
    if not 1 <= count <= MAX_BANKS:
        raise reader.malformed(f"{what}: {count} hashes, 1 to {MAX_BANKS} are read")
    algorithms = tuple((reader.le(2, what), reader.le(2, what)) for _ in range(count))
    known = {int(bank): bank.size for bank in HashAlg}
    for name, size in algorithms:
        if size != known.get(name, size) or not 1 <= size <= _MAX_DIGEST:
            raise reader.malformed(f"{what}: a digest of {name:#06x} has not {size} bytes")
    if len(dict(algorithms)) != count:
        raise reader.malformed(f"{what}: a hash is listed twice")
    vendor_info = reader.take(reader.u8(what), what)
    reader.finish()
    return Header(
        register=record.register,
        platform_class=platform_class,
        version=(major, minor, errata),
        uintn_size=uintn,
        algorithms=algorithms,
        vendor_info=vendor_info,
    )


def _padding_begins(reader: Reader, head: int) -> bool:
    """Whether what follows cannot be a record because it starts as padding does."""
    at = reader.offset
    start = reader.take(min(head, reader.remaining), "event")
    reader.seek(at, "event")
    return not start.strip(b"\0") or not start.strip(b"\xff")


def _padding(reader: Reader) -> tuple[int, int]:
    byte = reader.peek() or 0
    size = reader.remaining
    if reader.take(size, "padding").strip(bytes((byte,))):
        raise reader.malformed("event log: something follows the padding")
    return byte, size


def _pack_sha1(event: Event) -> bytes:
    head = event.register.to_bytes(4, "little") + event.type.to_bytes(4, "little")
    return head + event.digests[0].value + len(event.data).to_bytes(4, "little") + event.data


def _pack_agile(event: Event) -> bytes:
    numbers = (event.register, event.type, len(event.digests))
    head = b"".join(number.to_bytes(4, "little") for number in numbers)
    digests = b"".join(item.algorithm.to_bytes(2, "little") + item.value for item in event.digests)
    return head + digests + len(event.data).to_bytes(4, "little") + event.data


def _pack_header(header: Header) -> bytes:
    major, minor, errata = header.version
    algorithms = b"".join(
        name.to_bytes(2, "little") + size.to_bytes(2, "little") for name, size in header.algorithms
    )
    return b"".join(
        (
            SPEC_ID,
            header.platform_class.to_bytes(4, "little"),
            bytes((minor, major, errata, header.uintn_size)),
            len(header.algorithms).to_bytes(4, "little"),
            algorithms,
            bytes((len(header.vendor_info),)),
            header.vendor_info,
        )
    )
