"""Messages between the control plane and its policy workers.

    frame   = length (4 bytes, big-endian, of what follows) || kind (1 byte) || body

One request is in flight at a time and each gets exactly one answer. Both ends are ours; the
worker's end may be taken over by a policy that breaks the engine, so the parent treats lengths
as hostile (`MAX_ANSWER_BYTES`) and bodies as outside data.
"""

from __future__ import annotations

import os
from enum import IntEnum, unique
from typing import Final

LENGTH_BYTES: Final = 4
MAX_ANSWER_BYTES: Final = 256 * 1024  # 100 reasons are about 30 KiB
_READ_AT_ONCE: Final = 16 * 1024  # Python allocates what is asked for; a request is about 4 KiB
MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024  # a bundle of 1 MiB in JSON, escapes included


@unique
class Ask(IntEnum):
    """Requests; the number is the kind byte."""

    LOAD = ord("L")  # JSON {entry, modules, data, root}: once, before anything else
    EVALUATE = ord("E")  # JSON {input, reference}
    INSPECT = ord("I")  # no body: what the loaded modules call and where they recurse
    MENTIONS = ord("M")  # no body: where the loaded modules say their package and `data`
    RULE = ord("R")  # path of one rule, evaluated on empty input: for test_ rules


@unique
class Answer(IntEnum):
    """Answers; the number is the kind byte."""

    HELLO = ord("h")  # JSON list of what could not be confined
    VALUE = ord("v")  # JSON
    UNDEFINED = ord("u")  # text: the names without a value
    ERROR = ord("e")  # text, from file:line:column on where the engine knows it


def pack(kind: int, body: bytes) -> bytes:
    """Return one frame."""
    return (len(body) + 1).to_bytes(LENGTH_BYTES, "big") + bytes((kind,)) + body


def receive(descriptor: int) -> tuple[int, bytes] | None:
    """Block until one whole frame is there; None when the other end closed before that.

    Used by the worker only: its peer is the control plane, which is trusted, and asks nothing more
    before it has its answer, so that what can be read belongs to one frame.
    """
    data = bytearray()
    size = LENGTH_BYTES
    while len(data) < size or size == LENGTH_BYTES:
        more = os.read(descriptor, max(_READ_AT_ONCE, size - len(data)))
        if not more:
            return None
        data += more
        if size == LENGTH_BYTES and len(data) >= size:
            size += int.from_bytes(data[:size], "big")
            if size == LENGTH_BYTES:
                return None
    return data[LENGTH_BYTES], bytes(data[LENGTH_BYTES + 1 :])


def send(descriptor: int, kind: int, body: bytes) -> None:
    """Write one whole frame, blocking."""
    view = memoryview(pack(kind, body))
    while view:
        view = view[os.write(descriptor, view) :]
