"""The agent's settings file: everything wrong is said at once, nothing is guessed."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from fakes.fake_control_plane import Plane
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.config import (
    AgentSettings,
    ConfigurationError,
    Listen,
    load,
    load_join_token,
    load_trust,
)

GOOD = """
workloads = ["invoices"]
trust_file = "trust.json"
models = "models"

[control_plane]
enrollment = "control.example:8443"
agent = "[2001:db8::1]:8444"

[attester]
name = "software"
platform = "here"
"""


def settings(folder: Path, text: str) -> AgentSettings:
    path = folder / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def problems(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as raised:
        settings(folder, text)
    return raised.value.problems


def test_reads_a_small_file(tmp_path: Path) -> None:
    """Paths are relative to the file; the attester's table is its own; loopback by default."""
    read = settings(tmp_path, GOOD)
    assert read.enrollment == "control.example:8443"
    assert read.trust_file == tmp_path / "trust.json"
    assert read.attester == "software"
    assert read.attester_table == {"platform": "here"}
    assert read.listen == Listen("127.0.0.1", 8500)
    assert read.workloads == ("invoices",)
    assert read.join_token_file is None
    assert (read.log_level, read.log_json) == ("info", True)


def test_says_everything_that_is_wrong_at_once(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        """
        workloads = []
        modles = "models"
        join_token_file = 3
        [control_plane]
        enrollment = "nowhere"
        agnet = "a:1"
        [inference]
        listen = "0.0.0.0:8500"
        [log]
        level = "loud"
        """,
    )
    for part in (
        "modles: unknown setting",
        "agnet: unknown setting",
        "enrollment: must be host:port",
        "agent: must be given",
        "trust_file: must be given",
        "models: must be given",
        "join_token_file: must be given",
        "[attester] name: must be given",
        "workloads: must be a list",
        "0.0.0.0 is not loopback",
        "level: must be one of",
    ):
        assert [problem for problem in said if part in problem], part


@pytest.mark.parametrize(
    "address",
    ["", "host", "host:", ":1", "host:0", "host:65536", "host:+1", "a b:1", "h:1:2", "h:٣"],
)
def test_an_address_is_host_and_port(tmp_path: Path, address: str) -> None:
    (problem,) = problems(tmp_path, GOOD.replace("control.example:8443", address))
    assert problem.startswith("[control_plane] enrollment")


@pytest.mark.parametrize(
    "names", ['"one"', "[1]", '["a", "a"]', '["A"]', '[""]', str([f"w{i}" for i in range(17)])]
)
def test_workloads_are_a_few_distinct_names(tmp_path: Path, names: str) -> None:
    (problem,) = problems(tmp_path, GOOD.replace('["invoices"]', names))
    assert problem.startswith("workloads")


def test_tls_files_come_together_and_the_key_is_private(tmp_path: Path) -> None:
    listen = '\n[inference]\nlisten = "192.0.2.1:1"\n'
    assert "give both" in problems(tmp_path, GOOD + listen + 'tls_key = "k"\n')[0]
    key = tmp_path / "k"
    key.write_text("key")
    key.chmod(0o640)
    both = listen + 'tls_key = "k"\ntls_certificate = "c"\n'
    assert "others can read" in problems(tmp_path, GOOD + both)[0]
    key.chmod(0o600)
    assert settings(tmp_path, GOOD + both).listen == Listen(
        "192.0.2.1", 1, tmp_path / "c", tmp_path / "k"
    )


def test_what_is_not_toml_or_not_there_is_said(tmp_path: Path) -> None:
    assert "not TOML" in problems(tmp_path, "a = ")[0]
    assert "larger than" in problems(tmp_path, "#" * 70_000)[0]
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "absent.toml")


def test_any_text_is_settings_or_a_configuration_error(tmp_path: Path) -> None:
    """Nothing else escapes."""

    @given(st.text(max_size=200))
    def check(text: str) -> None:
        with contextlib.suppress(ConfigurationError):
            settings(tmp_path, text)

    check()


def test_there_is_no_trust_on_first_use(tmp_path: Path) -> None:
    """No trust file: the agent refuses, and says what to do (F15)."""
    with pytest.raises(ConfigurationError, match="no trust on first use"):
        load_trust(tmp_path / "trust.json")


def test_a_trust_file_is_canonical(tmp_path: Path) -> None:
    path, trust = tmp_path / "trust.json", Plane().trust
    path.write_bytes(trust.encode())
    assert load_trust(path) == trust
    path.write_bytes(trust.encode() + b"\n")
    with pytest.raises(ConfigurationError, match=r"trust\.json"):
        load_trust(path)


def test_a_join_token_is_one_private_line(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("abc.def\n")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_join_token(path)
    path.chmod(0o600)
    assert load_join_token(path) == "abc.def"
    for bad in ("", "\n", "a\nb", "ä", "x" * 5000):
        path.write_text(bad, encoding="utf-8")
        with pytest.raises(ConfigurationError) as raised:
            load_join_token(path)
        assert "a\nb" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_join_token(tmp_path / "absent")
