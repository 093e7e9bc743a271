"""What an OPA server answers is the answer of that very policy, or a refusal with a reason."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.adapters.policy_engine.opa.answers import Gone, failure, policy_answer
from sealward.controlplane.adapters.policy_engine.opa.client import Answer
from sealward.controlplane.adapters.policy_engine.opa.mount import Mount, MountedModule
from sealward.controlplane.domain.policy_engine import EngineFault, PolicyEngineError

MODULE = MountedModule(
    id="sealward_mounts/r_1/p_2/policy/a.rego",
    text="package sealward_mounts.r_1.p_2.x\n\ny := data.sealward_mounts.r_1.p_2.reference.z\n",
    origin="a.rego",
    insertions=((8, 24), (22, 24)),
)
MOUNT = Mount(name="r_1/p_2", prefix=("sealward_mounts", "r_1", "p_2"), modules=(MODULE,))
NAME = b'"mount":"r_1/p_2"'


def ok(body: bytes) -> Answer:
    return Answer(200, body)


def fault(answer: Answer) -> tuple[EngineFault, str]:
    with pytest.raises(PolicyEngineError) as refused:
        policy_answer(answer, MOUNT)
    return refused.value.fault, refused.value.detail


def test_an_answer_with_its_provenance_is_the_canonical_answer() -> None:
    body = b'{"decision_id":"x", "result": {%b, "answer": {"b": [1, 2], "a": "\\u00e9"}}}' % NAME
    assert policy_answer(ok(body), MOUNT) == '{"a":"é","b":[1,2]}'.encode()


@pytest.mark.parametrize("value", [b"null", b"false", b"[]", b"0", b'""'])
def test_an_answer_that_is_empty_or_false_is_an_answer(value: bytes) -> None:
    assert policy_answer(ok(b'{"result":{%b,"answer":%b}}' % (NAME, value)), MOUNT) == value


def test_undefined_is_told_apart_and_says_which_names() -> None:
    body = b'{"result":{%b,"missing":["allow","reasons"]}}' % NAME
    assert fault(ok(body)) == (EngineFault.UNDEFINED, "no value for allow, reasons")


@pytest.mark.parametrize("body", [b"{}", b'{"decision_id":"x"}'])
def test_no_result_means_that_the_mount_is_gone(body: bytes) -> None:
    with pytest.raises(Gone):
        policy_answer(ok(body), MOUNT)


@pytest.mark.parametrize(
    "result",
    [
        b'{"mount":"r_2/p_2","answer":true}',
        b'{"answer":true}',
        b'{%b,"answer":true,"more":1}' % NAME,
        b'{%b,"answer":true,"missing":[]}' % NAME,
        b"{%b}" % NAME,
        b"true",
        b"null",
        b"[]",
    ],
)
def test_an_answer_from_anywhere_else_is_a_refusal(result: bytes) -> None:
    assert fault(ok(b'{"result":%b}' % result))[0] is EngineFault.CRASHED


@pytest.mark.parametrize(
    "value", [b"1.5", b"1e3", b"9007199254740992", b"18446744073709551615", b"-9007199254740992"]
)
def test_a_number_that_not_everybody_reads_alike_is_the_policys_error(value: bytes) -> None:
    answer = ok(b'{"result":{%b,"answer":{"allow":%b}}}' % (NAME, value))
    assert fault(answer)[0] is EngineFault.ERROR


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>proxy</html>",
        b'\xef\xbb\xbf{"result":{%b,"answer":true}}' % NAME,
        b'{"error":1}}',
        b"[" * 1000,
        b'"text"',
        b"\xff",
    ],
)
def test_what_is_no_strict_json_object_is_a_refusal(body: bytes) -> None:
    assert fault(ok(body))[0] is EngineFault.CRASHED


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":{%b,"answer":false},"result":{%b,"answer":true}}' % (NAME, NAME),
        b'{"result":{%b,"answer":false,"answer":true}}' % NAME,
        b'{"result":{%b,"answer":NaN}}' % NAME,
        b'{"result":{%b,"answer":true}} x' % NAME,
        b'{"result":{%b,"answer":1e999}}' % NAME,
        b'{"result":{%b,"answer":99999999999999999999}}' % NAME,
        b'{"decision_id":"x","result":{%b,"answer":%b}}' % (NAME, b"[" * 65 + b"]" * 65),
    ],
)
def test_a_result_that_is_not_strict_json_is_the_policys_error(body: bytes) -> None:
    assert fault(ok(body))[0] is EngineFault.ERROR


def test_an_answer_may_nest_as_deep_as_the_embedded_engines() -> None:
    deep = b"[" * 64 + b"]" * 64
    assert policy_answer(ok(b'{"result":{%b,"answer":%b}}' % (NAME, deep)), MOUNT) == deep


def test_an_error_of_the_evaluation_tells_the_authors_place() -> None:
    body = (
        b'{"code":"internal_error","message":"error(s) occurred while evaluating query","errors":'
        b'[{"code":"eval_builtin_error","message":"data.sealward_mounts.r_1.p_2.reference: bad",'
        b'"location":{"file":"sealward_mounts/r_1/p_2/policy/a.rego","row":3,"col":45}}]}'
    )
    assert fault(Answer(500, body)) == (EngineFault.ERROR, "a.rego:3:21: data.reference: bad")


def test_an_evaluation_that_the_server_gave_up_is_a_timeout() -> None:
    body = b'{"code":"internal_error","message":"","errors":[{"code":"eval_cancel_error"}]}'
    assert fault(Answer(500, body))[0] is EngineFault.TIMEOUT


@pytest.mark.parametrize(
    ("status", "word"),
    [(301, "redirects"), (307, "redirects"), (401, "--authentication"), (403, "authorization")],
)
def test_a_refusal_of_the_server_says_what_to_change(status: int, word: str) -> None:
    kind, detail = fault(Answer(status, b""))
    assert kind is EngineFault.CRASHED
    assert word in detail


def test_not_found_and_failed_are_told_apart() -> None:
    missing = fault(Answer(404, b'{"code":"resource_not_found","message":"m"}'))
    failed = fault(Answer(500, b'{"code":"internal_error","message":"m"}'))
    proxy = fault(Answer(500, b"<html>"))
    assert {missing[0], failed[0], proxy[0]} == {EngineFault.CRASHED}
    assert "404" in missing[1]
    assert failed[1] == "OPA gave no answer, status 500, internal_error: m"
    assert "not JSON" in proxy[1]


def test_a_long_message_is_cut() -> None:
    body = b'{"code":"c","message":"m","errors":[{"message":"%b"}]}' % (b"x" * 9000)
    assert len(failure(Answer(400, body), MOUNT).detail) == 512


def test_places_in_what_the_host_added_stay_as_opa_tells_them() -> None:
    host = MountedModule(id="host.rego", text="")
    body = (
        b'{"code":"c","message":"m","errors":[{"message":"m",'
        b'"location":{"file":"host.rego","row":1,"col":2}}]}'
    )
    assert failure(Answer(400, body), replace(MOUNT, modules=(host,))).detail == "host.rego:1:2: m"


@given(status=st.sampled_from([200, 204, 400, 404, 500, 502]), body=st.binary(max_size=200))
def test_no_bytes_bring_anything_but_the_documented_errors(status: int, body: bytes) -> None:
    with pytest.raises((PolicyEngineError, Gone)):
        policy_answer(Answer(status, body), MOUNT)


@given(
    errors=st.recursive(
        st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["code", "message", "errors", "location", "file", "row", "col"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_shape_of_errors_brings_anything_but_an_engine_error(errors: object) -> None:
    import json  # noqa: PLC0415 - a writer, for this test alone

    body = json.dumps({"code": "c", "message": "m", "errors": errors}).encode()
    assert isinstance(failure(Answer(500, body), MOUNT), PolicyEngineError)
