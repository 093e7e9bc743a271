"""Judges documents by the shipped JSON Schemas of policies: every keyword in them counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sealward import policies
from sealward.verifier.wire import json

Schema = dict[str, Any]

TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
TELLING = frozenset({"description", "title", "$schema", "$id", "$defs"})
INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z")
# Keyword -> the type it concerns, None for all, and whether a value of that type satisfies it.
RULES: Mapping[str, tuple[type | None, Callable[[Any, Any], bool]]] = {
    "enum": (None, lambda value, allowed: value in allowed),
    "const": (None, lambda value, only: bool(value == only)),
    "pattern": (str, lambda value, pattern: re.search(pattern, value) is not None),
    "format": (
        str,
        lambda value, name: name == "date-time" and INSTANT.fullmatch(value) is not None,
    ),
    "minLength": (str, lambda value, least: len(value) >= least),
    "maxLength": (str, lambda value, most: len(value) <= most),
    "minimum": (int, lambda value, least: value >= least),
    "maximum": (int, lambda value, most: value <= most),
    "minItems": (list, lambda value, least: len(value) >= least),
    "maxItems": (list, lambda value, most: len(value) <= most),
    "uniqueItems": (
        list,
        lambda value, wanted: not wanted or len({json.canonical(x) for x in value}) == len(value),
    ),
    "minProperties": (dict, lambda value, least: len(value) >= least),
    "maxProperties": (dict, lambda value, most: len(value) <= most),
}
NESTED = frozenset(
    {"type", "$ref", "anyOf", "items", "properties", "required", "additionalProperties"}
)


def read(name: str) -> Schema:
    """Return the shipped schema of this name."""
    value = json.decode(policies.schema(name), what=name, max_bytes=1 << 20)
    assert isinstance(value, dict)
    return value


def violations(value: object, schema: Schema, root: str, at: str = "$") -> list[str]:
    """Return what is wrong; a keyword that this judge does not know fails the test.

    Args:
        value: plain JSON.
        schema: what it should be.
        root: name of the schema file that references without a file are about.
        at: where the value stands.
    """
    unknown = set(schema) - TELLING - NESTED - set(RULES)
    assert not unknown, unknown
    found = [f"{at}: {value!r} breaks {word}" for word in _broken(value, schema)]
    if "$ref" in schema:
        found += violations(value, *_target(schema["$ref"], root), at)
    if "anyOf" in schema and all(violations(value, one, root, at) for one in schema["anyOf"]):
        found.append(f"{at}: {value!r} is none of anyOf")
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += violations(item, schema.get("items", {}), root, f"{at}[{index}]")
    if isinstance(value, dict):
        found += _members(value, schema, root, at)
    return found


def _broken(value: object, schema: Schema) -> Iterator[str]:
    kind = "null" if value is None else TYPES[type(value)]
    types = schema.get("type", kind)
    if kind not in ([types] if isinstance(types, str) else types):
        yield "type"
        return
    for word, (concerned, satisfied) in RULES.items():
        concerns = word in schema and concerned in (None, type(value))
        if concerns and not satisfied(value, schema[word]):
            yield word


def _target(reference: str, root: str) -> tuple[Schema, str]:
    file, _, path = reference.partition("#")
    name = file.removesuffix(".json") or root
    target = read(name)
    for part in filter(None, path.split("/")):
        target = target[part]
    return target, name


def _members(value: dict[str, Any], schema: Schema, root: str, at: str) -> list[str]:
    found = [f"{at}: no {name}" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
        if inner is False:
            found.append(f"{at}: unknown {name}")
        elif inner is not True:
            found += violations(item, inner, root, f"{at}.{name}")
    return found
