"""The upload check: what is refused, where it points, and that it knows no way around."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.adapters.policy_engine.check import Problem, check
from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_engine.nesting import MAX_DEPTH, find_too_deep
from sealward.controlplane.adapters.policy_engine.shipped import allowed_builtins, shipped_policy
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policies_bundle import PolicySample
from sealward.controlplane.domain.policy_engine import LayerPolicy

REST = "\nreasons := set()\nobligations := {}\n"
EMPTY = PolicySample("empty", b"{}", b"{}", b"{}")


Problems = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def problems(
    engine: EmbeddedEngine, roomy: EngineSettings, policy_of: Callable[..., LayerPolicy]
) -> Problems:
    def run(body: str, **more: object) -> tuple[Problem, ...]:
        policy = policy_of(body, **more)
        found = check(
            policy, builtins=allowed_builtins(), samples=[EMPTY], engine=engine, settings=roomy
        )
        engine.retire(policy)
        return found

    return run


@pytest.mark.parametrize("kind", PolicyKind)
def test_the_shipped_policies_pass(engine: EmbeddedEngine, roomy: EngineSettings, kind: PolicyKind):
    policy = shipped_policy(kind, "tenant/check")
    found = check(policy, builtins=allowed_builtins(), samples=[], engine=engine, settings=roomy)
    assert found == ()


@pytest.mark.parametrize(
    ("body", "code", "line", "column"),
    [
        ("allow := 1 +", "engine_error", None, None),
        ("allow := [[[[[[[[[[[1]]]]]]]]]]]", "nested_too_deep", 4, 20),
        ('allow := http.send({"method": "GET"})', "call_not_allowed", 4, 10),
        ("allow := time.now_ns() > 0", "call_not_allowed", 4, 10),
        ("allow := opa.runtime().env.HOME", "call_not_allowed", 4, 10),
        ('allow := rand.intn("a", 2) == 1', "call_not_allowed", 4, 10),
        ('allow := net.lookup_ip_addr("a") == set()', "call_not_allowed", 4, 10),
        ('allow := trace("x")', "call_not_allowed", 4, 10),
        ('allow if print("x")', "call_not_allowed", 4, 10),
        ('allow := io.jwt.decode("x") == 1', "call_not_allowed", 4, 10),
        ("allow := unheard_of(1)", "call_not_allowed", 4, 10),
        ("allow if count([1 | time.now_ns() > 0]) > 0", "call_not_allowed", 4, 21),
        ("allow := x if { x := count([]) with time.now_ns as 1 }", "call_not_allowed", 4, 37),
        # A local rule named like a namespace does not hide the built-in behind it.
        ("http := 1\nallow := http.send({}) == 1", "call_not_allowed", 5, 10),
        ("import data.sealward.a as http\nallow := http.send({})", "call_not_allowed", 5, 10),
        ('allow := data.sealward.release["http"].send({})', "call_not_allowed", 4, 10),
        ("allow := allow", "recursion", 4, 1),
        ("f(x) := f(x - 1)\nallow := f(3) == 1", "recursion", 4, 1),
        ("a := b\nb := c\nc := a\nallow := a", "recursion", 4, 1),
        ("f(x) := data.sealward.release.f(x)\nallow := f(3) == 1", "recursion", 4, 1),
        ('f(x) := data["sealward"].release["f"](x)\nallow := f(3) == 1', "recursion", 4, 1),
        ("allow := count(data.sealward.release) > 0", "recursion", 4, 1),
        ("allow := count(data) > 0", "recursion", 4, 1),
        ("allow := data.sealward[input.x].allow", "recursion", 4, 1),
        ("allow := data[input.x].release.allow", "recursion", 4, 1),
        ("import data.sealward as s\nallow := s.release.allow", "recursion", 5, 1),
        ("p[x] := y if { some x in [1]; y := p[x] }\nallow := p[1] == 1", "recursion", 4, 1),
        ("p contains x if { some x in p }\nallow := count(p) > 0", "recursion", 4, 1),
        ("allow if { every x in [1] { not allow } }", "recursion", 4, 1),
        ("default allow := false\nallow if { count({y | y := allow}) > 0 }", "recursion", 5, 1),
        ("\n".join(f"r{at} := r{at + 1}" for at in range(300)) + "\nr300 := 1\nallow := r0 == 1",
         "chain_too_long", None, None),
        ('allow := "yes"', "sample_failed", None, None),
        ("allow := input.missing", "sample_failed", None, None),
    ],
)  # fmt: skip
def test_what_is_refused_and_where(
    problems: Problems, body: str, code: str, line: int, column: int
):
    found = problems(body + REST)
    assert {one.code for one in found} == {code}
    if line is not None:
        assert (line, column) in [(one.line, one.column) for one in found]
        assert found[0].describe().startswith("policy.rego:")


def test_a_parse_error_points_at_file_line_and_column(problems: Problems):
    (found,) = problems("allow := [1, 2" + REST)
    assert found.describe().startswith("policy.rego:5:")


def test_a_failing_test_refuses(problems: Problems):
    tests = (
        b"package sealward.release.policy_test\nimport rego.v1\n"
        b"test_right if data.sealward.release.allow\n"
        b"test_wrong if not data.sealward.release.allow\n"
        b'test_broken if to_number("x") == 1\n'
    )
    found = problems("allow := true" + REST, files={"policy_test.rego": tests})
    assert [(one.code, one.file, one.line) for one in found] == [
        ("test_failed", "policy_test.rego", 5),
        ("test_failed", "policy_test.rego", 4),
    ]


def test_its_own_samples_get_the_answers_they_expect(problems: Problems):
    right = b'{"input":{},"reference":{},"expected":{"allow":true,"obligations":{},"reasons":[]}}'
    body = "allow := true" + REST
    assert problems(body, files={"samples/right.json": right}) == ()
    wrong = right.replace(b"true", b"false")
    (found,) = problems(body, files={"samples/wrong.json": wrong})
    assert (found.code, found.file) == ("sample_failed", "samples/wrong.json")


def test_honest_policies_may_use_the_language(problems: Problems):
    body = """
