"""Templates: which fields an entry has, and what they say of what was measured.

A template is known by name, or by its format: field names joined by "|" (ima_template_fmt=). All
fields have their size (32 bits, little-endian) in front, but those of the first template, "ima".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.ima import digests
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.runtime_log import Kind
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NAME: Final = 256  # bytes of a template's name: the longest format has fewer
MAX_PATH: Final = 4096  # PATH_MAX of the kernel, with its NUL
FIRST: Final = b"ima"
_FIRST_DIGEST: Final = 20
MAX_FIRST_PATH: Final = 255  # IMA_EVENT_NAME_LEN_MAX

_NG: Final = (b"d-ng", b"n-ng")
_EVM: Final = (b"xattrnames", b"xattrlengths", b"xattrvalues", b"iuid", b"igid", b"imode")
_BUILT_IN: Final[dict[bytes, tuple[bytes, ...]]] = {
    b"ima-ng": _NG,
    b"ima-sig": (*_NG, b"sig"),
    b"ima-ngv2": (b"d-ngv2", b"n-ng"),
    b"ima-sigv2": (b"d-ngv2", b"n-ng", b"sig"),
    b"ima-buf": (*_NG, b"buf"),
    b"ima-modsig": (*_NG, b"sig", b"d-modsig", b"modsig"),
    b"evm-sig": (*_NG, b"evmsig", *_EVM),
}
_DIGESTS: Final[dict[bytes, Callable[[bytes], tuple[str, bytes] | None]]] = {
    b"d": digests.plain,
    b"d-ng": digests.named,
    b"d-ngv2": digests.typed,
}
_NAMES: Final = frozenset({b"n", b"n-ng"})
# Their bytes are proven like all others; nothing is said of them but that a buffer is one.
_OTHERS: Final = frozenset({b"sig", b"buf", b"d-modsig", b"modsig", b"evmsig", *_EVM})
_FIELDS: Final = _DIGESTS.keys() | _NAMES | _OTHERS


@dataclass(frozen=True, slots=True)
class Reading:
    """What an entry says.

    Attributes:
        path: as text (`text`).
        algorithm, digest: of what was measured.
        kind: see `Kind`.
        signature: what `security.ima` held if it claims to be one, else nothing.
    """

    path: str
    algorithm: str
    digest: bytes
    kind: Kind
    signature: bytes = field(repr=False, default=b"")


def fields_of(name: bytes) -> tuple[bytes, ...] | None:
    """Return the fields of a template other than the first, or None when it is not known.

    One digest and one name are demanded: without them an entry says nothing to appraise.
    """
    fields = _BUILT_IN.get(name) or tuple(name.split(b"|"))
    whole = len(_DIGESTS.keys() & fields) == len(_NAMES & {*fields}) == 1
    distinct = len({*fields}) == len(fields)
    return fields if whole and distinct and _FIELDS.issuperset(fields) else None


def read(template: bytes, data: bytes, *, base: int) -> Reading:
    """Read the data of an entry that is no violation.

    Args:
        template: name or format.
        data: of the entry.
        base: where it begins in the list, for errors.

    Raises:
        MalformedEvidence: the template is not known, these are not exactly its fields, or one is
            not what its name says.
    """
    if template == FIRST:
        return _read_first(data, base)
    fields = fields_of(template)
    reader = Reader(data, base=base)
    if fields is None:
        raise reader.malformed(f"entry: the template {template!r} is not known")
    found = {name: reader.take(reader.le(4, "field size"), "field") for name in fields}
    reader.finish()
    (digest_field,) = _DIGESTS.keys() & found
    (name_field,) = _NAMES & found.keys()
    digest = _DIGESTS[digest_field](found[digest_field])
    path = found[name_field]
    whole = path.endswith(b"\0") and path.count(b"\0") == 1 and len(path) <= MAX_PATH
    if digest is None or not whole:
        raise reader.malformed("entry: no digest of a known hash, or no name that ends in NUL")
    return Reading(
        path=text(path.removesuffix(b"\0")),
        algorithm=digest[0],
        digest=digest[1],
        kind=Kind.BUFFER if b"buf" in found else Kind.FILE,
        signature=found.get(b"sig", b""),
    )


def take_first(reader: Reader) -> bytes:
    """Take the data of the template "ima", which nothing delimits but the size of its name.

    Raises:
        MalformedEvidence: it is cut off, or the name is too long.
    """
    start = reader.offset
    reader.take(_FIRST_DIGEST, "digest")
    size = reader.le(4, "name size")
    if size > MAX_FIRST_PATH:
        raise reader.malformed(f"entry: a name of {size} bytes, at most {MAX_FIRST_PATH} are read")
    reader.take(size, "name")
    return reader.since(start)


def hashed(template: bytes, data: bytes) -> bytes:
    """Return what a template digest is the hash of: the data, but for the template "ima"."""
    if template != FIRST:
        return data
    digest, path = _first(data)
    return digest + path.ljust(MAX_FIRST_PATH + 1, b"\0")


def text(path: bytes) -> str:
    r"""Return a path as text; bytes that are not UTF-8 become \xNN."""
    return path.decode("utf-8", "backslashreplace")


def _read_first(data: bytes, base: int) -> Reading:
    digest, path = _first(data)
    if b"\0" in path:
        raise MalformedEvidence(base, "entry: a name that holds NUL")
    return Reading(text(path), "sha1", digest, Kind.FILE)


def _first(data: bytes) -> tuple[bytes, bytes]:
    reader = Reader(data)
    digest = reader.take(_FIRST_DIGEST, "digest")
    return digest, reader.take(reader.le(4, "name size"), "name")
