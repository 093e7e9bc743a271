"""What a policy must pass before it can become a revision.

In this order, each step only when the ones before found nothing:

    1  the bundle stays inside the package root of its kind and layer
    2  brackets nest at most 10 deep, because parsing costs 2**depth
    3  it parses, loads, names no rule like a built-in, calls nothing outside the allow-list, and
       no rule can reach itself: first without its tests, exactly as decisions load it, so that no
       test can lend a decision a name; then with them
    4  its `test_` rules pass
    5  on every sample it answers its question, in the right types, within the deadline; its own
       samples get the answers that they expect

Everything that touches Rego happens in a worker. A policy that passes can still be slow or wrong
on other input; then its evaluation is a denial (`embedded`), never a way around one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from sealward.controlplane.adapters.policy_engine.builtins import REFUSED
from sealward.controlplane.adapters.policy_engine.embedded import (
    EmbeddedEngine,
    EngineSettings,
    load_request,
)
from sealward.controlplane.adapters.policy_engine.frames import Ask
from sealward.controlplane.adapters.policy_engine.inspection import Inspection, inspect
from sealward.controlplane.adapters.policy_engine.nesting import find_too_deep
from sealward.controlplane.adapters.policy_engine.process import Worker
from sealward.controlplane.adapters.policy_engine.rego_tests import run_found
from sealward.controlplane.domain.policies_bundle import InvalidBundle, PolicySample
from sealward.controlplane.domain.policies_decoding import InvalidAnswer, decode
from sealward.controlplane.domain.policy_engine import LayerPolicy, PolicyEngine, PolicyEngineError

MAX_CHAIN = 200  # regorus overflows its stack between 1,000 and 3,000 rules that use each other


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a policy is refused.

    Attributes:
        code: stable word.
        text: what is wrong and what to do.
        file: module or sample concerned, or None for the bundle.
        line: from 1, or None.
        column: from 1, or None.
    """

    code: str
    text: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def describe(self) -> str:
        """Return one line, file:line:column first where they are known."""
        where = [str(part) for part in (self.file, self.line, self.column) if part is not None]
        return ": ".join((":".join(where), self.text)) if where else self.text


def check(
    policy: LayerPolicy,
    *,
    builtins: Collection[str],
    samples: Iterable[PolicySample],
    engine: EmbeddedEngine,
    settings: EngineSettings,
) -> tuple[Problem, ...]:
    """Return everything that is wrong with `policy`; empty means that it may become a revision.

    Args:
        policy: what was uploaded, in the place where it is to be used.
        builtins: the allow-list.
        samples: inputs of the contract; only the type of the answer is judged on these.
        engine: evaluates the samples, so with the deadline and limits of real decisions.
        settings: limits of the worker that parses and tests.
    """
    try:
        policy.bundle.refuse_outside(policy.kind, policy.layer)
    except InvalidBundle as error:
        return (Problem(code="outside_root", text=error.detail, file=error.path),)
    return (
        tuple(_too_deep(policy))
        or tuple(_rego(policy, builtins, settings))
        or check_samples(policy, samples, engine)
    )


def check_samples(
    policy: LayerPolicy, contract: Iterable[PolicySample], engine: PolicyEngine
) -> tuple[Problem, ...]:
    """Return the samples, its own and those of the contract, that `engine` does not answer."""
    return tuple(_samples(policy, contract, engine))


def _too_deep(policy: LayerPolicy) -> Iterator[Problem]:
    for module in policy.bundle.modules:
        found = find_too_deep(module.text)
        if found is not None:
            line, column, what = found
            yield Problem(
                code="nested_too_deep", text=what, file=module.path, line=line, column=column
            )


def _rego(
    policy: LayerPolicy, builtins: Collection[str], settings: EngineSettings
) -> Iterator[Problem]:
    try:
        found = _inspected(policy, settings, with_tests=False)
        problems = tuple(_structure(found, builtins))
        if not problems and any(module.is_test for module in policy.bundle.modules):
            found = _inspected(policy, settings, with_tests=True)
            problems = tuple(_structure(found, builtins))
    except PolicyEngineError as error:
        yield Problem(code=f"engine_{error.fault}", text=error.detail)
        return
    yield from problems
    if problems:
        return
    for test in run_found(policy, found, settings.worker):
        if test.failure is not None:
            text = f"{test.name} failed: {test.failure}"
            yield Problem(code="test_failed", text=text, file=test.file, line=test.line)


def _inspected(policy: LayerPolicy, settings: EngineSettings, *, with_tests: bool) -> Inspection:
    worker = Worker(settings.worker)
    try:
        load = load_request(policy, with_tests=with_tests)
        worker.ask(Ask.LOAD, load, seconds=settings.load_seconds)
        return inspect(worker)
    finally:
        worker.kill()


def _structure(found: Inspection, builtins: Collection[str]) -> Iterator[Problem]:
    for rule in found.rules:
        # Whatever the end of its path: that is how a call in the package above would spell it.
        parts = rule.name.split(".")
        for name in (".".join(parts[at:]) for at in range(len(parts))):
            if name in builtins or name in REFUSED:
                yield Problem(
                    code="builtin_shadowed",
                    text=f"{rule.name} has the name of the built-in {name}; rename the rule",
                    file=rule.file,
                    line=rule.line,
                    column=rule.column,
                )
    for call in found.calls:
        if call.name not in builtins:
            yield Problem(
                code="call_not_allowed",
                text=f"{call.name} is neither a rule here nor a built-in that policies may call",
                file=call.file,
                line=call.line,
                column=call.column,
            )
    for rule in found.cycles:
        yield Problem(
            code="recursion",
            text=f"{rule.name} can reach itself; if a variable has a rule's name, rename it",
            file=rule.file,
            line=rule.line,
            column=rule.column,
        )
    if found.depth > MAX_CHAIN:
        yield Problem(
            code="chain_too_long",
            text=f"{found.depth} rules use each other in a row, at most {MAX_CHAIN} may",
        )


def _samples(
    policy: LayerPolicy, contract: Iterable[PolicySample], engine: PolicyEngine
) -> Iterator[Problem]:
    for sample, own in (
        *((sample, True) for sample in policy.bundle.samples),
        *((sample, False) for sample in contract),
    ):
        text: str | None = None
        try:
            answer = engine.evaluate(policy, sample.document, sample.reference)
            decode(policy, answer)
        except PolicyEngineError as error:
            text = str(error)
        except InvalidAnswer as error:
            text = error.detail
        else:
            if own and answer != sample.expected:
                text = f"answers {answer.decode()}, expected {sample.expected.decode()}"
        if text is not None:
            file = f"samples/{sample.name}.json" if own else f"contract sample {sample.name}"
            yield Problem(code="sample_failed", text=text, file=file)
