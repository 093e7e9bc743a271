"""The OPA engine over a real OPA: provenance, isolation, faults, and how strict it must be."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import require_part
from fakes import opa_server
from fakes.opa_server import Opa
from fakes.scripted_http import answer, serving

from sealward.controlplane.adapters.policy_engine.opa import probe
from sealward.controlplane.adapters.policy_engine.opa.client import OpaClient
from sealward.controlplane.adapters.policy_engine.opa.endpoint import Endpoint
from sealward.controlplane.adapters.policy_engine.opa.engine import OpaEngine, OpaSettings
from sealward.controlplane.adapters.policy_engine.opa.mentions import find_mentions
from sealward.controlplane.adapters.policy_engine.opa.mount import ROOT, Mount, mount
from sealward.controlplane.adapters.policy_engine.process import WorkerSettings
from sealward.controlplane.domain.errors import Code, Unavailable
from sealward.controlplane.domain.policies import Layer, PolicyKind, package_root
from sealward.controlplane.domain.policies_bundle import bundle_from_files
from sealward.controlplane.domain.policy_engine import (
    EngineFault,
    LayerPolicy,
    PolicyEngineError,
)

pytestmark = pytest.mark.integration

REST = "\nreasons := set()\nobligations := {}\n"
YES = b'{"allow":true,"obligations":{},"reasons":[]}'


@pytest.fixture(scope="session")
def opa_is_here() -> None:
    reason = opa_server.missing()
    if reason:
        require_part(reason)


needs_opa = pytest.mark.usefixtures("opa_is_here")


@pytest.fixture(scope="module")
def server(opa_is_here: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opa]:  # noqa: ARG001 - comes first
    """A real OPA behind mutual TLS under a private CA."""
    with opa_server.running(tmp_path_factory.mktemp("opa")) as running:
        yield running


@pytest.fixture
def engine(server: Opa) -> Iterator[OpaEngine]:
    with opa_server.engine(server.endpoint, random_bytes=bytes) as opened:
        yield opened


@pytest.fixture
def operator(server: Opa) -> Iterator[Callable[..., int]]:
    """Somebody else who may write to the server."""
    client = OpaClient(server.endpoint)

    def call(method: str, path: str, body: bytes | None = None) -> int:
        media = "text/plain" if path.startswith("/v1/policies") else "application/json"
        return client.request(
            method, path, body=body, media_type=media, seconds=10, max_bytes=1 << 20
        ).status

    yield call
    client.close()


def policy_of(
    body: str, *, layer: Layer = Layer.ORGANISATION, scope: str = "tenant/x", **files: str
) -> LayerPolicy:
    """A release policy from what follows its package clause; `files` are more modules and data."""
    root = package_root(PolicyKind.RELEASE, layer)
    every = {
        ".manifest": f'{{"roots":["{root.replace(".", "/")}"]}}',
        "policy.rego": f"package {root}\n\nimport rego.v1\n{body}",
        **{name.replace("__", "."): text for name, text in files.items()},
    }
    bundle = bundle_from_files({path: text.encode() for path, text in every.items()})
    return LayerPolicy(scope=scope, layer=layer, kind=PolicyKind.RELEASE, bundle=bundle)


def on_server(policy: LayerPolicy) -> Mount:
    """What an engine of instance 0 puts on a server."""
    return mount(policy, find_mentions(policy, WorkerSettings(), 10), instance="00" * 16)


def fault(
    engine: OpaEngine, policy: LayerPolicy, document: bytes = b"{}", reference: bytes = b"{}"
) -> tuple[EngineFault, str]:
    with pytest.raises(PolicyEngineError) as refused:
        engine.evaluate(policy, document, reference)
    return refused.value.fault, refused.value.detail


def test_a_policy_sees_the_input_and_the_reference_of_its_request(engine: OpaEngine) -> None:
    policy = policy_of(
        "default allow := false\nallow if input.x == data.reference.y\n"
        "reasons := [input, data.reference]\nobligations := {}\n"
    )
    for number in (1, 2):
        document, reference = b'{"x":%d}' % number, b'{"y":1}'
        allowed = b"true" if number == 1 else b"false"
        assert engine.evaluate(policy, document, reference) == (
            b'{"allow":%b,"obligations":{},"reasons":[%b,%b]}' % (allowed, document, reference)
        )


def test_an_empty_input_is_an_input(engine: OpaEngine) -> None:
    policy = policy_of("default allow := false\nallow if input == {}" + REST)
    assert engine.evaluate(policy, b"{}") == YES


def test_names_without_a_value_are_undefined_and_told(engine: OpaEngine) -> None:
    policy = policy_of("allow := true if input.x\nreasons := set()\nobligations := 1 if input.x")
    assert fault(engine, policy) == (EngineFault.UNDEFINED, "no value for allow, obligations")
    assert engine.evaluate(policy, b'{"x":1}') == b'{"allow":true,"obligations":1,"reasons":[]}'


def test_false_is_a_value(engine: OpaEngine) -> None:
    body = "allow := false\nreasons := set()\nobligations := false\n"
    assert engine.evaluate(policy_of(body), b"{}").startswith(b'{"allow":false')


@pytest.mark.parametrize(
    ("body", "place", "word"),
    [
        ('allow if to_number(input.x) == 1 else := to_number("x")', "4:42", "to_number"),
        ("allow := x if { some x in [true, false] }", "4:1", "conflict"),
        ('allow if data.reference.a == to_number("x")', "4:30", "to_number"),
        ("allow := 1 / input.zero", "4:1", "divide by zero"),
    ],
)
def test_an_error_is_an_error_with_the_authors_place(
    engine: OpaEngine, body: str, place: str, word: str
) -> None:
    document, reference = b'{"x":"2","zero":0}', b'{"a":1}'
    kind, detail = fault(engine, policy_of(body + REST), document, reference)
    assert kind is EngineFault.ERROR
    assert detail.startswith(f"policy.rego:{place.partition(':')[0]}:")
    assert word in detail


def test_what_opa_does_not_compile_is_an_error_with_the_authors_place(engine: OpaEngine) -> None:
    kind, detail = fault(engine, policy_of("allow if { x := 1; data.reference.y == z }" + REST))
    assert kind is EngineFault.ERROR
    assert "policy.rego:4:40: " in detail or "policy.rego:4:" in detail


def test_layers_scopes_and_revisions_stand_beside_each_other(engine: OpaEngine) -> None:
    policies = [
        policy_of("allow := true" + REST),
        policy_of("allow := false" + REST),
        policy_of("allow := false" + REST, layer=Layer.TEAM),
        policy_of("allow := true" + REST, scope="tenant/y"),
    ]
    for _ in range(2):
        answers = [engine.evaluate(policy, b"{}") for policy in policies]
        assert [b'"allow":true' in one for one in answers] == [True, False, False, True]


def test_a_policy_sees_nothing_else_on_the_server(
    engine: OpaEngine, operator: Callable[..., int]
) -> None:
    assert operator("PUT", "/v1/data/secrets", b'{"key":"k"}') == 204
    assert operator("PUT", "/v1/data/reference", b'{"key":"k"}') == 204
    assert operator("PUT", "/v1/policies/theirs", b"package sealward.team\nallow := true\n") == 200
    body = (
        "default allow := false\nallow if data.secrets\nallow if data.reference.key\n"
        "allow if data.sealward.team.allow\n" + REST
    )
    assert engine.evaluate(policy_of(body), b"{}") == YES.replace(b"true", b"false")


@pytest.mark.parametrize("everything", ["data[input.x]", "data", "walk(data, [[input.x], _])"])
def test_the_whole_of_data_cannot_be_looked_through(engine: OpaEngine, everything: str) -> None:
    kind, detail = fault(engine, policy_of(f"allow if {everything}" + REST))
    assert kind is EngineFault.ERROR
    assert "recursive" in detail


@pytest.mark.parametrize(
    "call",
    ['http.send({"url": "http://127.0.0.1", "method": "get"})', "opa.runtime()", "time.now_ns()"],
)
def test_what_no_policy_may_call_is_refused_by_opas_own_reading(
    engine: OpaEngine, call: str
) -> None:
    kind, detail = fault(engine, policy_of(f"allow if {call}" + REST))
    assert kind is EngineFault.ERROR
    assert detail == f"policy.rego: OPA reads {call.partition('(')[0]} in it"


def test_functions_of_several_files_are_put_in_an_order_that_works(engine: OpaEngine) -> None:
    helpers = {
        f"{letter}__rego": "package sealward.release.helpers\n\nimport rego.v1\n\n"
        f"f_{letter}(x) := f_{following}(x)\n"
        for letter, following in zip("abc", "bcd", strict=True)
    }
    helpers["d__rego"] = "package sealward.release.helpers\n\nimport rego.v1\n\nf_d(x) := x\n"
    body = "allow := data.sealward.release.helpers.f_a(true)" + REST
    assert engine.evaluate(policy_of(body, **helpers), b"{}") == YES


def test_data_of_the_bundle_is_there_beside_rules(engine: OpaEngine) -> None:
    more = "package sealward.release.more\n\nimport rego.v1\n\ny := 2\n"
    policy = policy_of(
        "import data.sealward.release.more\nallow := true\nreasons := set()\n"
        "obligations := object.union(limits, more)\n",
        data__json='{"sealward":{"release":{"limits":{"a-b":[1,{"\\u00e9":null}]},"more":{"x":1}}}}',
        more__rego=more,
    )
    expected = '{"allow":true,"obligations":{"a-b":[1,{"é":null}],"x":1,"y":2},"reasons":[]}'
    assert engine.evaluate(policy, b"{}") == expected.encode()


def test_a_server_that_forgot_everything_gets_it_again(
    engine: OpaEngine, operator: Callable[..., int]
) -> None:
    policy = policy_of("allow := true" + REST)
    assert engine.evaluate(policy, b"{}") == YES
    for module in on_server(policy).modules[::-1]:
        assert operator("DELETE", f"/v1/policies/{module.id}") == 200
    assert engine.evaluate(policy, b"{}") == YES


def test_two_engines_on_one_server_do_not_meet(server: Opa, operator: Callable[..., int]) -> None:
    policy = policy_of("allow := true" + REST)
    with opa_server.engine(server.endpoint) as first:
        assert first.evaluate(policy, b"{}") == YES
        with opa_server.engine(server.endpoint, random_bytes=bytes) as second:
            assert second.evaluate(policy, b"{}") == YES
            assert operator("GET", f"/v1/policies/{on_server(policy).modules[0].id}") == 200
        assert operator("GET", f"/v1/policies/{on_server(policy).modules[0].id}") == 404
        assert first.evaluate(policy, b"{}") == YES


def test_retiring_and_closing_leave_nothing_on_the_server(
    server: Opa, operator: Callable[..., int]
) -> None:
    policies = [policy_of("allow := true" + REST, scope=f"tenant/{n}") for n in range(3)]
    with opa_server.engine(
        server.endpoint, OpaSettings(max_policies=2, load_seconds=20), random_bytes=bytes
    ) as engine:
        ids = []
        for policy in policies:
            engine.evaluate(policy, b"{}")
            ids.append(on_server(policy).modules[-1].id)
        deadline = time.monotonic() + 10
        while operator("GET", f"/v1/policies/{ids[0]}") == 200 and time.monotonic() < deadline:
            time.sleep(0.02)  # the one that gave way is removed in the background
        assert [operator("GET", f"/v1/policies/{one}") for one in ids] == [404, 200, 200]
    assert [operator("GET", f"/v1/policies/{one}") for one in ids] == [404, 404, 404]


def test_many_callers_of_a_new_policy_mount_it_once_and_all_get_their_answers(
    engine: OpaEngine,
) -> None:
    policy = policy_of("allow := true\nreasons := [input.n]\nobligations := {}\n")
    said: dict[int, bytes] = {}

    def ask(number: int) -> None:
        said[number] = engine.evaluate(policy, b'{"n":%d}' % number)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert said == {
        n: b'{"allow":true,"obligations":{},"reasons":[%d]}' % n for n in range(len(threads))
    }


def test_an_answer_that_is_too_large_is_the_policys_error(engine: OpaEngine) -> None:
    body = "allow := true\nreasons := numbers.range(1, 60000)\nobligations := {}\n"
    kind, detail = fault(engine, policy_of(body))
    assert kind is EngineFault.ERROR
    assert "larger than" in detail


# --- a server that is not there, or not what it should be ----------------------------------------


@needs_opa
def test_a_server_that_is_gone_is_soon_not_asked_and_soon_asked_again(tmp_path: Path) -> None:
    settings = OpaSettings(deadline_seconds=5, load_seconds=20, server_pause_seconds=0.2)
    policy = policy_of("allow := true" + REST)
    with (
        opa_server.running(tmp_path, plain=True) as first,
        opa_server.engine(first.endpoint, settings) as engine,
    ):
        assert engine.evaluate(policy, b"{}") == YES
        first.process.kill()
        first.process.wait()
        faults = [fault(engine, policy) for _ in range(6)]
        assert {kind for kind, _ in faults} == {EngineFault.CRASHED, EngineFault.BUSY}
        assert "could not be reached" in faults[-1][1]
        with opa_server.running(tmp_path, plain=True, port=first.port):
            time.sleep(0.3)
            assert engine.evaluate(policy, b"{}") == YES


def test_a_server_that_never_answers_holds_a_caller_for_the_deadline_and_then_not_at_all() -> None:
    done = threading.Event()

    def silent(_number: int, _request: bytes) -> Iterator[bytes]:
        done.wait(20)
        yield b""

    settings = OpaSettings(deadline_seconds=0.2, load_seconds=0.5, failures_before_pause=2)
    with serving(silent) as scripted:
        endpoint = Endpoint(url=scripted.url, tls=None)
        with opa_server.engine(endpoint, settings) as engine:
            policy = policy_of("allow := true" + REST)
            began = time.monotonic()
            faults = [fault(engine, policy)[0] for _ in range(4)]
            held = time.monotonic() - began
            done.set()
    assert faults == [EngineFault.TIMEOUT] * 2 + [EngineFault.BUSY] * 2
    assert held < 3


def test_what_is_no_opa_is_refused() -> None:
    with serving(lambda _n, _r: iter((answer("200 OK", b"<html>"),))) as scripted:
        endpoint = Endpoint(url=scripted.url, tls=None)
        with opa_server.engine(endpoint) as engine:
            kind, detail = fault(engine, policy_of("allow := true" + REST))
    assert kind is EngineFault.CRASHED
    assert "not as it was put there" in detail or "does not hold" in detail


# --- the probe -----------------------------------------------------------------------------------


def probed(endpoint: Endpoint) -> None:
    with opa_server.engine(endpoint, probe.roomy(OpaSettings())) as engine:
        probe.require_usable(endpoint, engine)


def refused(endpoint: Endpoint) -> str:
    with pytest.raises(Unavailable) as found:
        probed(endpoint)
    assert found.value.code is Code.policy_engine_unavailable
    assert found.value.hint
    return found.value.detail


def test_a_strict_server_passes_and_keeps_nothing(
    server: Opa, operator: Callable[..., int]
) -> None:
    probed(server.endpoint)
    assert operator("GET", "/v1/data/" + ROOT) == 200


@needs_opa
def test_plain_http_on_loopback_passes(tmp_path: Path) -> None:
    with opa_server.running(tmp_path, plain=True) as local:
        probed(local.endpoint)


@needs_opa
def test_a_server_that_answers_strangers_is_refused(tmp_path: Path) -> None:
    with opa_server.running(tmp_path, lax=True) as lax:
        assert "--authentication=tls" in refused(lax.endpoint)


def authorization(identity: str) -> str:
    """The policy that the guide gives to operators, for a certificate of another name."""
    guide = Path(__file__).resolve().parents[2] / "docs" / "run-a-control-plane.md"
    (policy,) = re.findall(r"```rego\n(package system\.authz.*?)```", guide.read_text(), re.DOTALL)
    assert policy.count("CN=sealward") == 1
    return policy.replace("CN=sealward", identity)


@needs_opa
def test_the_authorization_of_the_guide_lets_us_in_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "authz.rego").write_text(authorization("CN=leaf"))
    options = ("--min-tls-version", "1.3", "--authorization=basic", str(tmp_path / "authz.rego"))
    with opa_server.running(tmp_path, *options) as guarded:
        probed(guarded.endpoint)
        client = OpaClient(guarded.endpoint)
        try:
            statuses = {
                path: client.request(
                    "PUT", path, body=b"package x\n", seconds=10, max_bytes=1 << 16
                ).status
                for path in ("/v1/policies/authz", "/v1/policies/other", "/v1/data/system")
            }
        finally:
            client.close()
    assert set(statuses.values()) == {401}


@needs_opa
def test_the_authorization_of_the_guide_keeps_others_of_the_same_ca_out(tmp_path: Path) -> None:
    (tmp_path / "authz.rego").write_text(authorization("CN=somebody"))
    options = ("--authorization=basic", str(tmp_path / "authz.rego"))
    with opa_server.running(tmp_path, *options) as guarded:
        assert "does not accept who we are" in refused(guarded.endpoint)


@needs_opa
def test_a_server_that_does_not_let_us_write_is_refused(tmp_path: Path) -> None:
    tmp_path.joinpath("authz.rego").write_text("package system.authz\n\ndefault allow := false\n")
    with opa_server.running(
        tmp_path, "--authorization=basic", str(tmp_path / "authz.rego")
    ) as closed:
        assert "does not accept who we are" in refused(closed.endpoint)


def test_nobody_there_is_told() -> None:
    endpoint = Endpoint(url="http://127.0.0.1:9", tls=None)
    assert "cannot be reached" in refused(endpoint)


def test_a_server_of_another_ca_is_told(tmp_path: Path, server: Opa) -> None:
    other = Endpoint(url=server.endpoint.url, tls=opa_server.tls_files(tmp_path))
    assert "CERTIFICATE_VERIFY_FAILED" in refused(other)
