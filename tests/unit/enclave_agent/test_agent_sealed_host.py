"""The real model host: the sealed file that signed terms name, in a real worker, or nothing."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.agent_models import sealed_model
from fakes.inference_models import scaling_model

from sealward.enclave_agent.inference.tensors import Datatype, Tensor
from sealward.enclave_agent.inference.worker_client import WorkerLimits
from sealward.enclave_agent.models import ModelUnusable
from sealward.enclave_agent.sealed_host import MAX_FILES, SealedModelHost
from sealward.protos.terms import ModelTerms

WEIGHTS = np.array([[2.0, 3.0]], np.float32)
FILE, TERMS, KEY = sealed_model(scaling_model(WEIGHTS), version=2)


def host(folder: Path, tenant: str = "acme") -> SealedModelHost:
    return SealedModelHost(folder, tenant=tenant, limits=WorkerLimits(), threads=1)


def refusal(folder: Path, terms: ModelTerms, *, key: bytes = KEY, tenant: str = "acme") -> str:
    with pytest.raises(ModelUnusable) as raised:
        asyncio.run(host(folder, tenant).open(terms, bytearray(key)))
    return str(raised.value)


def test_opens_the_file_that_the_terms_name_among_others(tmp_path: Path) -> None:
    """Whatever it is called; what lies beside it does not matter. Revoked, it is wiped and dead."""
    (tmp_path / "a-note.txt").write_text("not a sealed model")
    (tmp_path / "b-older").write_bytes(sealed_model(scaling_model(WEIGHTS), version=1)[0])
    (tmp_path / "c-any-name").write_bytes(FILE)
    (tmp_path / "d-folder").mkdir()
    os.mkfifo(tmp_path / "a-pipe")

    async def body() -> None:
        key = bytearray(KEY)
        model = await host(tmp_path).open(TERMS, key)
        assert bytes(key) == KEY  # the key stays the caller's
        x = Tensor("x", Datatype.FP32, (1, 2), np.array([[1, 1]], np.float32).tobytes())
        (y,) = await model.infer((x,))
        assert np.frombuffer(y.data, np.float32).tolist() == [2.0, 3.0]
        report = await model.revoke("revoked")
        assert report.bytes_wiped > 0
        assert report.exit_status is not None
        assert report.model.key_id == TERMS.content_key_id

    asyncio.run(body())


def test_a_missing_file_is_named_by_digest(tmp_path: Path) -> None:
    assert TERMS.header_digest.hex() in refusal(tmp_path, TERMS)
    assert "cannot be read" in refusal(tmp_path / "absent", TERMS)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "elsewhere").write_bytes(FILE)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert TERMS.header_digest.hex() in refusal(folder, TERMS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"core_digest": bytes(32)}, "core"),
        ({"name": "other"}, "name or version"),
        ({"version": 3}, "name or version"),
        ({"min_version": 3}, "versions below 3"),
    ],
)
def test_a_file_that_is_not_as_the_terms_say_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    (tmp_path / "model").write_bytes(FILE)
    assert said in refusal(tmp_path, replace(TERMS, **changes))


def test_another_tenants_file_and_a_wrong_key_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(FILE)
    assert "tenant" in refusal(tmp_path, TERMS, tenant="other")
    assert "content_key_mismatch" in refusal(tmp_path, TERMS, key=bytes(32))


def test_a_changed_body_is_refused(tmp_path: Path) -> None:
    """The header still has the digest; the segment has not."""
    (tmp_path / "model").write_bytes(FILE[:-1] + bytes([FILE[-1] ^ 1]))
    assert "segment_digest_mismatch" in refusal(tmp_path, TERMS)


def test_a_folder_of_too_many_files_is_a_mistake(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 1):
        (tmp_path / str(number)).touch()
    assert "more than" in refusal(tmp_path, TERMS)