import data.sealward.release.lib as helpers

default allow := false

allow if {
	helpers.known(input.node)
	every component in ["a", "b"] {
		component in input.components
	}
	not blocked
}

blocked if some x in input.list
reasons contains {"code": "no", "claim": null, "expected": n, "actual": 1, "hint": "h"} if {
	not allow
	n := count([k | some k, v in {"a": 1}; v > 0])
}
obligations := object.union({"ttl_seconds": 1}, {})
"""
    library = b"package sealward.release.lib\nimport rego.v1\nknown(node) if node.id\n"
    assert problems(body, files={"lib.rego": library}) == ()


def test_a_bundle_outside_its_root_is_refused_first(problems: Problems):
    (found,) = problems("allow := 1 +", files={"x.rego": b"package sealward.appraisal\n"})
    assert (found.code, found.file) == ("outside_root", "x.rego")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None),
        ("[" * (MAX_DEPTH + 1), (1, MAX_DEPTH + 1)),
        ("\n  " + "([{" * 4, (2, MAX_DEPTH + 3)),
        ('x := "' + "[" * 50 + '"', None),
        ("x := `" + "[\n" * 50 + "`", None),
        ("# " + "[" * 50, None),
        ('x := "\\"' + "[" * 50 + '"', None),
        ('x := "' + "\n" + "[" * 5, (1, 6)),
        ("x := `" + "[" * 5, (1, 6)),
        ("]" * 50 + "[" * 11, (1, 61)),
        ("[]" * 1000, None),
    ],
)
def test_brackets_are_counted_outside_strings_and_comments(
    text: str, where: tuple[int, int] | None
):
    found = find_too_deep(text)
    assert (found and found[:2]) == where


@given(st.text(alphabet='[](){}"`#\\\n a', max_size=60))
def test_the_scan_answers_for_any_text(text: str):
    found = find_too_deep(text)
    if found is None and not set(text) & set('"`#'):
        assert (
            text.count("[") + text.count("(") + text.count("{") <= MAX_DEPTH
            or "]" in text
            or (")" in text or "}" in text)
        )
