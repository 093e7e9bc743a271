"""The protocol's application, driven as ASGI: order of checks, states and errors."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.inference import errors, oip_codec
from sealward.enclave_agent.inference.catalog import Catalog, Entry, ModelState
from sealward.enclave_agent.inference.errors import InferenceError, InvalidRequest
from sealward.enclave_agent.inference.gate import Permit, Refusal, Refused
from sealward.enclave_agent.inference.oip import Budgets, InferenceApp, answer_error
from sealward.enclave_agent.inference.signature import Signature, TensorSpec
from sealward.enclave_agent.inference.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from sealward.enclave_agent.inference.http import Message
    from sealward.verifier.wire.json import Value

INPUT = Tensor("x", Datatype.INT8, (2,), b"\x01\x02")
REQUEST = {"inputs": [{"name": "x", "shape": [2], "datatype": "INT8", "data": [1, 2]}]}
TOKEN = (b"authorization", b"Bearer t")


SIGNATURE = Signature(
    (TensorSpec("x", Datatype.INT8, (2,)),), (TensorSpec("y", Datatype.INT8, (2,)),)
)


@dataclass
class Model:
    """Answers its input, or fails as told."""

    events: list[str]
    unavailable_because: str | None = None
    failure: InferenceError | None = None
    signature: Signature = SIGNATURE

    async def infer(
        self, inputs: tuple[Tensor, ...], outputs: tuple[str, ...] = ()
    ) -> tuple[Tensor, ...]:
        self.events.append(f"run {outputs}")
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        return (Tensor("y", Datatype.INT8, (2,), inputs[0].data),)


@dataclass
class Gate:
    """Says yes, or refuses where told; writes down when it was asked."""

    events: list[str]
    refuse_entry: Refused | None = None
    refuse_release: Refused | None = None

    def identify(self, token: str) -> None:
        self.events.append(f"identify {token}")
        if self.refuse_entry:
            raise self.refuse_entry

    def enter(self, model: str, token: str) -> Permit:
        self.events.append(f"enter {model} {token}")
        if self.refuse_entry:
            raise self.refuse_entry
        return self

    def release(self) -> None:
        self.events.append("release")
        if self.refuse_release:
            raise self.refuse_release


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)  # noqa: TID251 - our own answer


@dataclass
class House:
    """An application with its parts, and what happened in which order."""

    events: list[str] = field(default_factory=list)
    catalog: Catalog = field(default_factory=Catalog)

    def __post_init__(self) -> None:
        self.model = Model(self.events)
        self.gate = Gate(self.events)
        self.catalog.put(Entry("m", 3, self.model))
        budgets = Budgets(body_bytes=1000, json_bytes=500, body_seconds=0.05)
        self.app = InferenceApp(catalog=self.catalog, gate=self.gate, budgets=budgets)

    def ask(
        self,
        method: str,
        path: str,
        *pieces: bytes | None,
        headers: tuple[tuple[bytes, bytes], ...] = (TOKEN,),
    ) -> Answer:
        """Send pieces of a body; None is silence for ever."""
        sent: list[dict[str, Any]] = []
        waiting = list(pieces or (b"",))

        async def receive() -> dict[str, Any]:
            piece = waiting.pop(0)
            self.events.append("body")
            if piece is None:
                await asyncio.sleep(60)
            return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

        async def send(message: Message) -> None:
            self.events.append(message["type"])
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        asyncio.run(self.app(scope, receive, send))
        [start, body] = sent
        return Answer(start["status"], dict(start["headers"]), body["body"])

    def infer(self, request: Any = REQUEST, **options: Any) -> Answer:  # noqa: ANN401 - JSON
        return self.ask("POST", "/v2/models/m/infer", json.dumps(request).encode(), **options)


def test_the_gate_is_asked_before_the_body_is_read_and_again_before_output_leaves():
    house = House()
    assert house.infer().json() == {
        "model_name": "m",
        "model_version": "3",
        "outputs": [{"name": "y", "datatype": "INT8", "shape": [2], "data": [1, 2]}],
    }
    assert house.events == [
        "enter m t",
        "body",
        "run ()",
        "release",
        "http.response.start",
        "http.response.body",
    ]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Refusal.UNAUTHENTICATED, 401),
        (Refusal.FORBIDDEN, 403),
        (Refusal.UNKNOWN_MODEL, 404),
        (Refusal.STARTING, 503),
        (Refusal.LEASE_EXPIRED, 503),
        (Refusal.LEASE_REVOKED, 503),
    ],
)
def test_a_closed_gate_reads_no_body_and_a_gate_that_closes_lets_no_output_out(
    code: Refusal, status: int
):
    house = House()
    house.gate.refuse_entry = Refused(code, "because")
    answer = house.infer()
    assert (answer.status, answer.json()) == (status, {"error": "because", "code": code})
    assert "body" not in house.events
    assert (b"www-authenticate" in answer.headers) == (status == 401)

    house = House()
    house.gate.refuse_release = Refused(code, "because")
    answer = house.infer()
    assert (answer.status, answer.json()) == (status, {"error": "because", "code": code})
    assert "run ()" in house.events


def test_a_lease_that_took_the_model_along_is_the_answer():
    house = House()
    house.model.failure = errors.ModelUnavailable("worker ended")
    assert house.infer().json()["code"] == "model_unavailable"
    house.gate.refuse_release = Refused(Refusal.LEASE_REVOKED, "revoked")
    assert house.infer().json() == {"error": "revoked", "code": "lease_revoked"}


def test_no_token_asks_nobody():
    for headers in ((), ((b"authorization", b"Basic x"),), ((b"authorization", b"Bearer "),)):
        house = House()
        answer = house.infer(headers=headers)
        assert (answer.status, answer.json()["code"]) == (401, "unauthenticated")
        assert house.events[0] == "http.response.start"


def test_a_large_body_does_not_hold_up_the_event_loop():
    house = House()
    house.app = InferenceApp(
        catalog=house.catalog,
        gate=house.gate,
        budgets=Budgets(body_bytes=8 << 20, json_bytes=8 << 20, body_seconds=5),
    )
    numbers = b",".join([b"1"] * 1_000_000)  # half a second of reading on a quick machine
    body = b'{"inputs":[{"name":"x","shape":[1000000],"datatype":"INT8","data":[%b]}]}' % numbers
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def story() -> None:
        async def receive() -> Message:
            return {"type": "http.request", "body": body}

        async def send(_message: Message) -> None:
            house.events.append(f"answered after {ticks > 3}")

        clock = asyncio.create_task(tick())
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v2/models/m/infer",
            "headers": (TOKEN,),
        }
        await house.app(scope, receive, send)
        clock.cancel()

    asyncio.run(story())
    assert house.events[-1] == "answered after True"


def test_two_headers_of_one_name_are_refused():
    answer = House().infer(headers=(TOKEN, TOKEN))
    assert (answer.status, answer.json()["code"]) == (400, "malformed_request")


BAD_BODIES: dict[str, tuple[tuple[bytes | None, ...], tuple[tuple[bytes, bytes], ...], int]] = {
    "announced too long": ((b"{}",), ((b"content-length", b"1001"),), 413),
    "sent too long": ((b"x" * 600, b"x" * 600), (), 413),
    "never sent": ((b"{", None), (), 408),
    "compressed": ((b"{}",), ((b"content-encoding", b"gzip"),), 415),
    "length is signed": ((b"{}",), ((b"inference-header-content-length", b"+2"),), 400),
    "length is not ascii": ((b"{}",), ((b"inference-header-content-length", b"\xb2"),), 400),
    "length is huge": ((b"{}",), ((b"inference-header-content-length", b"9" * 5000),), 400),
    "json over its budget": ((b" " * 501,), (), 400),
}


@pytest.mark.parametrize("what", BAD_BODIES)
def test_a_body_outside_its_budget_is_refused(what: str):
    pieces, headers, status = BAD_BODIES[what]
    house = House()
    answer = house.ask("POST", "/v2/models/m/infer", *pieces, headers=(TOKEN, *headers))
    assert answer.status == status
    assert answer.json().keys() == {"error", "code"}
    assert "run ()" not in house.events


def test_bodies_that_would_exceed_the_nodes_budget_are_put_off_and_room_is_given_back():
    house = House()
    budgets = Budgets(body_bytes=1000, all_bodies_bytes=999, json_bytes=500, body_seconds=0.05)
    house.app = InferenceApp(catalog=house.catalog, gate=house.gate, budgets=budgets)
    for _ in range(3):
        answer = house.infer()  # of unknown length, so it counts as the longest
        assert (answer.status, answer.json()["code"]) == (429, "overloaded")
        assert "body" not in house.events
    length = (b"content-length", str(len(json.dumps(REQUEST))).encode())
    for _ in range(30):
        assert house.infer(headers=(TOKEN, length)).status == 200


def test_a_client_that_leaves_is_not_answered():
    house = House()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v2/models/m/infer", "headers": (TOKEN,)}
    asyncio.run(house.app(scope, receive, send))
    assert sent == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/m/infer", 405),
        ("POST", "/v2/models/m", 405),
        ("POST", "/v2", 405),
        ("GET", "/v2/repository/index", 405),
        ("GET", "/", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/m/config", 404),
        ("GET", "/v2/models/m/versions/x", 404),
        ("GET", "/v2/models/m/versions/4", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("POST", "/v2/models/m/versions/2/infer", 404),
        ("POST", "/v2/models/m/versions/3/infer", 200),
        ("POST", "/v2/repository/models/m/load", 404),
    ],
)
def test_paths_and_methods(method: str, path: str, status: int):
    answer = House().ask(method, path, json.dumps(REQUEST).encode())
    assert answer.status == status
    if status != 200:
        assert answer.json().keys() == {"error", "code"}


def test_states_and_reasons_are_told():
    house = House()
    house.catalog.put(Entry("loading", 1))
    house.catalog.put(Entry("broken", 1, problem="refused: tensor table"))
    house.model.unavailable_because = "revoked: measurement withdrawn"
    states = {item["name"]: item for item in house.ask("POST", "/v2/repository/index").json()}
    assert states["m"] == {
        "name": "m",
        "version": "3",
        "state": "UNAVAILABLE",
        "reason": "revoked: measurement withdrawn",
    }
    assert (states["loading"]["state"], states["loading"]["reason"]) == ("LOADING", "")
    assert states["broken"]["reason"] == "refused: tensor table"
    assert house.ask("GET", "/v2/models/m").json() == {
        "error": "revoked: measurement withdrawn",
        "code": "model_unavailable",
    }
    assert house.ask("GET", "/v2/models/m/ready").status == 503
    assert house.ask("GET", "/v2/models/loading").json()["code"] == "starting"
    assert house.ask("GET", "/v2/health/ready", headers=()).status == 503
    assert house.ask("GET", "/v2/health/live", headers=()).status == 200


def test_names_and_states_are_for_token_holders_only():
    for method, path in (
        ("GET", "/v2/models/m"),
        ("GET", "/v2/models/m/ready"),
        ("POST", "/v2/repository/index"),
    ):
        assert House().ask(method, path, headers=()).status == 401
        house = House()
        house.gate.refuse_entry = Refused(Refusal.UNAUTHENTICATED, "no")
        assert house.ask(method, path).status == 401


def test_without_a_version_the_newest_that_is_ready_answers():
    house = House()
    house.catalog.put(Entry("m", 10))
    newest = house.catalog.find("m", None)
    assert newest is not None
    assert newest.version == 3
    house.model.unavailable_because = "revoked"
    newest = house.catalog.find("m", None)
    assert newest is not None
    assert (newest.version, newest.state) == (10, ModelState.LOADING)
    house.catalog.forget("m", 10)
    house.catalog.forget("m", 3)
    assert house.catalog.find("m", None) is None


def test_every_error_of_the_package_has_an_answer():
    kinds = InferenceError.__subclasses__()
    assert len(kinds) == 5
    for kind in kinds:
        cases: list[Any] = (
            [kind(fault, "text") for fault in errors.Fault]
            if kind is InvalidRequest
            else [kind("text")]
        )
        for case in cases:
            assert 400 <= answer_error(case).status < 600


def binary_request(size: object = 2) -> bytes:
    entry = {
        "name": "x",
        "shape": [2],
        "datatype": "INT8",
        "parameters": {"binary_data_size": size},
    }
    return json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()


def test_binary_tensors_go_in_and_out():
    head = binary_request()
    length = (b"inference-header-content-length", str(len(head)).encode())
    answer = House().ask("POST", "/v2/models/m/infer", head + INPUT.data, headers=(TOKEN, length))
    size = int(answer.headers[b"inference-header-content-length"])
    assert answer.headers[b"content-type"] == b"application/octet-stream"
    assert json.loads(answer.body[:size])["outputs"] == [  # noqa: TID251 - our own answer
        {"name": "y", "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}}
    ]
    assert answer.body[size:] == INPUT.data


@pytest.mark.parametrize("size", [1, 3, -1, "2", True, 1.0, 1 << 62])
def test_a_binary_size_that_lies_is_refused(size: object):
    head = binary_request(size)
    with pytest.raises(InvalidRequest):
        oip_codec.decode(head + b"\x01\x02", len(head), 1 << 20)


@pytest.mark.parametrize(
    ("outputs", "parameters", "binary"),
    [
        ([], {}, False),
        ([], {"binary_data_output": True}, True),
        ([{"name": "y"}], {"binary_data_output": True}, True),
        ([{"name": "y", "parameters": {"binary_data": True}}], {}, True),
        (
            [{"name": "y", "parameters": {"binary_data": False}}],
            {"binary_data_output": True},
            False,
        ),
    ],
)
def test_each_output_is_binary_as_asked(outputs: Value, parameters: Value, binary: bool):  # noqa: FBT001
    document = {**REQUEST, "outputs": outputs, "parameters": parameters}
    request = oip_codec.decode(json.dumps(document).encode(), None, 1 << 20)
    assert request.wants_binary("y") is binary


WORDS = st.sampled_from(
    [
        *("inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "id"),
        *("x", "INT8", "BYTES", "binary_data", "binary_data_size", "binary_data_output"),
    ]
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.floats(0, 2) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=20,
)
MUTATED = st.dictionaries(WORDS, DOCUMENTS, max_size=3).map(lambda change: REQUEST | change)
INPUTS = st.fixed_dictionaries(
    {"name": WORDS, "shape": DOCUMENTS, "datatype": WORDS}, optional={"data": DOCUMENTS}
)


@given(
    DOCUMENTS | MUTATED | st.lists(INPUTS, max_size=2).map(lambda inputs: {"inputs": inputs}),
    st.binary(max_size=6),
    st.integers(-2, 2),
)
def test_the_body_reader_is_total(document: Value, tail: bytes, shift: int):
    head = json.dumps(document).encode()
    for length in (None, len(head), max(0, len(head) + shift)):
        try:
            oip_codec.decode(head + tail, length, 1 << 20)
        except InvalidRequest:
            continue


@given(st.binary(max_size=60))
def test_the_body_reader_is_total_for_bytes(body: bytes):
    with pytest.raises(InvalidRequest):
        oip_codec.decode(body, None, 1 << 20)
