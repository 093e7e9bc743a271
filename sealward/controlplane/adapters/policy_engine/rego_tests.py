"""Runs the `test_` rules of a bundle, in a worker like any decision.

A test passes when its rule is `true`: undefined, false and errors fail, as under `opa test`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sealward.controlplane.adapters.policy_engine.embedded import load_request
from sealward.controlplane.adapters.policy_engine.frames import Ask
from sealward.controlplane.adapters.policy_engine.inspection import Inspection, inspect
from sealward.controlplane.adapters.policy_engine.process import Worker, WorkerSettings
from sealward.controlplane.domain.policy_engine import LayerPolicy, PolicyEngineError

_LOAD_SECONDS = 2.0
_TEST_SECONDS = 1.0  # a test may evaluate its policy several times


@dataclass(frozen=True, slots=True, kw_only=True)
class RegoTest:
    """Outcome of one `test_` rule.

    Attributes:
        name: path of the rule below `data`, in dots.
        file: module that defines it.
        line: where, from 1.
        failure: None when it passed, else what happened instead.
    """

    name: str
    file: str
    line: int
    failure: str | None


def run_tests(policy: LayerPolicy, settings: WorkerSettings) -> tuple[RegoTest, ...]:
    """Run every test of `policy`.

    Raises:
        PolicyEngineError: the modules cannot be loaded or looked through.
    """
    worker = Worker(settings)
    try:
        worker.ask(Ask.LOAD, load_request(policy, with_tests=True), seconds=_LOAD_SECONDS)
        found = inspect(worker)
    finally:
        worker.kill()
    return tuple(run_found(policy, found, settings))


def run_found(
    policy: LayerPolicy, found: Inspection, settings: WorkerSettings
) -> Iterable[RegoTest]:
    """Run the tests that an inspection found; a test that ends its worker fails alone."""
    load = load_request(policy, with_tests=True)
    tests = {f.name: f for f in found.rules if f.name.rpartition(".")[2].startswith("test_")}
    worker: Worker | None = None
    try:
        for name, place in sorted(tests.items()):
            failure: str | None = None
            try:
                if worker is None:
                    worker = Worker(settings)
                    worker.ask(Ask.LOAD, load, seconds=_LOAD_SECONDS)
                value = worker.ask(Ask.RULE, f"data.{name}".encode(), seconds=_TEST_SECONDS)
                failure = None if value == b"true" else "is not true"
            except PolicyEngineError as error:
                failure = str(error)
                if worker is not None:
                    worker.kill()
                worker = None
            yield RegoTest(name=name, file=place.file, line=place.line, failure=failure)
    finally:
        if worker is not None:
            worker.kill()
