"""Asks a policy worker where a policy says `data`: the text is outside data, and so is its tree."""

from __future__ import annotations

from sealward.controlplane.adapters.policy_engine import frames
from sealward.controlplane.adapters.policy_engine.embedded import load_request
from sealward.controlplane.adapters.policy_engine.frames import Ask
from sealward.controlplane.adapters.policy_engine.opa.mount import Mentions
from sealward.controlplane.adapters.policy_engine.process import Worker, WorkerSettings
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerPolicy,
    PolicyEngineError,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json


def find_mentions(
    policy: LayerPolicy, settings: WorkerSettings, seconds: float
) -> dict[str, Mentions]:
    """Return where each deciding module of `policy` says its package and `data`, by path.

    Raises:
        PolicyEngineError: the modules cannot be parsed within `seconds`, or not looked through.
    """
    worker = Worker(settings)
    try:
        worker.ask(Ask.LOAD, load_request(policy), seconds=seconds)
        body = worker.ask(Ask.MENTIONS, b"", seconds=seconds)
    finally:
        worker.kill()
    try:
        value = json.decode(body, what="mentions", max_bytes=frames.MAX_ANSWER_BYTES)
        return _by_path(value)
    except (MalformedEvidence, TypeError):
        raise PolicyEngineError(EngineFault.ERROR, "the worker's answer is none") from None


def _by_path(value: json.Value) -> dict[str, Mentions]:
    if not isinstance(value, dict):
        raise TypeError
    return {path: _mentions(found) for path, found in value.items()}


def _mentions(value: json.Value) -> Mentions:
    match value:
        case {"package": int(package), "data": list(offsets)}:
            data = tuple(offset for offset in offsets if isinstance(offset, int))
            if len(data) != len(offsets):
                raise TypeError
            return Mentions(package=package, data=data)
        case _:
            raise TypeError
