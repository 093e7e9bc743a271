"""A wire whose other end can vanish without a word: what sleep makes of every open connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 1 << 16


@dataclass
class Wire:
    """Forwards connections to a port of this machine.

    Attributes:
        port: where it listens.
        carried: how many connections there were.
    """

    to: int
    port: int = 0
    carried: int = 0
    _dead: set[int] = field(default_factory=set)
    _ends: list[asyncio.StreamWriter] = field(default_factory=list)

    def cut(self) -> None:
        """Let everything that is on a connection of before now vanish; close none of them."""
        self._dead.update(range(self.carried))

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.carried = self.carried, self.carried + 1
        there, here = await asyncio.open_connection("127.0.0.1", self.to)
        self._ends += (writer, here)
        await asyncio.gather(
            self._pass_on(number, reader, here), self._pass_on(number, there, writer)
        )

    async def close(self) -> None:
        """Close every connection, those that were cut included."""
        for end in self._ends:
            end.close()
            with suppress(OSError):
                await end.wait_closed()

    async def _pass_on(
        self, number: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):  # the other side closed first
            while data := await source.read(_CHUNK):
                if number not in self._dead:
                    sink.write(data)
                    await sink.drain()
        if number not in self._dead:
            sink.close()


@asynccontextmanager
async def wire(to: int) -> AsyncIterator[Wire]:
    """Open a wire to a port of this machine."""
    made = Wire(to)
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.close()
