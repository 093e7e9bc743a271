"""GPUs as NVIDIA's management library (NVML) shows them, through its Python module nvidia-ml-py.

The module is an extra (`nvidia`) and is imported by name when somebody asks: an agent without GPUs
needs neither it nor the driver's libnvidia-ml.so.1, which the module loads at its first call. It
turns status codes into exceptions that carry them as `value`.
"""

from __future__ import annotations

import ctypes
import importlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MODULE: Final = "pynvml"
MAX_GPUS: Final = 8  # of one board; with the machine's evidence they fit into one envelope
NONCE_SIZE: Final = 32
ATTEMPTS: Final = 4
FIRST_PAUSE_S: Final = 0.5  # doubles: 3.5 s in all

_SUCCESS: Final = 0
_PROTECTED_PCIE: Final = 1  # NVML_CC_SYSTEM_MULTIGPU_PROTECTED_PCIE

# nvml.h, nvmlReturn_t: those after which the same call may succeed, and those with a remedy.
_RETRY: Final = frozenset({10, 19, 27})  # timeout, in use, not ready
_MEANINGS: Final = MappingProxyType(
    {
        3: "the GPU or its driver does not have confidential computing (it takes a Hopper GPU or a "
        "newer one and a driver made for it)",
        4: "this user may not ask the driver (open /dev/nvidiactl and /dev/nvidia0 ... to it)",
        9: "NVIDIA's driver is not loaded (`modprobe nvidia`)",
        10: "the driver did not answer in time",
        12: "there is no libnvidia-ml.so.1 (install NVIDIA's driver in this VM)",
        13: "NVIDIA's driver is too old to attest GPUs (update it)",
        15: "a GPU fell off its bus (restart the VM)",
        16: "a GPU needs a reset",
        18: "NVIDIA's driver was updated while it ran (restart the VM)",
        19: "a GPU is in use by another caller",
        27: "a GPU is not ready",
    }
)

T = TypeVar("T")


class Obstacle(Exception):
    """Why GPUs cannot be asked; the message is a clause."""


@dataclass(frozen=True, slots=True)
class Nvml:
    """The functions of nvidia-ml-py that are used; they return its ctypes structures.

    Attributes:
        error: what they raise.
        settings: makes the structure that `ask_settings` fills by reference, returning a status
            where all others raise; both None in releases that do not know of them.
    """

    error: type[Exception]
    start: Callable[[], object]
    stop: Callable[[], object]
    count: Callable[[], int]
    device: Callable[[int], object]
    state: Callable[[], Any]
    report: Callable[[object, bytes], Any]
    certificates: Callable[[object], Any]
    settings: Callable[[], Any] | None
    ask_settings: Callable[[Any], int] | None


_NAMES: Final = MappingProxyType(
    {
        "error": "NVMLError",
        "start": "nvmlInit",
        "stop": "nvmlShutdown",
        "count": "nvmlDeviceGetCount",
        "device": "nvmlDeviceGetHandleByIndex",
        "state": "nvmlSystemGetConfComputeState",
        "report": "nvmlDeviceGetConfComputeGpuAttestationReport",
        "certificates": "nvmlDeviceGetConfComputeGpuCertificate",
    }
)
_OPTIONAL: Final = MappingProxyType(
    {
        "settings": "c_nvmlSystemConfComputeSettings_v1_t",
        "ask_settings": "nvmlSystemGetConfComputeSettings",
    }
)


@dataclass(frozen=True, slots=True)
class GpuEvidence:
    """What one GPU gave.

    Attributes:
        report: SPDM request and its answer, signed by the GPU.
        chain: certificates of its key, in PEM, leaf first.
    """

    report: bytes = field(repr=False)
    chain: bytes = field(repr=False)


