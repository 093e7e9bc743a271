"""Our payloads of TDX and SGX evidence, deterministic CBOR.

    tdx-evidence = { 1: quote, 2: event log / null }      application/vnd.sealward.tdx-evidence+cbor
    sgx-evidence = { 1: quote }                           application/vnd.sealward.sgx-evidence+cbor

Collateral does not travel with evidence: whoever verifies has its own, and never goes back to an
older issue because an attester would like that. Specification: docs/specs/evidence-envelope.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sealward.verifier.formats.dcap.quote import MAX_QUOTE_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor

MAX_LOG_BYTES: Final = 128 * 1024  # what CCEL areas of real guests hold is 20 to 60 KiB

_QUOTE: Final = 1
_EVENT_LOG: Final = 2
_MAX_BYTES: Final = MAX_QUOTE_BYTES + MAX_LOG_BYTES + 64  # 64: CBOR heads


@dataclass(frozen=True, slots=True)
class Evidence:
    """A quote and what came with it; nothing is verified.

    Attributes:
        quote: as the guest got it, padding included.
        event_log: the CCEL area, not parsed; None for SGX, and where none came.
    """

    quote: bytes = field(repr=False)
    event_log: bytes | None = field(default=None, repr=False)


def encode_tdx(evidence: Evidence) -> bytes:
    """Return the payload of a TD's evidence."""
    return cbor.encode({_QUOTE: evidence.quote, _EVENT_LOG: evidence.event_log})


def encode_sgx(evidence: Evidence) -> bytes:
    """Return the payload of an enclave's evidence."""
    return cbor.encode({_QUOTE: evidence.quote})


def parse_tdx(payload: bytes) -> Evidence:
    """Read the payload of a TD; what the byte strings hold is not looked at.

    Raises:
        MalformedEvidence: not the map above, or beyond the sizes of its parts.
    """
    value = _members(payload, "TDX evidence", {_QUOTE, _EVENT_LOG})
    log = value[_EVENT_LOG]
    if log is not None and (not isinstance(log, bytes) or not 0 < len(log) <= MAX_LOG_BYTES):
        raise MalformedEvidence(0, "TDX evidence: an event log is a byte string of bounded size")
    return Evidence(_quote(value, "TDX evidence"), log)


def parse_sgx(payload: bytes) -> Evidence:
    """Read the payload of an enclave, as `parse_tdx` does."""
    value = _members(payload, "SGX evidence", {_QUOTE})
    return Evidence(_quote(value, "SGX evidence"))


def _members(payload: bytes, what: str, names: set[int]) -> dict[int, cbor.Value]:
    value = cbor.decode(payload, what=what, max_bytes=_MAX_BYTES)
    if not isinstance(value, dict) or value.keys() != names:
        listed = " and ".join(str(name) for name in sorted(names))
        raise MalformedEvidence(0, f"{what}: not a map of exactly {listed}")
    return {name: value[name] for name in names}


def _quote(value: dict[int, cbor.Value], what: str) -> bytes:
    quote = value[_QUOTE]
    if not isinstance(quote, bytes) or not 0 < len(quote) <= MAX_QUOTE_BYTES:
        raise MalformedEvidence(0, f"{what}: a quote is a byte string of bounded size")
    return quote
