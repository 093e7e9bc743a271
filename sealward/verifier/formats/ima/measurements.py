"""The list itself: bytes to entries and back (securityfs, ima/binary_runtime_measurements*).

Each entry, all numbers little-endian (kernels of other byte order need ima_canonical_fmt):

    register   32 bits
    digest     of the template data, by the list's hash; all zero for a violation
    template   size in 32 bits, name
    data       size in 32 bits, fields (templates.py); for the template "ima" without the size

`binary_runtime_measurements` has SHA-1 digests; from 6.10 on there is one list for each bank,
`_sha256` for example, that differs in these digests alone. Every bank can be replayed from every
list, as what was extended is the hash of the data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.ima import templates
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.formats.ima.templates import Reading

MAX_ENTRIES: Final = 65_536  # machines that are up for months come to 100,000 in many increments
MAX_LIST_BYTES: Final = 12 * 1024 * 1024  # that many entries of twice the usual 100 bytes
MAX_DATA_BYTES: Final = 128 * 1024  # an extended attribute has at most 64 KiB


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        register: the PCR that it was extended into.
        digest: of its data, by the list's hash; all zero for a violation.
        template: name or format.
        data: as in the list.
        reading: what it says; None for a violation, of which nothing is authentic but that it was.
    """

    register: int
    digest: bytes
    template: bytes
    data: bytes = field(repr=False)
    reading: Reading | None

    def extends(self, bank: HashAlg) -> bytes:
        """Return what was extended into a bank: the hash of the data, or ones for a violation."""
        if self.reading is None:
            return b"\xff" * bank.size
        return bank.digest(templates.hashed(self.template, self.data))


def parse(data: bytes, template_hash: HashAlg = HashAlg.SHA1) -> tuple[Entry, ...]:
    """Read a list, or a part of one that begins and ends between entries.

    Args:
        data: as the kernel writes it.
        template_hash: the hash that this list has of its template data.

    Raises:
        MalformedEvidence: anything else than whole entries of known templates, each with the digest
            of its data, within the budgets.
    """
    check_budget(data, MAX_LIST_BYTES, "measurement list")
    reader = Reader(data)
    entries: list[Entry] = []
    while reader.remaining:
        if len(entries) == MAX_ENTRIES:
            raise reader.malformed(f"measurement list: more than {MAX_ENTRIES} entries")
        entries.append(_entry(reader, template_hash))
    return tuple(entries)


def _entry(reader: Reader, template_hash: HashAlg) -> Entry:
    start = reader.offset
    register = reader.le(4, "register")
    digest = reader.take(template_hash.size, "template digest")
    template = _sized(reader, templates.MAX_NAME, "template name")
    at = reader.offset
    data = _data(reader, template)
    if not digest.strip(b"\0"):
        return Entry(register, digest, template, data, None)
    if digest != template_hash.digest(templates.hashed(template, data)):
        raise MalformedEvidence(start, "entry: the template digest is not that of its data")
    return Entry(register, digest, template, data, templates.read(template, data, base=at))


def _data(reader: Reader, template: bytes) -> bytes:
    if template == templates.FIRST:
        return templates.take_first(reader)
    return _sized(reader, MAX_DATA_BYTES, "template data")


def _sized(reader: Reader, most: int, what: str) -> bytes:
    size = reader.le(4, what)
    if size > most:
        raise reader.malformed(f"{what}: {size} bytes, at most {most} are read")
    return reader.take(size, what)
