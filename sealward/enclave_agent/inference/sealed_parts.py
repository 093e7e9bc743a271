"""A sealed file and its content key as the parts a loader asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealward.sealing.container import Check, SealedModel
    from sealward.sealing.core import PartName


class SealedParts:
    """`PartSource` over an authenticated `SealedModel`.

    The content key stays the caller's, who wipes it once the model is open.
    """

    def __init__(
        self, sealed: SealedModel, content_key: bytearray, *, check: Check, threads: int
    ) -> None:
        self._sealed = sealed
        self._content_key = content_key
        self._check = check
        self._threads = threads

    def part_names(self) -> tuple[PartName, ...]:
        """See PartSource."""
        return tuple(part.name for part in self._sealed.parts)

    def part_length(self, name: PartName) -> int:
        """See PartSource."""
        return next(part.length for part in self._sealed.parts if part.name is name)

    def decrypt_into(self, name: PartName, dst: memoryview) -> None:
        """See PartSource. Raises sealing.errors.SealedModelError."""
        self._sealed.decrypt_part_into(
            self._content_key, name, dst, threads=self._threads, check=self._check
        )
