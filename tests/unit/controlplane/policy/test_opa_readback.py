"""What an OPA server holds is what was put there, and by OPA's own reading stays in its place."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.adapters.policy_engine.opa.mount import MountedModule
from sealward.controlplane.adapters.policy_engine.opa.readback import verify
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError

PREFIX = ("sealward_mounts", "r_1", "p_2")
MODULE = MountedModule(id="sealward_mounts/r_1/p_2/policy/a.rego", text="the text", origin="a.rego")
BUILTINS = frozenset({"count", "net.cidr_contains"})


def var(name: str) -> dict[str, Any]:
    return {"type": "var", "value": name}


def string(text: str) -> dict[str, Any]:
    return {"type": "string", "value": text}


def ref(head: object, *steps: object) -> dict[str, Any]:
    """A reference as OPA writes it: texts behind the head, or whole terms."""
    first = var(head) if isinstance(head, str) else head
    return {
        "type": "ref",
        "value": [first, *(string(step) if isinstance(step, str) else step for step in steps)],
    }


def shown(*terms: object, **changes: object) -> bytes:
    """OPA's answer for MODULE with one rule over these terms."""
    rule = {
        "body": [{"index": 0, "terms": list(terms)}],
        "head": {"name": "allow", "value": {"type": "boolean", "value": True}, "ref": [var("a")]},
    }
    ast = {
        "package": {"path": [var("data"), *(string(step) for step in (*PREFIX, "sealward", "x"))]},
        "rules": [rule],
        "comments": [{"Text": "ZGF0YQ==", "Location": {"file": MODULE.id}}],
    }
    result = {"id": MODULE.id, "raw": MODULE.text, "ast": ast}
    return json.dumps({"result": {**result, **changes}}).encode()


def outcome(body: bytes) -> tuple[EngineFault, str]:
    with pytest.raises(PolicyEngineError) as refused:
        verify(body, MODULE, PREFIX, BUILTINS)
    return refused.value.fault, refused.value.detail


@pytest.mark.parametrize(
    "term",
    [
        ref("data", *PREFIX, "reference", var("__local0__")),
        ref("data", *PREFIX),
        ref("input", "data", "data"),
        ref("count"),
        ref("net", "cidr_contains"),
        ref("internal", "member_2"),
        ref("__local12__", "http", "send"),
        ref({"type": "array", "value": [string("data")]}, var("__local1__")),
        var("__local0__"),
        var("$0"),
        string("data"),
        {"target": ref("data", *PREFIX, "reference"), "value": ref("input", "reference")},
    ],
)
def test_a_module_that_stays_in_its_place_passes(term: object) -> None:
    verify(shown(term), MODULE, PREFIX, BUILTINS)


@pytest.mark.parametrize(
    ("term", "named"),
    [
        (ref("data", "other"), "data.other"),
        (ref("data"), "data"),
        (var("data"), "data"),
        (ref("data", var("__local0__")), "data"),
        (ref("data", *PREFIX[:2]), "data.sealward_mounts.r_1"),
        (ref("data", *PREFIX[:2], "p_3", "x"), "data.sealward_mounts.r_1.p_3.x"),
        (ref("data", "reference"), "data.reference"),
        (ref("http", "send"), "http.send"),
        (ref("opa", "runtime"), "opa.runtime"),
        (ref("trace"), "trace"),
        (ref("net"), "net"),
        (ref("x", ref("data", "deep")), "x"),
        (ref("input", ref("data", "deep")), "data.deep"),
        (ref({"type": "call", "value": [ref("time", "now_ns")]}, "x"), "time.now_ns"),
        ({"with": [{"target": ref("input"), "value": ref("data", "system")}]}, "data.system"),
        ({"type": "arraycomprehension", "value": {"body": [{"terms": [ref("trace")]}]}}, "trace"),
    ],
)
def test_a_module_that_reaches_out_is_refused_and_says_for_what(term: object, named: str) -> None:
    fault, detail = outcome(shown(term))
    assert fault is EngineFault.ERROR
    assert detail == f"a.rego: OPA reads {named} in it"


@pytest.mark.parametrize(
    "body",
    [
        shown(raw="the text "),
        shown(raw=None),
        shown(id="sealward_mounts/r_1/p_2/policy/b.rego"),
        shown(ast=None),
        shown(ast={"package": {"path": [var("data"), string("other")]}, "rules": []}),
        shown(ast={"package": {"path": [var("data"), *(string(s) for s in PREFIX[:2])]}}),
        shown(ast={"rules": []}),
        b"{}",
        b"[]",
        b'{"result":[]}',
        b"<html>",
        b"",
    ],
)
def test_anything_but_what_was_put_there_is_a_refusal(body: bytes) -> None:
    fault, detail = outcome(body)
    assert fault is EngineFault.CRASHED
    assert MODULE.id in detail


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["data", "ref", "var", "x"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "value", "path", "package", "rules", "terms", "head", "ref"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(body=st.binary(max_size=100) | TREES.map(lambda ast: shown(ast=ast)))
def test_no_answer_brings_anything_but_an_engine_error(body: bytes) -> None:
    with pytest.raises(PolicyEngineError):
        verify(body, MODULE, PREFIX, BUILTINS)


@given(term=TREES)
def test_no_tree_brings_anything_but_an_engine_error(term: object) -> None:
    with suppress(PolicyEngineError):
        verify(shown(term), MODULE, PREFIX, BUILTINS)
