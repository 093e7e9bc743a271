"""The file of `--collateral-config`: strict, off unless it says otherwise, HTTPS only."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealward.controlplane.config import CollateralServices, InvalidSettings, collateral_services


def read(folder: Path, text: str) -> CollateralServices | None:
    file = folder / "collateral.toml"
    file.write_text(text)
    return collateral_services(file)


@pytest.mark.parametrize("text", ["[collateral]\n", "[collateral]\nfetch = false\n"])
def test_nothing_is_fetched_unless_it_is_said(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) is None


def test_the_defaults_are_the_vendors_services(tmp_path: Path) -> None:
    assert read(tmp_path, "[collateral]\nfetch = true\n") == CollateralServices()


def test_a_path_is_relative_to_the_file(tmp_path: Path) -> None:
    found = read(tmp_path, '[collateral]\nfetch = true\nca = "own.pem"\namd = ""\n')
    assert found is not None
    assert (found.ca, found.amd) == (tmp_path / "own.pem", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fetch = true\n",
        "[collateral]\nfetch = true\n[more]\n",
        "[collateral]\nfetch = 1\n",
        '[collateral]\nfetch = "true"\n',
        '[collateral]\nfetch = true\namd = "http://127.0.0.1"\n',
        "[collateral]\nfetch = true\namd = 1\n",
        "[collateral]\nfetch = true\njoining_per_hour = 0\n",
        "[collateral]\nfetch = true\njoining_per_hour = true\n",
        '[collateral]\nfetch = true\nproxy = "x"\n',
        "[collateral\n",
    ],
)
def test_anything_else_is_refused_with_what_to_change(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        read(tmp_path, text)
    assert str(caught.value)
