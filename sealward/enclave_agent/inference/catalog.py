"""Which model versions this node has, and what state each is in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sealward.enclave_agent.inference.signature import Signature
    from sealward.enclave_agent.inference.tensors import Tensor


@unique
class ModelState(StrEnum):
    """States of the protocol's repository index."""

    LOADING = "LOADING"
    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"


class ServedModel(Protocol):
    """What the server needs of a model; `SealedModelHandle` is one."""

    @property
    def signature(self) -> Signature:
        """Inputs and outputs."""
        ...

    @property
    def unavailable_because(self) -> str | None:
        """Why it does not serve, or None while it does."""
        ...

    async def infer(
        self, inputs: tuple[Tensor, ...], outputs: tuple[str, ...] = ()
    ) -> tuple[Tensor, ...]:
        """Run it. Raises InferenceError."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One model version.

    Attributes:
        name, version: which.
        model: the model, or None while it loads or when it could not be loaded.
        problem: why there is no model; empty while it loads.
    """

    name: str
    version: int
    model: ServedModel | None = None
    problem: str = ""

    @property
    def reason(self) -> str:
        """Why it does not serve; empty when it serves or loads."""
        if self.model is None:
            return self.problem
        return self.model.unavailable_because or ""

    @property
    def state(self) -> ModelState:
        """Asked of the model each time: a worker may end by itself."""
        if self.reason:
            return ModelState.UNAVAILABLE
        return ModelState.LOADING if self.model is None else ModelState.READY


class Catalog:
    """The versions known to this node. An entry stays, with its reason, until it is forgotten."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, int], Entry] = {}

    def put(self, entry: Entry) -> None:
        """Add or replace one version."""
        self._entries[entry.name, entry.version] = entry

    def forget(self, name: str, version: int) -> None:
        """Drop one version; it is unknown from now on."""
        self._entries.pop((name, version), None)

    def index(self) -> tuple[Entry, ...]:
        """Return all entries by name and version."""
        return tuple(self._entries[key] for key in sorted(self._entries))

    def versions(self, name: str) -> tuple[Entry, ...]:
        """Return the entries of one model, oldest version first."""
        return tuple(entry for entry in self.index() if entry.name == name)

    def find(self, name: str, version: str | None) -> Entry | None:
        """Return that version; without one the newest that is ready, else the newest."""
        entries = self.versions(name)
        if version is not None:
            return next((entry for entry in entries if str(entry.version) == version), None)
        ready = [entry for entry in entries if entry.state is ModelState.READY]
        return next(reversed(ready or list(entries)), None)
