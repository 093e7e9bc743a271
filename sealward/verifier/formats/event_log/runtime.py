"""Events that software logs while the guest runs: what they say, as text.

    AAEL     of Confidential Containers: EV_EVENT_TAG with the identifier "LEAA" (4141454C), a size,
             and "domain operation content" in UTF-8; the digest is that of all this;
    dstack   type 0x08000001: the digest is that of type (little-endian), ":", name, ":", payload;
             this preimage is the event's data here (dstack.py).

Whoever controls the guest can extend any such event; that it was extended is all there is to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.event_log.types import EventType
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from sealward.verifier.formats.event_log.log import Event

_AAEL: Final = b"LEAA"
_TYPE_SIZE: Final = 4


def text(event: Event) -> tuple[str, bool] | None:
    """Return what a runtime event says and whether this is all of it exactly; None for others.

    An AAEL entry comes as it is; one of dstack as its name, a space and its payload in hexadecimal.
    """
    if event.type == EventType.EVENT_TAG and event.data.startswith(_AAEL):
        return _aael(event.data)
    if event.type == EventType.DSTACK_RUNTIME:
        return _dstack(event.data)
    return None


def readable(data: bytes) -> tuple[str, bool]:
    r"""Return text, and True where it is UTF-8; else with \x.. for what is not, and False."""
    try:
        return data.decode("utf-8"), True
    except UnicodeDecodeError:
        return data.decode("utf-8", "backslashreplace"), False


def preimage(name: str, payload: bytes) -> bytes:
    """Return what dstack hashes."""
    head = int(EventType.DSTACK_RUNTIME).to_bytes(_TYPE_SIZE, "little")
    return head + b":" + name.encode("utf-8") + b":" + payload


def _aael(data: bytes) -> tuple[str, bool] | None:
    reader = Reader(data)
    what = "AAEL"
    try:
        reader.take(len(_AAEL), what)
        entry = reader.take(reader.le(4, what), what)
        reader.finish()
    except MalformedEvidence:
        return None  # another tag that happens to have these four bytes
    return readable(entry)


def _dstack(data: bytes) -> tuple[str, bool] | None:
    """Split at the first colon: a name that holds one reads as another, shorter name."""
    _, _, rest = data.partition(b":")
    name, colon, payload = rest.partition(b":")
    if not colon:
        return None
    shown, exact = readable(name)
    return f"{shown} {payload.hex()}", exact
