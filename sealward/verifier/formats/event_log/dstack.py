"""The JSON log of dstack guests, read as a log of measurement registers.

    [ { "imr": 0 to 3, "event_type": u32, "digest": hex, "event": name, "event_payload": hex } ... ]

`imr` counts run-time registers, so imr 0 is register 1 of a CCEL. The digest is that of the
SHA-384 bank; runtime events (0x08000001) may leave it empty, for it follows from name and payload
(runtime.py). Payloads of firmware's events are mostly left out by the guest, and then describe
nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.event_log import runtime
from sealward.verifier.formats.event_log.log import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_LOG_BYTES,
    Digest,
    Event,
    Header,
    Log,
)
from sealward.verifier.formats.event_log.types import EventType
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Value

_WHAT: Final = "dstack event log"
_MEMBERS: Final = frozenset({"imr", "event_type", "digest", "event", "event_payload"})
_REGISTERS: Final = range(4)
_MAX_TYPE: Final = 0xFFFFFFFF
_MAX_DEPTH: Final = 2
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*")
_BANK: Final = HashAlg.SHA384
# There is no such record: it says which bank the events have.
_HEADER: Final = Header(
    register=1,
    platform_class=0,
    version=(2, 0, 0),
    uintn_size=2,
    algorithms=((int(_BANK), _BANK.size),),
    vendor_info=b"",
)


def looks_like(data: bytes) -> bool:
    """Whether it starts as a JSON array, as no log of the TCG's can (its first register is 0)."""
    return data.startswith(b"[")


def parse(data: bytes) -> Log:
    """Read a log.

    Raises:
        MalformedEvidence: not the array above, within the budgets of logs.
    """
    value = json.decode(data, what=_WHAT, max_bytes=MAX_LOG_BYTES, max_depth=_MAX_DEPTH)
    if not isinstance(value, list) or len(value) > MAX_EVENTS:
        raise MalformedEvidence(0, f"{_WHAT}: not an array of at most {MAX_EVENTS} events")
    return Log(_HEADER, tuple(_event(item) for item in value), (0, 0))


def _event(value: Value) -> Event:
    if not isinstance(value, dict) or value.keys() != _MEMBERS:
        raise _wrong("an event has not exactly the five members")
    register = _number(value["imr"], _REGISTERS[-1]) + 1
    kind = _number(value["event_type"], _MAX_TYPE)
    name = value["event"]
    if not isinstance(name, str):
        raise _wrong("a name is not text")
    payload, digest = _octets(value["event_payload"]), _octets(value["digest"])
    if len(payload) > MAX_EVENT_BYTES:
        raise _wrong(f"a payload of more than {MAX_EVENT_BYTES} bytes")
    if kind == EventType.DSTACK_RUNTIME:
        payload = runtime.preimage(name, payload)
        digest = digest or _BANK.digest(payload)
    if len(digest) != _BANK.size:
        raise _wrong(f"a digest is not {_BANK.size} bytes")
    return Event(register, kind, (Digest(_BANK, digest),), payload)


def _number(value: Value, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise _wrong(f"a number is not 0 to {most}")
    return value


def _octets(value: Value) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise _wrong("bytes are not lower-case hexadecimal")
    return bytes.fromhex(value)


def _wrong(what: str) -> MalformedEvidence:
    return MalformedEvidence(0, f"{_WHAT}: {what}")
