"""The parent's view of what a worker found in the syntax trees (`rego_ast`)."""

from __future__ import annotations

from dataclasses import dataclass

from sealward.controlplane.adapters.policy_engine import frames
from sealward.controlplane.adapters.policy_engine.frames import Ask
from sealward.controlplane.adapters.policy_engine.process import Worker
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

_SECONDS = 5.0  # the tree of the largest allowed module is some 25 MB of JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A name and where it stands; line and column count from 1."""

    name: str
    file: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the loaded modules hold.

    Attributes:
        calls: calls and replacements of what is no rule of the modules: built-ins, or nothing.
        cycles: rules that can reach themselves.
        depth: longest chain of rules that use each other.
        rules: every definition, by path below `data`.
    """

    calls: tuple[Found, ...]
    cycles: tuple[Found, ...]
    depth: int
    rules: tuple[Found, ...]


def inspect(worker: Worker) -> Inspection:
    """Ask a loaded worker to look through its modules.

    Raises:
        PolicyEngineError: it cannot, or what it answers is not an inspection.
    """
    body = worker.ask(Ask.INSPECT, b"", seconds=_SECONDS)
    try:
        value = json.decode(body, what="inspection", max_bytes=frames.MAX_ANSWER_BYTES)
        return _inspection(value)
    except (MalformedEvidence, TypeError):
        raise PolicyEngineError(EngineFault.ERROR, "the worker's inspection is none") from None


def _inspection(value: json.Value) -> Inspection:
    match value:
        case {"calls": calls, "cycles": cycles, "depth": int(depth), "rules": rules}:
            return Inspection(
                calls=_list(calls), cycles=_list(cycles), depth=depth, rules=_list(rules)
            )
        case _:
            raise TypeError


def _list(value: json.Value) -> tuple[Found, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_found(item) for item in value)


def _found(value: json.Value) -> Found:
    match value:
        case {"name": str(name), "file": str(file), "line": int(line), "column": int(column)}:
            return Found(name=name, file=file, line=line, column=column)
        case _:
            raise TypeError
