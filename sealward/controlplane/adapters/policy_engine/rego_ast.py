"""What a policy calls, and where its rules could call themselves, from the engine's own AST.

Runs in the worker, because the tree of a hostile policy is itself hostile. The engine checks
neither: unknown built-ins appear only when evaluated and unbounded recursion overflows the stack.

Sound before precise. A local variable that bears the name of a rule counts as a use of that rule,
and a reference whose next part is computed counts as a use of everything it could reach; both can
only refuse too much, and the answer to that is to rename.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

_MAX_TREE_BYTES: Final = 128 * 1024 * 1024  # the engine writes about 100 bytes per source byte
_MAX_TREE_DEPTH: Final = 400  # brackets are limited before parsing; operators nest to the left

Path: TypeAlias = tuple[str, ...]
Node: TypeAlias = Mapping[str, json.Value]


class UnknownTree(RuntimeError):
    """The engine's tree has another shape than this build knows; nothing can be said about it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, lines and columns from 1."""

    file: str
    line: int
    column: int

    def as_json(self) -> dict[str, json.Canonical]:
        """Return the members that every finding carries."""
        return {"file": self.file, "line": self.line, "column": self.column}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """One definition; several may share a path."""

    path: Path
    is_function: bool
    place: Place
    module: _Module
    body: Node
    head: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class _Module:
    file: str
    package: Path
    aliases: Mapping[str, Path]


def inspect(tree: str, *, except_file: str) -> bytes:
    """Return canonical JSON {calls, cycles, depth, rules} for all modules but `except_file`.

    calls: [{name, file, line, column}] of calls and replacements that name no rule of the modules.
    cycles: [{name, file, line, column}] of rules that can reach themselves.
    depth: length of the longest chain of rules, 0 when there is a cycle.
    rules: [{name, file, line, column}] of every definition; names are paths in dots.

    Raises:
        RuntimeError: the tree is too deep or too large to be looked through.
    """
    rules = [rule for module in _modules(tree, except_file) for rule in _rules_of(module)]
    return json.canonical(_Survey(rules).report())


def mentions(tree: str, *, except_file: str) -> bytes:
    """Return canonical JSON {file: {package, data}} for all modules but `except_file`.

    package: byte offset of the name in the package clause.
    data: byte offsets, ascending, of every `data` that means the data document.

    Raises:
        RuntimeError: the tree is too deep or too large to be looked through.
    """
    found: dict[str, json.Canonical] = {}
    for module in _modules(tree, except_file):
        source, ast = _node(module["source"]), _node(module["ast"])
        package = _node(_node(ast["package"])["refr"])
        rest: list[json.Value] = [value for name, value in ast.items() if name != "package"]
        found[_text(source["file"])] = {
            "package": min(start for _, start in _variables([dict(package)])),
            "data": sorted(start for name, start in _variables(rest) if name == "data"),
        }
    return json.canonical(found)


def _modules(tree: str, except_file: str) -> Iterator[Node]:
    try:
        modules = json.decode(
            tree, what="policy", max_bytes=_MAX_TREE_BYTES, max_depth=_MAX_TREE_DEPTH
        )
    except MalformedEvidence as error:
        raise RuntimeError(f"too deeply nested or too large to inspect: {error.detail}") from None
    for module in _nodes(modules):
        if _text(_node(module["source"])["file"]) != except_file:
            yield module


def _variables(pending: list[json.Value]) -> Iterator[tuple[str, int]]:
    """Yield name and byte offset of every variable in these trees."""
    while pending:
        match pending.pop():
            case {"Var": {"value": str(name), "span": {"start": int(start)}}}:
                yield name, start
            case dict(value):
                pending.extend(value.values())
            case list(items):
                pending.extend(items)
            case _:
                pass  # a leaf


