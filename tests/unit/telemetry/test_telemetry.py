"""Log lines: one JSON object each, no secrets, nothing that acts on a terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sealward import telemetry


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A stream that everything is logged to; what was configured before comes back after."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers, root.level = handlers, level
    structlog.configure(**before)


def records(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]  # noqa: TID251 - ours


def test_a_line_is_one_json_object_with_a_correlation_id(stream: io.StringIO) -> None:
    telemetry.configure(as_json=True, stream=stream)
    with telemetry.correlated("c-1"):
        telemetry.get_logger("here").info("done", count=3)
    telemetry.get_logger("here").info("later")
    first, second = records(stream)
    assert first["event"] == "done"
    assert (first["count"], first["correlation_id"], first["level"]) == (3, "c-1", "info")
    assert first["logger"] == "here"
    assert str(first["time"]).endswith("Z")
    assert "correlation_id" not in second


def test_the_standard_library_logs_the_same_way(stream: io.StringIO) -> None:
    """gRPC, uvicorn and SQLAlchemy end in the same file."""
    telemetry.configure(as_json=True, stream=stream)
    with telemetry.correlated("c-2"):
        logging.getLogger("uvicorn.error").warning("heard %s", "this")
    (record,) = records(stream)
    assert (record["event"], record["correlation_id"]) == ("heard this", "c-2")


@pytest.mark.parametrize("name", sorted(telemetry.SECRET_FIELDS))
def test_secret_fields_are_redacted_at_any_depth(stream: io.StringIO, name: str) -> None:
    telemetry.configure(as_json=True, stream=stream)
    telemetry.get_logger("here").info("x", **{name: "hunter2"}, inner={"list": [{name: "hunter2"}]})
    assert "hunter2" not in stream.getvalue()
    assert stream.getvalue().count(telemetry.REDACTED) == 2


def test_everything_that_we_call_a_secret_is_a_secret_field() -> None:
    """Join tokens and client tokens are shown as `credential`; HTTP calls them bearer."""
    assert {"credential", "bearer", "token", "authorization"} <= telemetry.SECRET_FIELDS


def test_bytes_are_never_shown(stream: io.StringIO) -> None:
    telemetry.configure(as_json=True, stream=stream)
    telemetry.get_logger("here").info("x", a=b"secret", b=[bytearray(b"secret")])
    (record,) = records(stream)
    assert (record["a"], record["b"]) == ("<6 bytes>", ["<6 bytes>"])


@pytest.mark.parametrize("as_json", [True, False])
def test_nothing_planted_reaches_a_terminal(stream: io.StringIO, *, as_json: bool) -> None:
    telemetry.configure(as_json=as_json, stream=stream)
    telemetry.get_logger("here").info("ev\x1b[31m\nent", field="\x1b[2J\r\n<script>", n=1)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert all(character.isprintable() for character in text.rstrip("\n"))


def test_a_value_that_contains_itself_is_cut_off(stream: io.StringIO) -> None:
    telemetry.configure(as_json=True, stream=stream)
    endless: dict[str, object] = {}
    endless["again"] = endless
    telemetry.get_logger("here").info("x", endless=endless)
    assert "\\u003ctoo deep\\u003e" in stream.getvalue()  # as JSON escapes it


def test_levels_below_the_chosen_one_are_silent(stream: io.StringIO) -> None:
    telemetry.configure(as_json=True, level="warning", stream=stream)
    telemetry.get_logger("here").info("quiet")
    telemetry.get_logger("here").warning("loud")
    assert [record["event"] for record in records(stream)] == ["loud"]


def test_an_exception_is_one_field(stream: io.StringIO) -> None:
    telemetry.configure(as_json=True, stream=stream)
    try:
        int("broken")
    except ValueError:
        telemetry.get_logger("here").exception("failed")
    (record,) = records(stream)
    assert "ValueError: invalid literal" in str(record["exception"])