class Gpus:
    """All GPUs of this machine."""

    def __init__(self, load: Callable[[], Nvml], *, sleep: Callable[[float], None]) -> None:
        """`load` gives the library, or raises Obstacle; `sleep` waits for a GPU that is busy."""
        self._load: Final = load
        self._sleep: Final = sleep

    def count(self) -> int:
        """Return how many GPUs can be asked for evidence: at least one.

        Raises:
            Obstacle: none can.
        """
        with _session(self._load()) as nvml:
            return _count(nvml)

    def collect(self, nonce: bytes) -> tuple[GpuEvidence, ...]:
        """Return evidence of every GPU that carries `nonce` (32 bytes), in the driver's order.

        Raises:
            AttesterUnavailable: a GPU gives none: some of a machine's GPUs are not its GPUs.
        """
        try:
            with _session(self._load()) as nvml:
                return tuple(self._of(nvml, index, nonce) for index in range(_count(nvml)))
        except Obstacle as error:
            raise AttesterUnavailable(f"No NVIDIA evidence: {error}.") from error

    def _of(self, nvml: Nvml, index: int, nonce: bytes) -> GpuEvidence:
        device = nvml.device(index)
        report = self._patiently(nvml, lambda: nvml.report(device, nonce))
        chain = self._patiently(nvml, lambda: nvml.certificates(device))
        try:
            found = GpuEvidence(
                _filled(report.attestationReport, report.attestationReportSize, "report"),
                _filled(chain.attestationCertChain, chain.attestationCertChainSize, "certificates"),
            )
        except MalformedEvidence as error:
            raise Obstacle(f"what GPU {index} gave cannot be read: {error}") from error
        if nonce not in found.report:
            raise Obstacle(f"GPU {index} answered another request")
        return found

    def _patiently(self, nvml: Nvml, ask: Callable[[], T]) -> T:
        """Return what `ask` gives, asking again while the GPU is only busy."""
        pause = FIRST_PAUSE_S
        for _ in range(ATTEMPTS - 1):
            try:
                return ask()
            except nvml.error as error:
                if _status(error) not in _RETRY:
                    raise
            self._sleep(pause)
            pause *= 2
        return ask()


def installed() -> Nvml:
    """Return the library that is installed.

    Raises:
        Obstacle: there is none, or it is too old.
    """
    try:
        module = importlib.import_module(MODULE)
    except ImportError as error:
        raise Obstacle("nvidia-ml-py is not installed (`pip install nvidia-ml-py`)") from error
    if missing := [name for name in _NAMES.values() if not hasattr(module, name)]:
        raise Obstacle(
            f"the installed module {MODULE} has no {missing[0]} "
            "(`pip install -U nvidia-ml-py`, and remove the package pynvml)"
        )
    functions: dict[str, Any] = {role: getattr(module, name) for role, name in _NAMES.items()}
    functions |= {role: getattr(module, name, None) for role, name in _OPTIONAL.items()}
    return Nvml(**functions)


@contextmanager
def _session(nvml: Nvml) -> Iterator[Nvml]:
    """Hold the library ready; its refusals become obstacles."""
    try:
        nvml.start()
        try:
            yield nvml
        finally:
            nvml.stop()
    except nvml.error as error:
        raise Obstacle(_meaning(_status(error))) from error


def _count(nvml: Nvml) -> int:
    count = nvml.count()
    if count < 1:
        raise Obstacle("this machine has no NVIDIA GPU")
    if count > MAX_GPUS:
        raise Obstacle(f"this machine has {count} GPUs, and {MAX_GPUS} are the most that are sent")
    if not nvml.state().ccFeature and not _is_protected_pcie(nvml):
        raise Obstacle(
            "the GPUs are not in confidential-computing mode (the host switches it on, with "
            "NVIDIA's gpu-admin-tools, while the VM is off)"
        )
    return count


def _is_protected_pcie(nvml: Nvml) -> bool:
    """Tell whether a whole board, GPUs and switches, is given to this VM in protected PCIe mode.

    Libraries and drivers that do not know the mode do not have it.
    """
    if nvml.settings is None or nvml.ask_settings is None:
        return False
    settings = nvml.settings()
    try:
        status = nvml.ask_settings(ctypes.byref(settings))
    except nvml.error:
        return False
    return bool(status == _SUCCESS and settings.multiGpuMode == _PROTECTED_PCIE)


def _filled(buffer: Sequence[int], size: int, what: str) -> bytes:
    """Return as much of a structure's buffer as the driver says it has filled."""
    reader = Reader(bytes(buffer))
    if not size:
        raise reader.malformed(f"{what}: empty")
    return reader.take(size, what)


def _status(error: Exception) -> int | None:
    value: object = getattr(error, "value", None)
    return value if isinstance(value, int) else None


def _meaning(status: int | None) -> str:
    if status is None:
        return "NVIDIA's library failed without a status"
    return _MEANINGS.get(status, f"NVIDIA's library gives status {status} (nvml.h, nvmlReturn_t)")