class _Survey:
    """All modules together: rules refer to each other across files."""

    def __init__(self, rules: list[_Rule]) -> None:
        self._rules = rules
        self._functions = {rule.path for rule in rules if rule.is_function}
        self._below: dict[Path, set[Path]] = {}
        for path in {rule.path for rule in rules}:
            for end in range(len(path) + 1):
                self._below.setdefault(path[:end], set()).add(path)
        self._edges: dict[Path, set[Path]] = {rule.path: set() for rule in rules}
        self._calls: list[tuple[str, Place]] = []
        for rule in rules:
            self._read(rule)

    def report(self) -> dict[str, json.Canonical]:
        cyclic, depth = _cycles(self._edges)
        places = {rule.path: rule.place for rule in self._rules}
        return {
            "calls": [{"name": name, **place.as_json()} for name, place in self._calls],
            "cycles": [
                {"name": ".".join(path), **places[path].as_json()} for path in sorted(cyclic)
            ],
            "depth": depth,
            "rules": [
                {"name": ".".join(rule.path), **rule.place.as_json()} for rule in self._rules
            ],
        }

    def _read(self, rule: _Rule) -> None:
        used = self._edges[rule.path]
        pending: list[json.Value] = [dict(rule.head), dict(rule.body)]
        while pending:
            value = pending.pop()
            if isinstance(value, list):
                pending.extend(value)
            elif isinstance(value, dict):
                if "with_mods" in value:
                    self._replacements(rule, _nodes(value["with_mods"]))
                if "Call" in value:
                    self._call(rule, _node(_node(value["Call"])["fcn"]))
                reference = _reference(value)
                if reference is None:
                    pending.extend(value.values())
                else:
                    used |= self._reached(rule.module, reference[0])
                    pending.extend(reference[1])

    def _call(self, rule: _Rule, function: Node) -> None:
        name = _dotted(function)
        target = _resolve(rule.module, name, self._below)
        if target not in self._functions:
            self._calls.append((".".join(name), _place(rule.module.file, function)))

    def _replacements(self, rule: _Rule, replacements: Iterator[Node]) -> None:
        """`f with g as h`: whoever uses g may now use h, and g must be something allowed."""
        for replacement in replacements:
            name = _dotted(_node(replacement["refr"]))
            if name[0] == "input":
                continue
            replaced = self._reached(rule.module, name)
            by = _reference(_node(replacement["as"]))
            if by is not None:
                for path in replaced:
                    self._edges[path] |= self._reached(rule.module, by[0])
            if not replaced and name[0] != "data":
                place = _place(rule.module.file, _node(replacement["refr"]))
                self._calls.append((".".join(name), place))

    def _reached(self, module: _Module, name: Path) -> set[Path]:
        """Return the rules that a reference can evaluate: below it, or on the way to it."""
        path = _resolve(module, name, self._below)
        if path is None:
            return set()
        above = {path[:end] for end in range(1, len(path) + 1)} & set(self._edges)
        return above | self._below.get(path, set())


def _cycles(edges: Mapping[Path, set[Path]]) -> tuple[set[Path], int]:
    """Return the rules on a cycle, or between two, and the longest chain when there is none."""
    depth = _peel(edges)
    users: dict[Path, set[Path]] = {path: set() for path in edges}
    for path, used in edges.items():
        for target in used:
            users[target].add(path)
    cyclic = set(edges) - set(depth) - set(_peel(users))
    return cyclic, 0 if cyclic else max(depth.values(), default=0)


def _peel(edges: Mapping[Path, set[Path]]) -> dict[Path, int]:
    """Return chain lengths of the nodes that reach no cycle (Kahn's algorithm)."""
    waiting = {path: len(used) for path, used in edges.items()}
    users: dict[Path, list[Path]] = {path: [] for path in edges}
    for path, used in edges.items():
        for target in used:
            users[target].append(path)
    depth = {path: 1 for path, count in waiting.items() if count == 0}
    ready = list(depth)
    while ready:
        path = ready.pop()
        for user in users[path]:
            waiting[user] -= 1
            if waiting[user] == 0:
                depth[user] = 1 + max(depth[target] for target in edges[user])
                ready.append(user)
    return depth


