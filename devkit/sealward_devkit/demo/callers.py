"""Callers of a node's inference endpoint: one call, and a stream that notices the first no."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, cast

import httpx
import numpy as np
import numpy.typing as npt

from sealward_devkit.demo.stage import require

MODEL: Final = "magika"
_HALF: Final = 1024  # magika reads the first and the last 1,024 bytes
_PADDING: Final = 256
_PAUSE_S: Final = 0.005


def model_file() -> Path:
    """Return the real ONNX model that the magika wheel carries."""
    return Path(str(resources.files("magika") / "models" / "standard_v3_3" / "model.onnx"))


def labels() -> list[str]:
    """Return the model's labels in the order of its output."""
    path = model_file().with_name("config.min.json")
    config = json.loads(path.read_text())  # noqa: TID251 - a file of an installed package
    return cast("list[str]", config["target_labels_space"])


def features(content: bytes) -> npt.NDArray[np.int32]:
    """Return magika's input int32[1, 2048] for a file's content."""
    stripped = content.strip()
    row = np.full((1, 2 * _HALF), _PADDING, np.int32)
    first, last = stripped[:_HALF], stripped[-_HALF:]
    row[0, : len(first)] = np.frombuffer(first, np.uint8)
    row[0, 2 * _HALF - len(last) :] = np.frombuffer(last, np.uint8)
    return row


@dataclass(slots=True)
class Caller:
    """A client with a workload-scoped token.

    Attributes:
        port: the node's inference port on loopback.
        token: the bearer token.
    """

    port: int
    token: str
    _client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=10,
        )

    def ask(self, row: npt.NDArray[np.int32]) -> httpx.Response:
        """Send one Open Inference Protocol request."""
        tensor = {
            "name": "bytes",
            "shape": list(row.shape),
            "datatype": "INT32",
            "data": row.ravel().tolist(),
        }
        return self._client.post(f"/v2/models/{MODEL}/infer", json={"inputs": [tensor]})

    def infer(self, row: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Return the model's answer float32[1, n]."""
        response = self.ask(row)
        require(response.status_code == httpx.codes.OK, f"inference refused: {response.text}")
        output = response.json()["outputs"][0]
        return np.array(output["data"], np.float32).reshape(output["shape"])


@dataclass(slots=True)
class Stream:
    """Calls one after another from a thread until the first refusal, or until it is stopped.

    Attributes:
        caller: who calls.
        row: with what.
        last_answer: when the last answer arrived, seconds of the monotonic clock.
        refused: when the first refusal arrived, or None.
        refusal: its body.
    """

    caller: Caller
    row: npt.NDArray[np.int32]
    last_answer: float = 0.0
    refused: float | None = None
    refusal: dict[str, str] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            response = self.caller.ask(self.row)
            now = time.monotonic()
            if response.status_code != httpx.codes.OK:
                self.refused, self.refusal = now, response.json()
                return
            self.last_answer = now

    def wait_refused(self, seconds: float) -> float:
        """Return when the first refusal arrived."""
        self._thread.join(seconds)
        require(self.refused is not None, f"no refusal within {seconds:.0f} s")
        return cast("float", self.refused)

    def stop(self) -> None:
        """End the stream; it must not have been refused."""
        self._stop.set()
        self._thread.join()
        require(self.refused is None, f"refused in between: {self.refusal}")
