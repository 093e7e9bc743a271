"""Strict JSON in, canonical JSON out."""

from __future__ import annotations

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json


def read(data: bytes | str, *, max_bytes: int = 1 << 20, max_depth: int = 64) -> json.Value:
    return json.decode(data, what="document", max_bytes=max_bytes, max_depth=max_depth)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        (" [true, false] ", [True, False]),
        ('{"a": {"b": []}, "c": "\\u00e9\\n"}', {"a": {"b": []}, "c": "é\n"}),
        ("[0, -1, 18446744073709551615, -9223372036854775808]", [0, -1, 2**64 - 1, -(2**63)]),
        ("[1.5, 1e3, -0.25]", [1.5, 1000.0, -0.25]),
        ('"\\ud83d\\ude00"', "😀"),
        ('["\\u00e9", 1, {"a": null}]', ["é", 1, {"a": None}]),
        ('"[[[[{{{{"', "[[[[{{{{"),
    ],
)
def test_json_is_read_alike_from_text_and_bytes(text: str, value: object) -> None:
    assert read(text) == value
    assert read(text.encode()) == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1,]", "not JSON"),
        ("1 2", "not JSON, Extra data"),
        ("'a'", "not JSON"),
        ("[01]", "not JSON"),
        ('"\t"', "not JSON"),
        ('"\\x"', "not JSON"),
        ('{"a": 1, "a": 1}', "duplicate name"),
        ('[{"b": {"a": 1, "\\u0061": 2}}]', "duplicate name"),
        ("NaN", "NaN is not JSON"),
        ("[Infinity]", "Infinity is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("18446744073709551616", "beyond 64 bits"),
        ("-9223372036854775809", "beyond 64 bits"),
        ("1" * 10_000, "beyond 64 bits"),
        ("1e400", "beyond a double"),
        ('"\\ud800"', "lone surrogate"),
        ('{"\\udc00": 1}', "lone surrogate"),
        ('[["\\ud800x"]]', "lone surrogate"),
        ("\ufeff1", "byte-order mark"),
    ],
)
def test_what_readers_disagree_about_is_refused(text: str, why: str) -> None:
    with pytest.raises(MalformedEvidence, match=why):
        read(text)


@pytest.mark.parametrize("data", [b"\xff", b'"\xed\xa0\x80"', "\ud800"])
def test_what_is_not_utf8_is_refused(data: bytes | str) -> None:
    with pytest.raises(MalformedEvidence, match="not UTF-8"):
        read(data)


def test_depth_is_checked_before_anything_recurses() -> None:
    assert read("[[[1]]]", max_depth=3) == [[[1]]]
    with pytest.raises(MalformedEvidence, match="too deeply"):
        read("[[[1]]]", max_depth=2)
    with pytest.raises(MalformedEvidence, match="too deeply"):
        read("[" * 500_000)
    with pytest.raises(MalformedEvidence, match="too deeply"):
        read('{"a":' * 100_000)
    # Many containers side by side are not deep, and brackets in text are text.
    assert read("[" + "[]," * 500 + '"]]\\"[["]', max_depth=2) == [*([[]] * 500), ']]"[[']


def test_an_unterminated_string_costs_linear_time() -> None:
    with pytest.raises(MalformedEvidence):
        read("[" * 65 + '"' + '\\"' * 300_000, max_depth=65)


def test_the_size_budget_counts_utf8_bytes() -> None:
    assert read('"é"', max_bytes=4) == "é"
    for data in ('"é"', '"é"'.encode()):
        with pytest.raises(MalformedEvidence, match="4 bytes, at most 3"):
            read(data, max_bytes=3)


def test_the_canonical_form_is_that_of_rfc_8785() -> None:
    # RFC 8785 3.2.3: names sort by UTF-16 code units, so U+1F600 comes before U+FB33.
    value: json.Canonical = {
        "\u20ac": "Euro",
        "\r": "CR",
        "\ufb33": "Dagesh",
        "1": (1, -2, True, None),
        "\U0001f600": "Smile",
        "\u0080": '\u0000\u001f\b\t\n\f"\\/\u007f\u2028',
    }
    assert json.canonical(value).decode() == (
        '{"\\r":"CR","1":[1,-2,true,null],"\u0080":"\\u0000\\u001f\\b\\t\\n\\f\\"\\\\/\u007f\u2028",'
        '"\u20ac":"Euro","\U0001f600":"Smile","\ufb33":"Dagesh"}'
    )


def test_integers_that_readers_round_are_refused() -> None:
    assert json.canonical([2**53 - 1, 1 - 2**53]) == b"[9007199254740991,-9007199254740991]"
    for value in (2**53, -(2**53)):
        with pytest.raises(ValueError, match="goes into JSON as text"):
            json.canonical(value)


@pytest.mark.parametrize("value", [1.5, [1.0], {"a": {1: 2}}, b"x", {1, 2}])
def test_what_has_no_canonical_form_is_our_own_mistake(value: object) -> None:
    with pytest.raises(TypeError):
        json.canonical(value)  # type: ignore[arg-type]  # that is the point


def test_lone_surrogates_have_no_canonical_form() -> None:
    for value in ("\ud800", {"\ud800": 1}):
        with pytest.raises(UnicodeEncodeError):
            json.canonical(value)
