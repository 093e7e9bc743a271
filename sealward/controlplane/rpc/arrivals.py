"""Calls whose message is still on its way: how many may wait, and for how long.

gRPC begins a call with its headers, and would wait for the message of a unary call for ever. So a
stranger who sends headers alone must not take the place of one who has something to say: a call
waits for a few seconds at most, and when all places are taken, the call that has waited longest
gives its place to the next. An honest message follows its headers at once; to keep it out, somebody
has to begin calls faster than it travels.
"""

from __future__ import annotations

import asyncio
from typing import Final

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.rpc.peer import Context

MESSAGE_S: Final = 10.0  # 4 MiB at 3.5 Mbit/s; a challenge lives 30 s, evidence takes a few of them


class Arrivals:
    """Places in which the calls of one listener wait for their message; belongs to its loop.

    Args:
        most: calls that may wait at once.
        seconds: for which each may wait.
    """

    def __init__(self, *, most: int, seconds: float = MESSAGE_S) -> None:
        self._most = most
        self._seconds = seconds
        self._waiting: dict[asyncio.Timeout, None] = {}  # in the order of their arrival

    async def message(self, context: Context) -> bytes:
        """Return the first message of the call, as it came.

        Raises:
            Refused: `rate_limited` when it does not come in time, or others need the place;
                `invalid_request` when the caller ends the call without one.
        """
        self._make_room()
        try:
            async with asyncio.timeout(self._seconds) as place:
                self._waiting[place] = None
                try:
                    message = await context.read()
                finally:
                    self._waiting.pop(place, None)
        except TimeoutError:
            raise Refused(
                Code.rate_limited,
                "the message of this call did not come in time",
                "send it with the headers, or try again when fewer calls wait",
            ) from None
        if not isinstance(message, bytes):  # EOF
            raise Refused(Code.invalid_request, "the call brought no message")
        return message

    def _make_room(self) -> None:
        if len(self._waiting) >= self._most:
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            longest.reschedule(asyncio.get_running_loop().time())
