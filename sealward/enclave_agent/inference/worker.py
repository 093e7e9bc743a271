"""The worker process: one sealed model, no keys, no network, no files.

    python -m sealward.enclave_agent.inference.worker CONTROL_FD AGENT_PID

Numbered procedure; nothing of a model is touched before step 4.

1. the environment must forbid onnxruntime's telemetry (the PyPI wheel writes an event store and a
   device id at *import* and is built to upload them);
2. `isolation.confine`: no dump, no privileges, no sockets, no processes;
3. import onnxruntime, which starts threads and opens files; then `isolation.forbid_files`;
4. read the load order, build the session over the shared pages, answer with the signature and with
   what was applied;
5. answer one INFER frame with one RESULT or FAILED frame, until the agent closes the socket.

The agent trusts none of this: it checks every answer, and ends the process when it pleases.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.inference import frames, isolation, load_order
from sealward.enclave_agent.inference.frames import Kind, MalformedFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sealward.enclave_agent.inference.session import Session
    from sealward.verifier.wire.json import Canonical

TELEMETRY_SWITCH: Final = "ORT_DISABLE_TELEMETRY"
_READ_CHUNK: Final = 1 << 20
_MAX_REASON: Final = 500


class AgentGone(Exception):
    """The agent closed the socket: the worker has nothing left to do."""


class Channel:
    """Blocking frames over the inherited socket, with read and write only (no socket calls)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def receive(self) -> frames.Frame:
        """Return the next frame.

        Raises:
            AgentGone: the agent closed the socket.
            MalformedFrame: the agent speaks something else.
        """
        return frames.read(self._take)

    def send(self, kind: Kind, members: dict[str, Canonical], body: Sequence[bytes] = ()) -> None:
        """Write one frame whole."""
        for piece in frames.encode(kind, members, body):
            view = memoryview(piece)
            while view:
                view = view[os.write(self._fd, view) :]

    def _take(self, size: int) -> bytes:
        pieces = []
        while size:
            piece = os.read(self._fd, min(size, _READ_CHUNK))
            if not piece:
                raise AgentGone
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)


def main(arguments: list[str]) -> int:
    """Run the procedure above; return the exit status."""
    if os.environ.get(TELEMETRY_SWITCH) != "1":
        raise SystemExit(f"{TELEMETRY_SWITCH}=1 must be set before onnxruntime is imported")
    channel = Channel(int(arguments[1]))
    try:
        measures = isolation.confine(int(arguments[2]))
        # Imported here and not above: step 3 comes after step 2.
        from sealward.enclave_agent.inference import session as sessions  # noqa: PLC0415

        _rehearse()
        measures = (*measures, isolation.forbid_files())
        session, measures = _load(channel, sessions.open_session, measures)
    except AgentGone:
        return 0
    except Exception as error:  # noqa: BLE001 - whatever stops a load is its reason, told once
        _fail(channel, f"{type(error).__name__}: {error}")
        return 1
    _serve(channel, session)
    return 0


def _rehearse() -> None:
    """Use once what Python imports at first use (text codecs), while files can still be opened."""
    pieces = b"".join(frames.encode(Kind.FAILED, {"reason": "rehearsal"}))
    reader = io.BytesIO(pieces)
    frames.read(reader.read)


def _load(
    channel: Channel,
    open_session: Callable[[load_order.LoadOrder], Session],
    measures: tuple[isolation.Measure, ...],
) -> tuple[Session, tuple[isolation.Measure, ...]]:
    order = load_order.read(channel.receive())
    isolation.limit_private_memory(order.max_private_bytes)
    if isolation.overwrite_freed_heap(on=True):
        measures = (*measures, isolation.Measure.HEAP_OVERWRITTEN)
    session = open_session(order)
    isolation.overwrite_freed_heap(on=False)
    channel.send(
        Kind.LOADED,
        {
            **session.signature.to_frame(),
            "measures": [measure.value for measure in measures],
            "engine": session.engine,
        },
    )
    return session, measures


def _serve(channel: Channel, session: Session) -> None:
    while True:
        try:
            frame = channel.receive()
        except AgentGone:
            return
        if frame.kind is not Kind.INFER:
            raise MalformedFrame("only inference is expected now")
        wanted = frames.items(frame.members.get("outputs"), "outputs")
        names = tuple(frames.text(name, "output") for name in wanted)
        try:
            results = session.run(frames.tensors(frame), names)
        except Exception as error:  # noqa: BLE001 - onnxruntime raises many types; the model lives on
            _fail(channel, f"{type(error).__name__}: {error}")
            continue
        if not frames.fits(results):  # a caller's doing, and no reason to end the worker
            _fail(channel, "the outputs are larger than a frame")
            continue
        channel.send(
            Kind.RESULT,
            {"tensors": frames.describe(results)},
            [tensor.data for tensor in results],
        )


def _fail(channel: Channel, reason: str) -> None:
    channel.send(Kind.FAILED, {"reason": reason[:_MAX_REASON]})


if __name__ == "__main__":
    sys.exit(main(sys.argv))
