"""Opening and writing the files of `sealward model`: sealing itself opens no path."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click

from sealward.controlplane.cli.terminal import Failure
from sealward.sealing.container import Progress
from sealward.sealing.errors import Code, SealedModelError, UnsealableModel
from sealward.sealing.source import FileSource, Source

PUBLIC_MODE: Final = 0o644
PRIVATE_MODE: Final = 0o600
_OTHERS: Final = 0o077
_MAX_SMALL_FILE: Final = 1 << 16  # every key and wrap file is below 8 kB


@contextmanager
def reported() -> Iterator[None]:
    """Turn what sealing and the file system raise into a Failure."""
    try:
        yield
    except SealedModelError as error:
        raise Failure(f"{error.detail} ({error.code})", error.hint or "") from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{where}{error.strerror}") from None


def read_small(path: Path) -> bytes:
    """Return a key or wrap file, at most a little more than any of them is long."""
    with path.open("rb") as file:
        return file.read(_MAX_SMALL_FILE)


def read_private(path: Path) -> bytes:
    """Return a private key file that nobody else can read."""
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & _OTHERS:
            raise Failure(f"{path}: other users may read this private key", f"chmod 600 {path}")
        return file.read(_MAX_SMALL_FILE)


class ModelFolder:
    """An ONNX file and the external-data files it names, all opened below one folder."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._stack = stack
        self._folder = path.resolve(strict=True).parent
        self._opened: list[FileSource] = []
        self.main: Final = self._open(path)

    def open_external(self, location: str) -> Source:
        """Open external data; a link may not lead out of the folder.

        Raises:
            UnsealableModel: HOSTILE_EXTERNAL_PATH or UNSUPPORTED_MODEL.
        """
        try:
            path = (self._folder / location).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop of links
            raise UnsealableModel(
                Code.UNSUPPORTED_MODEL,
                f"its external data {location!r} is not there",
                hint="keep external-data files beside the .onnx file",
            ) from None
        if not path.is_relative_to(self._folder):
            raise UnsealableModel(
                Code.HOSTILE_EXTERNAL_PATH,
                f"external data at {location!r} leads out of the model's folder",
                hint="copy the file itself into the folder if you trust it",
            )
        return self._open(path)

    def check_unchanged(self) -> None:
        """Refuse when any file was written while it was sealed.

        Raises:
            UnsealableModel: SOURCE_CHANGED.
        """
        for source in self._opened:
            source.check_unchanged()

    def _open(self, path: Path) -> FileSource:
        source = open_source(path, self._stack)
        self._opened.append(source)
        return source


def open_source(path: Path, stack: ExitStack) -> FileSource:
    """Open a file for as long as `stack` lives."""
    # O_NONBLOCK: a FIFO must not hang us before FileSource refuses it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    stack.callback(os.close, descriptor)
    return FileSource(descriptor)


@contextmanager
def output(path: Path, *, mode: int, replace: bool = True) -> Iterator[int]:
    """Yield a descriptor; the file appears at `path` whole and synced, or not at all.

    Args:
        path: the file's name.
        mode: its permissions, whatever the umask.
        replace: whether a file of that name may be replaced.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        try:
            yield descriptor
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename, it fails when the name is taken
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Progress]:
    """Show progress on standard error when it is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    with click.progressbar(length=total, label=label, file=sys.stderr) as bar:
        yield bar.update


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
