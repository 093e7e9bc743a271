"""The model host of a real agent: sealed files in a folder, one confined worker for each.

A file is chosen by the digest that signed terms name, never by its own name: whoever can write to
the folder can withhold a model, not replace it.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sealward.enclave_agent.inference import loader
from sealward.enclave_agent.inference.loader import ModelRefused
from sealward.enclave_agent.inference.sealed_parts import SealedParts
from sealward.enclave_agent.inference.worker_client import (
    ModelIdentity,
    SealedModelHandle,
    WorkerLimits,
)
from sealward.enclave_agent.models import ModelUnusable
from sealward.protos.terms import ModelTerms
from sealward.sealing.container import Check, SealedModel
from sealward.sealing.errors import SealedModelError
from sealward.sealing.source import FileSource

MAX_FILES: Final = 1024  # headers looked at for one model; a folder with more is a mistake


class SealedModelHost:
    """Opens models from a folder of sealed files."""

    def __init__(self, folder: Path, *, tenant: str, limits: WorkerLimits, threads: int) -> None:
        """Take the folder, this node's tenant, and what one worker and one decryption may take."""
        self._folder: Final = folder
        self._tenant: Final = tenant
        self._limits: Final = limits
        self._threads: Final = threads

    async def open(self, model: ModelTerms, content_key: bytearray) -> SealedModelHandle:
        """See `ModelHost`."""
        path = await asyncio.to_thread(self._find, model)
        try:
            with _opened(path) as source:
                sealed = await asyncio.to_thread(self._authenticate, source, model)
                parts = SealedParts(sealed, content_key, check=Check.FULL, threads=self._threads)
                identity = ModelIdentity(model.name, model.version, model.content_key_id)
                return await loader.open_model(identity, parts, limits=self._limits)
        except (SealedModelError, ModelRefused, OSError) as error:
            raise ModelUnusable(f"{path.name}: {error}") from error

    def _find(self, model: ModelTerms) -> Path:
        """Return the file whose header has the digest that the terms name."""
        for path in self._files():
            try:
                with _opened(path) as source:
                    if SealedModel.open(source).header_digest == model.header_digest:
                        return path
            except (SealedModelError, OSError):
                continue  # another kind of file, or one that is still being copied
        raise ModelUnusable(
            f"no sealed file in the models folder has the header digest "
            f"{model.header_digest.hex()}; copy {model.name} version {model.version} there"
        )

    def _files(self) -> list[Path]:
        try:
            paths = sorted(path for path in self._folder.iterdir() if not path.is_symlink())
        except OSError as error:
            raise ModelUnusable(f"the models folder cannot be read: {error.strerror}") from error
        if len(paths) > MAX_FILES:
            raise ModelUnusable(f"the models folder holds more than {MAX_FILES} files")
        return paths

    def _authenticate(self, source: FileSource, model: ModelTerms) -> SealedModel:
        """Check everything the terms say about the file before anything is decrypted."""
        sealed = SealedModel.open(source)
        sealed.accept_header_digest(model.header_digest)
        core = sealed.header.core
        if sealed.core_digest != model.core_digest:
            raise ModelUnusable("its core is not the one that the terms name")
        if (core.model, core.version) != (model.name, model.version):
            raise ModelUnusable("its name or version is not the one that the terms name")
        if core.version < model.min_version:
            raise ModelUnusable(f"versions below {model.min_version} may not be served")
        if core.tenant != self._tenant:
            raise ModelUnusable("it belongs to another tenant")
        return sealed


@contextmanager
def _opened(path: Path) -> Iterator[FileSource]:
    """Open a regular file without following a link, and without blocking on a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a regular file")
        yield FileSource(descriptor)
    finally:
        os.close(descriptor)