def _resolve(module: _Module, name: Path, known: Mapping[Path, object]) -> Path | None:
    """Return the path below `data` that `name` means here, or None for input, locals, built-ins."""
    if name[0] == "data":
        return name[1:]
    if name[0] in module.aliases:
        alias = module.aliases[name[0]]
        return (*alias[1:], *name[1:]) if alias[0] == "data" else None
    path = (*module.package, *name)
    return path if path[: len(module.package) + 1] in known else None


def _rules_of(module: Node) -> Iterator[_Rule]:
    source, ast = _node(module["source"]), _node(module["ast"])
    here = _Module(
        file=_text(source["file"]),
        package=_dotted(_node(_node(ast["package"])["refr"])),
        aliases=dict(_aliases(ast, _text(source["contents"]).encode())),
    )
    for rule in _nodes(ast["rules"]):
        for form, value in rule.items():
            body = _node(value)
            head = body if form == "Default" else _node(next(iter(_node(body["head"]).values())))
            path, computed = _reference(_node(head["refr"])) or ((), [])
            yield _Rule(
                path=(*here.package, *path),
                is_function="args" in head and (form != "Default" or bool(head["args"])),
                place=_place(here.file, _node(head["refr"])),
                module=here,
                head={**{k: v for k, v in head.items() if k != "refr"}, "computed": computed},
                body={k: v for k, v in body.items() if k not in ("head", "refr")},
            )


def _aliases(ast: Node, contents: bytes) -> Iterator[tuple[str, Path]]:
    for statement in _nodes(ast["imports"]):
        path = _dotted(_node(statement["refr"]))
        name = statement.get("as")
        if isinstance(name, dict):
            start, end = name["start"], name["end"]
            if isinstance(start, int) and isinstance(end, int):
                yield contents[start:end].decode(), path
        elif path[0] in ("data", "input"):
            yield path[-1], path


def _reference(value: Node) -> tuple[Path, list[json.Value]] | None:
    """Return the static beginning of a reference and the expressions inside it, or None."""
    static: list[str] = []
    inside: list[json.Value] = []
    while True:
        match value:
            case {"RefDot": {"refr": dict(inner), "field": [_, str(name)]}}:
                static.append(name)
            case {"RefBrack": {"refr": dict(inner), "index": {"String": {"value": str(name)}}}}:
                static.append(name)
            case {"RefBrack": {"refr": dict(inner), "index": index}}:
                static.clear()  # what follows a computed part is not static
                inside.append(index)
            case {"Var": {"value": str(name)}}:
                return (name, *reversed(static)), inside
            case _ if static or inside:
                return ("input",), [*inside, dict(value)]  # a part of a call's or literal's value
            case _:
                return None
        value = inner


def _dotted(value: Node) -> Path:
    found = _reference(value)
    return found[0] if found else ("?",)


def _place(file: str, value: Node) -> Place:
    """Return where a reference starts: its variable knows the column, its outside does not."""
    while True:
        inner = _node(next(iter(value.values())))
        if "refr" not in inner:
            break
        value = _node(inner["refr"])
    span = inner.get("span")
    at = span if isinstance(span, dict) else {}
    line, column = at.get("line"), at.get("col")
    return Place(
        file, line if isinstance(line, int) else 0, column if isinstance(column, int) else 0
    )


def _node(value: json.Value) -> Node:
    if not isinstance(value, dict):
        raise UnknownTree
    return value


def _nodes(value: json.Value) -> Iterator[Node]:
    if not isinstance(value, list):
        raise UnknownTree
    return (_node(item) for item in value)


def _text(value: json.Value) -> str:
    if not isinstance(value, str):
        raise UnknownTree
    return value
