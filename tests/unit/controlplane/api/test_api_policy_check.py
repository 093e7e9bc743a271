"""Uploads through the real check: what ships passes, what is wrong says where."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.admin_plane import AdminPlane, admin_plane, bearer

from sealward.controlplane.adapters.policy_engine.embedded import EmbeddedEngine, EngineSettings
from sealward.controlplane.adapters.policy_upload import UploadCheck
from sealward.policies import shipped_files


@pytest.fixture(scope="module")
def checked(
    tmp_path_factory: pytest.TempPathFactory, template: Path
) -> Iterator[tuple[AdminPlane, dict[str, str]]]:
    # A busy machine may starve a worker for longer than production waits for one.
    settings = EngineSettings(deadline_seconds=10.0, load_seconds=30.0)
    engine = EmbeddedEngine(settings, time.monotonic)
    folder = tmp_path_factory.mktemp("checked")
    try:
        with admin_plane(folder, template, UploadCheck(engine, settings)) as plane:
            yield plane, bearer(plane.administrator().text)
    finally:
        engine.close()


def body(kind: str, **changes: str) -> dict[str, object]:
    files = {path: data.decode() for path, data in shipped_files(kind).items()}
    return {
        "kind": kind,
        "layer": "organisation",
        "name": "shipped",
        "files": {**files, **changes},
    }


@pytest.mark.parametrize("kind", ["appraisal", "release", "enrollment"])
def test_what_ships_passes_its_own_check(
    checked: tuple[AdminPlane, dict[str, str]], kind: str
) -> None:
    plane, admin = checked
    answer = plane.client.post("/v1/policies", json=body(kind), headers=admin)
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("package sealward.release\n\nallow := \n", "extra.rego"),
        ("package sealward.release\n\nx if http.send({})\n", "http.send"),
        ("package sealward.release\n\na if b\n\nb if a\n", "reach itself"),
        ("package sealward.release\n\nallow := 7\n", "policy_test.rego:"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    checked: tuple[AdminPlane, dict[str, str]], text: str, told: str
) -> None:
    plane, admin = checked
    before = plane.row_counts()
    wrong = body("release", **{"extra.rego": text})
    answer = plane.client.post("/v1/policies", json=wrong, headers=admin)
    assert (answer.status_code, answer.json()["code"]) == (422, "policy_invalid")
    assert told in answer.json()["detail"], answer.text
    assert plane.row_counts() == before
