"""The driver's libnvidia-ml.so.1, below the real nvidia-ml-py: C functions, to C's calls.

Their structures are written here again, from nvml.h, so a wrong layout above them would be seen.
The GPUs sign SPDM measurements under a test root, as evidence-formats section 10 describes them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from types import SimpleNamespace

import pynvml
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SIGNATURE_SIZE = 96
SETTINGS_V1 = 0x1000014
SUCCESS, UNINITIALIZED, INVALID_ARGUMENT = 0, 1, 2
VERSION_MISMATCH = 25
_HANDLES = 0x1000  # a handle is a number that means something to the driver only


@dataclass(frozen=True)
class Gpu:
    """One GPU: its key and its chain in PEM, leaf first."""

    key: ec.EllipticCurvePrivateKey
    chain: bytes

    def report(self, nonce: bytes) -> bytes:
        """The request for all measurements and the signed answer, as the driver gives them."""
        request = bytes.fromhex("11e001ff") + nonce + b"\0"
        blocks = b"".join(
            bytes((index, 1)) + b"\x33\0\1\x30\0" + bytes((index,)) * 48 for index in range(1, 65)
        )
        answer = bytes.fromhex("11600000") + b"\x40" + len(blocks).to_bytes(3, "little") + blocks
        opaque = b"\3\0\x06\x00" + b"550.90"
        answer += b"\x5c" * 32 + len(opaque).to_bytes(2, "little") + opaque
        der = self.key.sign(request + answer, ec.ECDSA(hashes.SHA384()))
        numbers = (number.to_bytes(48, "big") for number in decode_dss_signature(der))
        return request + answer + b"".join(numbers)


@cache
def gpu(number: int) -> Gpu:
    """The GPU of this number; each has its own key under the same test root."""
    leaf = ec.generate_private_key(ec.SECP384R1())
    chain = _certificate(f"GPU {number}", leaf) + _certificate("test root", _root())
    return Gpu(leaf, chain)


@cache
def _root() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def _certificate(subject: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    builder = x509.CertificateBuilder(
        issuer_name=_name("test root"),
        subject_name=_name(subject),
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=NOW - timedelta(days=1),
        not_valid_after=NOW + timedelta(days=6),
    )
    return builder.sign(_root(), hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class State(ctypes.Structure):
    """nvmlConfComputeSystemState_t."""

    _fields_ = (
        ("environment", ctypes.c_uint),
        ("feature", ctypes.c_uint),
        ("dev_tools", ctypes.c_uint),
    )


class Settings(ctypes.Structure):
    """nvmlSystemConfComputeSettings_v1_t."""

    _fields_ = (
        ("version", ctypes.c_uint),
        ("environment", ctypes.c_uint),
        ("feature", ctypes.c_uint),
        ("dev_tools", ctypes.c_uint),
        ("multi_gpu", ctypes.c_uint),
    )


class Report(ctypes.Structure):
    """nvmlConfComputeGpuAttestationReport_t."""

    _fields_ = (
        ("cec_present", ctypes.c_uint),
        ("size", ctypes.c_uint),
        ("cec_size", ctypes.c_uint),
        ("nonce", ctypes.c_uint8 * 0x20),
        ("content", ctypes.c_uint8 * 0x2000),
        ("cec_content", ctypes.c_uint8 * 0x1000),
    )


class Certificates(ctypes.Structure):
    """nvmlConfComputeGpuCertificate_t."""

    _fields_ = (
        ("size", ctypes.c_uint),
        ("attestation_size", ctypes.c_uint),
        ("content", ctypes.c_uint8 * 0x1000),
        ("attestation_content", ctypes.c_uint8 * 0x1400),
    )


@dataclass
class FakeDriver:
    """What the driver is and does.

    Attributes:
        gpus: how many.
        cc: confidential-computing mode.
        protected_pcie: the mode for a whole board; None is a driver that does not know of it.
        fails: status of a function, by its name, for ever.
        busy: statuses that the functions for evidence give first.
        change: what is reported, for what the GPU said.
        size: what is said of the report's size, if not the truth; `chain_size` of the chain's.
        sessions: how often it is initialised just now.
        asked: nonces, in order.
    """

    gpus: int = 1
    cc: bool = True
    protected_pcie: bool | None = False
    fails: dict[str, int] = field(default_factory=dict)
    busy: list[int] = field(default_factory=list)
    change: Callable[[bytes], bytes] = lambda report: report
    size: int | None = None
    chain_size: int | None = None
    sessions: int = 0
    asked: list[bytes] = field(default_factory=list)

    def library(self) -> SimpleNamespace:
        """The functions, as C calls them: numbers and addresses in, a status out."""
        number, address = ctypes.c_uint, ctypes.c_void_p
        known: dict[str, tuple[Callable[..., int], tuple[type, ...]]] = {
            "nvmlInitWithFlags": (self._init, (number,)),
            "nvmlShutdown": (self._shutdown, ()),
            "nvmlDeviceGetCount_v2": (self._count, (address,)),
            "nvmlDeviceGetHandleByIndex_v2": (self._handle, (number, address)),
            "nvmlSystemGetConfComputeState": (self._state, (address,)),
            "nvmlDeviceGetConfComputeGpuAttestationReport": (self._report, (address, address)),
            "nvmlDeviceGetConfComputeGpuCertificate": (self._certificates, (address, address)),
        }
        if self.protected_pcie is not None:
            known["nvmlSystemGetConfComputeSettings"] = (self._settings, (address,))
        functions = {
            name: ctypes.CFUNCTYPE(ctypes.c_int, *types)(partial(self._call, name, function))
            for name, (function, types) in known.items()
        }
        return SimpleNamespace(**functions)

    def _call(self, name: str, function: Callable[..., int], *arguments: int) -> int:
        if name in self.fails:
            return self.fails[name]
        if not self.sessions and name != "nvmlInitWithFlags":
            return UNINITIALIZED
        return function(*arguments)

    def _init(self, flags: int) -> int:
        self.sessions += 1
        return INVALID_ARGUMENT if flags else SUCCESS

    def _shutdown(self) -> int:
        self.sessions -= 1
        return SUCCESS

    def _count(self, count: int) -> int:
        ctypes.c_uint.from_address(count).value = self.gpus
        return SUCCESS

    def _handle(self, index: int, device: int) -> int:
        if index >= self.gpus:
            return INVALID_ARGUMENT
        ctypes.c_void_p.from_address(device).value = _HANDLES + index
        return SUCCESS

    def _state(self, state: int) -> int:
        into = State.from_address(state)
        into.environment, into.feature = 2, self.cc
        return SUCCESS

    def _settings(self, settings: int) -> int:
        into = Settings.from_address(settings)
        if into.version != SETTINGS_V1:
            return VERSION_MISMATCH
        into.multi_gpu = bool(self.protected_pcie)
        return SUCCESS

    def _report(self, device: int, report: int) -> int:
        if self.busy:
            return self.busy.pop(0)
        into = Report.from_address(report)
        nonce = bytes(into.nonce)
        self.asked.append(nonce)
        made = self.change(gpu(device - _HANDLES).report(nonce))
        ctypes.memmove(into.content, made, len(made))
        into.size = len(made) if self.size is None else self.size
        return SUCCESS

    def _certificates(self, device: int, certificates: int) -> int:
        if self.busy:
            return self.busy.pop(0)
        into, chain = Certificates.from_address(certificates), gpu(device - _HANDLES).chain
        ctypes.memmove(into.attestation_content, chain, len(chain))
        into.attestation_size = len(chain) if self.chain_size is None else self.chain_size
        return SUCCESS


def install(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver) -> None:
    """Let nvidia-ml-py find this driver where it would have loaded the machine's."""
    monkeypatch.setattr(pynvml, "nvmlLib", driver.library())
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
