"""The SGX extension of a PCK certificate (Intel SGX PCK certificate specification, section 1.3.5).

A SEQUENCE of {OID, value}, in the order of the specification; one that names a platform instance
comes from the Platform CA, one that does not from the Processor CA.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import der

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.verifier.pki.certificate import Certificate

OID: Final = "1.2.840.113741.1.13.1"
COMPONENTS: Final = 16

_MAX_BYTES: Final = 2048  # real ones have 550
_MAX_COMPONENT: Final = 255
_MAX_PCESVN: Final = 0xFFFF
_MAX_SVN_BYTES: Final = 3  # 65,535 as a positive INTEGER
_ENUMERATED: Final = 0x0A
_SGX_TYPES: Final = (0, 1, 2)  # standard, scalable, scalable with integrity
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pck:
    """What a PCK certificate says of its platform.

    Attributes:
        ppid: 16 bytes, the platform's (of one processor).
        components: the 16 SVNs of the SGX TCB that this key was made for.
        pcesvn: of the provisioning enclave.
        cpusvn: 16 bytes, the raw form of the components.
        pceid: 2 bytes.
        fmspc: 6 bytes: family, model, stepping and platform type.
        sgx_type: 0 standard, 1 scalable, 2 scalable with integrity.
        platform_instance_id: 16 bytes, of a whole multi-processor platform; None from the
            Processor CA, as the three flags are.
        dynamic_platform, cached_keys, smt_enabled: configuration of the platform.
    """

    ppid: bytes
    components: tuple[int, ...]
    pcesvn: int
    cpusvn: bytes
    pceid: bytes
    fmspc: bytes
    sgx_type: int
    platform_instance_id: bytes | None = None
    dynamic_platform: bool | None = None
    cached_keys: bool | None = None
    smt_enabled: bool | None = None


def is_pck(certificate: Certificate) -> bool:
    """Whether a certificate presents itself as a PCK."""
    return certificate.extension(OID) is not None


def parse(certificate: Certificate) -> Pck:
    """Read the extension of a PCK certificate.

    Raises:
        MalformedEvidence: it is missing, or not what the specification says.
    """
    extension = certificate.extension(OID)
    if extension is None:
        raise MalformedEvidence(0, "PCK certificate: the SGX extension is missing")
    outer = der.read(extension.value, what="PCK extension", max_bytes=_MAX_BYTES)
    body = outer.enter("PCK extension")
    outer.finish()
    ppid = _octets(body, "1", 16)
    components, pcesvn, cpusvn = _member(body, "2", _tcb)
    pceid = _octets(body, "3", 2)
    fmspc = _octets(body, "4", 6)
    sgx_type = _member(body, "5", _sgx_type)
    if body.empty:
        return Pck(
            ppid=ppid,
            components=components,
            pcesvn=pcesvn,
            cpusvn=cpusvn,
            pceid=pceid,
            fmspc=fmspc,
            sgx_type=sgx_type,
        )
    instance = _octets(body, "6", 16)
    dynamic, cached, smt = _member(body, "7", _configuration)
    body.finish()
    return Pck(
        ppid=ppid,
        components=components,
        pcesvn=pcesvn,
        cpusvn=cpusvn,
        pceid=pceid,
        fmspc=fmspc,
        sgx_type=sgx_type,
        platform_instance_id=instance,
        dynamic_platform=dynamic,
        cached_keys=cached,
        smt_enabled=smt,
    )


def _member(body: der.DerReader, suffix: str, read: Callable[[der.DerReader, str], _T]) -> _T:
    """Read one {OID, value} whose OID ends in `suffix`."""
    what = f"PCK extension .{suffix}"
    at = body.offset
    pair = body.enter(what)
    if pair.oid(what) != f"{OID}.{suffix}":
        raise MalformedEvidence(at, f"{what}: another member stands in its place")
    value = read(pair, what)
    pair.finish()
    return value


def _octets(body: der.DerReader, suffix: str, size: int) -> bytes:
    def read(pair: der.DerReader, what: str) -> bytes:
        element = pair.element(what, der.OCTET_STRING)
        if len(element.content) != size:
            raise MalformedEvidence(element.offset, f"{what}: not {size} bytes")
        return element.content

    return _member(body, suffix, read)


def _svn(limit: int) -> Callable[[der.DerReader, str], int]:
    def read(pair: der.DerReader, what: str) -> int:
        at = pair.offset
        value = pair.integer(what, max_bytes=_MAX_SVN_BYTES)
        if not 0 <= value <= limit:
            raise MalformedEvidence(at, f"{what}: {value} is not 0 to {limit}")
        return value

    return read


def _tcb(pair: der.DerReader, what: str) -> tuple[tuple[int, ...], int, bytes]:
    body = pair.enter(what)
    components = tuple(
        _member(body, f"2.{number}", _svn(_MAX_COMPONENT)) for number in range(1, COMPONENTS + 1)
    )
    pcesvn = _member(body, f"2.{COMPONENTS + 1}", _svn(_MAX_PCESVN))
    cpusvn = _octets(body, f"2.{COMPONENTS + 2}", 16)
    body.finish()
    return components, pcesvn, cpusvn


def _sgx_type(pair: der.DerReader, what: str) -> int:
    element = pair.element(what, _ENUMERATED)
    value = int.from_bytes(element.content, "big")
    if len(element.content) != 1 or value not in _SGX_TYPES:
        raise MalformedEvidence(element.offset, f"{what}: not a type of SGX that is known")
    return value


def _configuration(pair: der.DerReader, what: str) -> tuple[bool, bool, bool]:
    body = pair.enter(what)
    flags = tuple(
        _member(body, f"7.{number}", lambda inner, name: inner.boolean(name))
        for number in (1, 2, 3)
    )
    body.finish()
    dynamic, cached, smt = flags
    return dynamic, cached, smt
