"""OPA bundle archives: gzip of a plain ustar file, read strictly and written reproducibly.

Own reader, because a bundle needs four header fields of tar and none of its history: links,
devices, sparse files, long names and extended headers are refused by name. A single leading `/`
is read as the bundle's own root, since that is how `opa build` spells every path; nothing is
ever written to a disk.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Final

from sealward.controlplane.domain.policies_bundle import (
    MAX_BUNDLE_BYTES,
    MAX_FILES,
    InvalidBundle,
    PolicyBundle,
    bundle_from_files,
    files_of,
    refuse_path,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

MAX_ARCHIVE_BYTES: Final = MAX_BUNDLE_BYTES  # packed is never larger than what it may unpack to
# POSIX.1-1988 ustar, pax(1) "ustar Interchange Format"
_BLOCK: Final = 512
_GZIP: Final = 31  # zlib's window bits for a gzip wrapper
# Every file costs a header and up to one block of padding; GNU tar pads the end to 20 blocks.
_MAX_TAR_BYTES: Final = MAX_BUNDLE_BYTES + 2 * _BLOCK * MAX_FILES + 20 * _BLOCK
_REGULAR: Final = (b"0", b"\0")
_DIRECTORY: Final = b"5"


def bundle_from_archive(archive: bytes) -> PolicyBundle:
    """Read a bundle from a `.tar.gz`.

    Raises:
        InvalidBundle: a broken or oversized archive, a member that is no plain file, a path
            twice, or content that is no bundle.
    """
    return bundle_from_files(_files(_unpacked(archive)))


def archive_of(bundle: PolicyBundle) -> bytes:
    """Return `bundle` as a `.tar.gz` that depends on nothing but its content."""
    tar = b"".join(_member(path, content) for path, content in files_of(bundle).items())
    packer = zlib.compressobj(wbits=_GZIP)
    return packer.compress(tar + bytes(2 * _BLOCK)) + packer.flush()


def _unpacked(archive: bytes) -> bytes:
    if len(archive) > MAX_ARCHIVE_BYTES:
        raise InvalidBundle(None, f"{len(archive)} bytes, at most {MAX_ARCHIVE_BYTES} are read")
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        tar = unpacker.decompress(archive, _MAX_TAR_BYTES + 1)
    except zlib.error:
        raise InvalidBundle(None, "not a gzip file") from None
    if len(tar) > _MAX_TAR_BYTES:
        raise InvalidBundle(None, f"unpacks to more than {_MAX_TAR_BYTES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise InvalidBundle(None, "the gzip file is cut off or has bytes after its end")
    return tar


def _files(tar: bytes) -> Mapping[str, bytes]:
    files: dict[str, bytes] = {}
    reader = Reader(tar)
    try:
        while (header := reader.take(_BLOCK, "tar header")) != bytes(_BLOCK):
            path, kind, size = _header(header)
            content = reader.take(size, f"content of {path!a}")
            reader.must_be_zero(-size % _BLOCK, "tar padding")
            if kind == _DIRECTORY:
                continue
            if path in files:
                raise InvalidBundle(path, "is in the archive twice")
            if len(files) >= MAX_FILES:
                raise InvalidBundle(None, f"more than {MAX_FILES} files")
            files[path] = content
        reader.must_be_zero(reader.remaining, "end of the tar file")
    except MalformedEvidence as error:
        raise InvalidBundle(None, f"not a plain tar file: {error.detail}") from None
    return files


def _header(block: bytes) -> tuple[str, bytes, int]:
    """Return path, type and size of one member.

    Raises:
        InvalidBundle: anything but a plain file or folder.
        MalformedEvidence: a header that is none.
    """
    reader = Reader(block)
    name = reader.take(100, "name")
    reader.take(24, "mode, uid, gid")
    size = _octal(reader.take(12, "size"), "size")
    reader.take(12, "mtime")
    total = _octal(reader.take(8, "checksum"), "checksum")
    kind = reader.take(1, "typeflag")
    reader.take(100, "linkname")
    magic = reader.take(8, "magic")
    reader.take(80, "user, group, device numbers")
    prefix = reader.take(155, "prefix")
    # The checksum counts its own field as eight spaces.
    if total != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise MalformedEvidence(148, "header checksum does not match")
    if magic not in (b"ustar\x0000", b"ustar  \0") or any(prefix):
        raise MalformedEvidence(257, "only plain ustar headers are read")
    path = name.rstrip(b"\0").decode("ascii", "backslashreplace").removeprefix("/")
    if kind == _DIRECTORY and size == 0:
        return path, kind, size
    if kind not in _REGULAR:
        raise InvalidBundle(ascii(path), "only plain files: pack with tar --format=ustar")
    refuse_path(path.removeprefix("./"))
    return path.removeprefix("./"), kind, size


def _octal(field: bytes, what: str) -> int:
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    if not digits or set(digits) - set(b"01234567"):
        raise MalformedEvidence(0, f"{what}: not an octal number")
    return int(digits, 8)


def _member(path: str, content: bytes) -> bytes:
    fields = (
        path.encode("ascii").ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        b"%011o\0" % len(content),
        b"%011o\0" % 0,
    )
    after = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(155 + 12)
    before = b"".join(fields)
    total = sum(before) + sum(after) + 8 * ord(" ")
    padding = bytes(-len(content) % _BLOCK)
    return before + b"%06o\0 " % total + after + content + padding
