"""Judges documents by the shipped JSON Schemas of policies, strictly."""

from __future__ import annotations

import re
from typing import Any

from sealward import policies
from sealward.verifier.wire import json


def read(name: str) -> dict[str, Any]:
    value = json.decode(policies.schema(name), what=name, max_bytes=1 << 20)
    assert isinstance(value, dict)
    return value


KEYWORDS = frozenset(
    [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "enum",
        "items",
        "$ref",
        "anyOf",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "uniqueItems",
        "pattern",
        "minLength",
        "maxLength",
        "const",
        "minProperties",
        "maxProperties",
        "format",
        "description",
        "title",
        "propertyNames",
        "$schema",
        "$id",
        "$defs",
    ]
)
TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}


def violations(value: object, schema: dict[str, Any], root: str, at: str = "$") -> list[str]:
    """Judge by the part of JSON Schema that says most; an unknown keyword fails the test."""
    assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
    if "$ref" in schema:
        file, _, path = schema["$ref"].partition("#")
        other = file.removesuffix(".json") or root
        target = read(other)
        for part in filter(None, path.split("/")):
            target = target[part]
        return violations(value, target, other, at)
    kind = "null" if value is None else TYPES[type(value)]
    types = schema.get("type", kind)
    if kind not in ([types] if isinstance(types, str) else types):
        return [f"{at}: {kind} is not {types}"]
    found = [
        f"{at}: {value!r} breaks {keyword}"
        for keyword, holds in (
            ("enum", "enum" not in schema or value in schema["enum"]),
            ("const", "const" not in schema or value == schema["const"]),
            ("pattern", kind != "string" or re.search(schema.get("pattern", ""), str(value))),
            ("anyOf", "anyOf" not in schema or _any_of(value, schema["anyOf"], root, at)),
        )
        if not holds
    ]
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += violations(item, schema.get("items", {}), root, f"{at}[{index}]")
    if isinstance(value, dict):
        found += _members(value, schema, root, at)
    return found


def _any_of(value: object, schemas: list[dict[str, Any]], root: str, at: str) -> bool:
    return any(not violations(value, one, root, at) for one in schemas)


def _members(value: dict[str, Any], schema: dict[str, Any], root: str, at: str) -> list[str]:
    found = [f"{at}: no {name}" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
        if inner is False:
            found.append(f"{at}: unknown {name}")
        elif inner is not True:
            found += violations(item, inner, root, f"{at}.{name}")
    return found
