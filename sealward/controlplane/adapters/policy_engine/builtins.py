"""What the engine has beside the allow-list of built-ins.

The engine cannot list its own built-ins, so they stand here, as read from the sources of the pinned
build; a test asks the engine for every name that OPA or regorus has ever given a built-in, so an
upgrade that brings another one fails there before it ships.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

REFUSED: Final[Mapping[str, int]] = MappingProxyType(
    {
        "__builtin_sets.intersection": 2,
        "__builtin_sets.union": 2,
        "bits.lsh": 2,
        "glob.quote_meta": 1,
        "graph.reachable": 2,
        "graph.reachable_paths": 2,
        "http.send": 1,
        "json.marshal_with_options": 2,
        "json.match_schema": 2,
        "json.patch": 2,
        "json.verify_schema": 1,
        "net.cidr_expand": 1,
        "numbers.range_step": 3,
        "opa.runtime": 0,
        "print": 1,
        "rand.intn": 2,
        "regex.find_all_string_submatch_n": 3,
        "regex.find_n": 3,
        "regex.template_match": 4,
        "time.format": 1,
        "time.now_ns": 0,
        "time.parse_ns": 2,
        "trace": 1,
        "units.parse": 1,
        "units.parse_bytes": 1,
        "urlquery.decode": 1,
        "urlquery.decode_object": 1,
        "urlquery.encode": 1,
        "urlquery.encode_object": 1,
        "uuid.parse": 1,
        "uuid.rfc4122": 1,
        "yaml.is_valid": 1,
        "yaml.marshal": 1,
        "yaml.unmarshal": 1,
    }
)
"""Name -> number of arguments; `print` takes any number, and another number than this fails too.

Not in capabilities.json, because that file is what authors give to `opa check`: what policies may
call, and no more.
"""
