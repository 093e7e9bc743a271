"""What an OPA server holds is what was sent, and cannot reach anything beside it.

OPA shows a module as text and as the tree that it evaluates, with every name resolved. The text has
to be ours to the byte. The tree has to stay below the mount: OPA's own reading of the policy says
so, and not the parser of another engine whose positions were used to move it (`mount`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from sealward.controlplane.adapters.policy_engine.opa.mount import MountedModule
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

# A module of 256 KiB, ten times that as a tree. Beyond it a policy is refused, not half looked at.
MAX_BYTES: Final = 32 * 1024 * 1024
_MAX_DEPTH: Final = 1000  # operators nest to the left in OPA's tree too
# What infix operators and `in` are called in OPA's tree.
_OPERATORS: Final = frozenset(
    (
        *("eq", "equal", "assign", "neq", "lt", "lte", "gt", "gte"),
        *("plus", "minus", "mul", "div", "rem", "and", "or"),
        *("internal.member_2", "internal.member_3"),
    )
)
# Variables that OPA's compiler makes, of the author's variables and on its own.
_LOCAL: Final = re.compile(r"__local[0-9]+__|\$[0-9]+|_[0-9]*|input")


def verify(
    body: bytes, module: MountedModule, prefix: tuple[str, ...], builtins: Collection[str]
) -> None:
    """Return when a GET of the module's policy shows what was put there, and that it stays inside.

    Args:
        body: of the answer, status 200.
        module: what was put.
        prefix: the mount, below `data`.
        builtins: what policies may call.

    Raises:
        PolicyEngineError: CRASHED, the server holds something else; ERROR, the policy as OPA reads
            it reaches outside its mount or calls what no policy may.
    """
    try:
        value = json.decode(body, what="OPA's policy", max_bytes=MAX_BYTES, max_depth=_MAX_DEPTH)
    except MalformedEvidence as error:
        raise _other(module, error.detail) from None
    match value:
        case {"result": {"id": module.id, "raw": module.text, "ast": dict(tree)}}:
            if _steps(tree.pop("package", None))[: 1 + len(prefix)] != ("data", *prefix):
                raise _other(module, "it is in another package")
            for name in _references([tree]):
                _refuse_outside(name, module, prefix, builtins)
        case _:
            raise _other(module, "the server holds another text under this name")


def _refuse_outside(
    name: tuple[str, ...],
    module: MountedModule,
    prefix: tuple[str, ...],
    builtins: Collection[str],
) -> None:
    dotted = ".".join(name)
    if name[0] == "data":
        inside = name[1 : 1 + len(prefix)] == prefix
    else:
        inside = _LOCAL.fullmatch(name[0]) is not None or dotted in builtins
        inside = inside or dotted in _OPERATORS
    if not inside:
        raise PolicyEngineError(
            EngineFault.ERROR, f"{module.origin or module.id}: OPA reads {dotted} in it"
        )


def _references(pending: list[json.Value]) -> Iterator[tuple[str, ...]]:
    """Yield the static beginning of every reference, and every variable that is none's head."""
    while pending:
        match pending.pop():
            case {"type": "ref", "value": list(steps)}:
                name = _static(steps)
                if name:
                    yield name
                pending.extend(steps[1:] if name else steps)
            case {"type": "var", "value": "data"}:
                yield ("data",)  # the whole document, as a value
            case dict(value):
                pending.extend(value.values())
            case list(items):
                pending.extend(items)
            case _:
                pass  # a leaf


def _static(steps: list[json.Value]) -> tuple[str, ...]:
    """Return a reference's head and the texts behind it, up to the first computed step.

    Empty when it starts from no variable, but from a value that is written out or called for.
    """
    names: list[str] = []
    for step in steps:
        match step:
            case {"type": "var", "value": str(name)} if not names:
                names.append(name)
            case {"type": "string", "value": str(name)} if names:
                names.append(name)
            case _:
                break
    return tuple(names)


def _steps(package: json.Value) -> tuple[object, ...]:
    match package:
        case {"path": list(steps)}:
            return tuple(step.get("value") for step in steps if isinstance(step, dict))
        case _:
            return ()


def _other(module: MountedModule, why: str) -> PolicyEngineError:
    return PolicyEngineError(
        EngineFault.CRASHED,
        f"OPA does not hold {module.id} as it was put there, {why}: who else writes to it?",
    )
