"""The process in which a policy runs: one engine, one policy, no way out but its answers.

Started by `process.Worker` with an empty environment, its two pipes and nothing else. It confines
itself (`sandbox`), says hello, loads one policy once, and answers until its input closes. A policy
that hangs, overflows the stack or eats the memory takes this process with it and nothing more:
that is what it is for (specs of regorus: no deadline, no memory limit, recursion unchecked).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import regorus

from sealward.controlplane.adapters.policy_engine import builtins, frames, rego_ast, sandbox
from sealward.controlplane.adapters.policy_engine.frames import Answer, Ask
from sealward.verifier.wire import json

_INPUT: Final = 0
_OUTPUT: Final = 1
_UNDEFINED: Final = '"<undefined>"'  # how regorus writes a rule without a value
_BACKTRACE: Final = "\n\nStack backtrace"
_HOST_FILE: Final = "sealward_host.rego"
_ENTRY: Final = "data.sealward_host.answer"
# The parent's deadline comes first. This alarm, in CPU seconds, is for a worker whose parent died
# while it was busy: an idle one sees its input close. Set anew now and then, as two system calls
# for every decision would cost more than the decision's own input and output.
_ORPHAN_SECONDS: Final = 60.0
_MOST_PROCESSORS: Final = 8192  # that Linux can be built for
_ALARM_EVERY: Final = 64  # requests; even at the deadline of 0.2 s each far from the alarm


def host_module(package: str, names: tuple[str, ...]) -> str:
    """Return the module that asks a policy for all of `names` in one evaluation.

    It is the only code beside the policy in the engine: it gives the policy `input` and
    `data.reference` of one request without touching the engine's data, which costs twice as much.
    """
    scope = "with data.reference as input.reference with input as input.input"
    members = ", ".join(f'"{name}": data.{package}.{name}' for name in names)
    rules = [f"answer := x if {{ x := {{{members}}} {scope} }}"]
    rules += [f"only_{name} if {{ x := data.{package}.{name} {scope} }}" for name in names]
    return "\n".join(("package sealward_host", "import rego.v1", *rules, ""))


def _refuse(name: str) -> Callable[..., object]:
    def refuse(*_arguments: object) -> object:
        raise ValueError(f"{name} is not available to policies")

    return refuse


def describe(error: RuntimeError) -> str:
    """Return an engine error as one line that begins with file:line:column where it is known."""
    text = str(error).partition(_BACKTRACE)[0].strip()
    where, _, rest = text.removeprefix("-->").strip().partition("\n")
    if not rest:
        return where
    message = rest.rpartition("error:")[2].strip()
    return f"{where.strip()}: {' '.join(message.split())}"


class Worker:
    """One engine with one policy."""

    def __init__(self) -> None:
        self._engine = regorus.Engine()
        # The upload check refuses them; they fail here as well, so that no spelling that the check
        # might misread can reach the clock, chance or anything else that is not allowed.
        for name, arguments in builtins.REFUSED.items():
            self._engine.add_extension(name, arguments, _refuse(name))
        self._names: tuple[str, ...] = ()

    def answer(self, kind: int, body: bytes) -> tuple[Answer, bytes]:
        """Return the answer to one request; only a broken engine raises."""
        try:
            match Ask(kind):
                case Ask.LOAD:
                    return self._load(body)
                case Ask.EVALUATE:
                    return self._evaluate(body)
                case Ask.INSPECT:
                    found = rego_ast.inspect(self._engine.get_ast_as_json(), except_file=_HOST_FILE)
                    return Answer.VALUE, found
                case Ask.MENTIONS:
                    tree = self._engine.get_ast_as_json()
                    return Answer.VALUE, rego_ast.mentions(tree, except_file=_HOST_FILE)
                case Ask.RULE:
                    return self._rule(body.decode())
        except RuntimeError as error:
            return Answer.ERROR, describe(error).encode()

    def _load(self, body: bytes) -> tuple[Answer, bytes]:
        request = json.decode(body, what="load", max_bytes=frames.MAX_REQUEST_BYTES)
        if not isinstance(request, dict):
            raise TypeError("the parent sends an object")
        modules, root, names = request["modules"], str(request["root"]), request["names"]
        if not isinstance(modules, dict) or not isinstance(names, list):
            raise TypeError("the parent sends modules by path and a list of names")
        for path, text in modules.items():
            self._engine.add_policy(path, str(text))
        for package in self._engine.get_packages():
            # Checked again here, on what the engine understood, so that no reading of the text
            # can put a module where another layer or the host looks (F20).
            if package != f"data.{root}" and not package.startswith(f"data.{root}."):
                return Answer.ERROR, f"package {package} is outside {root}".encode()
        self._engine.add_data_json(str(request["data"]))
        self._names = tuple(str(name) for name in names)
        self._engine.add_policy(_HOST_FILE, host_module(root, self._names))
        return Answer.VALUE, b"null"

    def _evaluate(self, body: bytes) -> tuple[Answer, bytes]:
        self._engine.set_input_json(body.decode())
        value = self._engine.eval_rule_as_json(_ENTRY)
        if value == _UNDEFINED:
            return Answer.UNDEFINED, ", ".join(self._without_value()).encode()
        return Answer.VALUE, value.encode()

    def _without_value(self) -> tuple[str, ...]:
        return tuple(
            name
            for name in self._names
            if self._engine.eval_rule_as_json(f"data.sealward_host.only_{name}") == _UNDEFINED
        )

    def _rule(self, path: str) -> tuple[Answer, bytes]:
        self._engine.set_input_json("{}")
        value = self._engine.eval_rule_as_json(path)
        if value == _UNDEFINED:
            return Answer.UNDEFINED, path.encode()
        return Answer.VALUE, value.encode()


def _import_everything() -> None:
    """Do once what requests do: Python imports codecs and the like on first use, from files."""
    rehearsal = Worker()
    load: dict[str, json.Canonical] = {
        "modules": {"a.rego": "package rehearsal\n\nx := to_number(input.x)\n"},
        "data": "{}",
        "root": "rehearsal",
        "names": ["x"],
    }
    rehearsal.answer(Ask.LOAD, json.canonical(load))
    rehearsal.answer(Ask.INSPECT, b"")
    rehearsal.answer(Ask.MENTIONS, b"")
    rehearsal.answer(Ask.EVALUATE, b'{"input":{"x":"not a number"},"reference":{}}')
    rehearsal.answer(Ask.RULE, b"data.rehearsal.x")


def _leave_the_parents_processor() -> None:
    """Run wherever this host or container lets us.

    The serving process may be pinned to one processor, where its threads hand the interpreter lock
    to each other soonest; its workers are there to use the others.
    """
    with suppress(OSError):  # a host that does not let us costs time and no decision
        os.sched_setaffinity(0, range(_MOST_PROCESSORS))


def main() -> int:
    """Serve until the parent closes the pipe; return the exit status."""
    _leave_the_parents_processor()
    _import_everything()
    worker = Worker()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    missing = sandbox.confine()
    frames.send(_OUTPUT, Answer.HELLO, json.canonical(missing))
    served = 0
    while (request := frames.receive(_INPUT)) is not None:
        if served % _ALARM_EVERY == 0:
            signal.setitimer(signal.ITIMER_PROF, _ORPHAN_SECONDS)
        served += 1
        kind, body = worker.answer(*request)
        if len(body) >= frames.MAX_ANSWER_BYTES:
            kind, body = Answer.ERROR, b"the answer is larger than 256 KiB"
        frames.send(_OUTPUT, kind, body)
    return 0
