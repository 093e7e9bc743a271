"""`sealward serve --policy-engine opa`: what is wrong is said before anything is made or served."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sealward.controlplane.cli.serve import serve


def run(tmp_path: Path, *options: str) -> Result:
    listeners = ("--rest", "127.0.0.1:0", "--enrollment", "127.0.0.1:0", "--agents", "127.0.0.1:0")
    where = ("--data", str(tmp_path / "data"), "--trust-domain", "control.example")
    return CliRunner().invoke(serve, (*where, *listeners, *options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--policy-engine", "opa"), "needs --opa-url"),
        (("--opa-url", "https://opa.example"), "only with it"),
        (("--policy-engine", "embedded", "--opa-url", "https://opa.example"), "only with it"),
        (("--policy-engine", "opa", "--opa-url", "http://opa.example"), "plain http"),
        (("--policy-engine", "opa", "--opa-url", "https://opa.example"), "--opa-certificate"),
        (("--policy-engine", "opa", "--opa-url", "opa.example"), "is not the address"),
        (("--policy-engine", "other"), "'embedded', 'opa'"),
    ],
)
def test_options_that_do_not_go_together_are_told(
    tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = run(tmp_path, *options)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert not (tmp_path / "data").exists()


def test_tls_files_that_are_none_are_told(tmp_path: Path) -> None:
    file = tmp_path / "no.pem"
    file.write_text("nothing")
    files = [part for name in ("ca", "certificate", "key") for part in (f"--opa-{name}", str(file))]
    result = run(tmp_path, "--policy-engine", "opa", "--opa-url", "https://127.0.0.1", *files)
    assert result.exit_code == 2
    assert "TLS files of OPA" in result.output
    assert not (tmp_path / "data").exists()


def test_a_server_that_is_not_there_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    result = run(tmp_path, "--policy-engine", "opa", "--opa-url", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert f"the OPA server http://127.0.0.1:{port}: OPA cannot be reached" in result.output
    assert "docs/run-a-control-plane.md" in result.output
    assert not (tmp_path / "data").exists()
