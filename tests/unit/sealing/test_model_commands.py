"""`sealward model` as an owner meets it: files, permissions, exit codes, sentences and hints."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from fakes.sealed_models import Owner
from onnx import TensorProto, helper, numpy_helper

from sealward.controlplane.cli.model import model
from sealward.sealing.container import SealedModel
from sealward.sealing.source import BytesSource
from sealward.sealing.wrap import WrapFile, unwrap_content_key, wrap_content_key
from sealward.verifier.wire import json

WEIGHTS = np.arange(1000, dtype=np.float32)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(model, [str(arg) for arg in args])


def answer(result: Result) -> dict[str, object]:
    assert result.exit_code == 0, result.output
    value = json.decode(result.stdout, what="answer", max_bytes=1 << 16)
    assert isinstance(value, dict)
    return dict(value)


def onnx_model(*, external: bool) -> onnx.ModelProto:
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="w.bin")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1000])],
        [tensor],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def desk(tmp_path: Path, owner: Owner) -> Path:
    """An owner's folder: a creator key, a workload key and two models."""
    assert run("creator-keygen", "-o", tmp_path / "creator").exit_code == 0
    (tmp_path / "workload.json").write_bytes(owner.workload.encode())
    (tmp_path / "m.onnx").write_bytes(onnx_model(external=False).SerializeToString())
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "e.onnx").write_bytes(onnx_model(external=True).SerializeToString())
    (folder / "w.bin").write_bytes(WEIGHTS.tobytes())
    return tmp_path


def seal(desk: Path, onnx_path: str = "m.onnx", *more: str) -> Result:
    return run(
        "seal",
        desk / onnx_path,
        "--workload-key",
        desk / "workload.json",
        "--name",
        "demo",
        "--version",
        "1",
        "--creator-key",
        desk / "creator",
        "-o",
        desk / "out.sealed",
        "--json",
        *more,
    )


def failed(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("Error: ")
    for word in words:
        assert word in result.stderr


def test_keys_are_private_and_never_replaced(tmp_path: Path):
    path = tmp_path / "creator"
    first = run("creator-keygen", "-o", path)
    assert first.exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "creator.pub").stat().st_mode) == 0o644
    before = path.read_bytes()
    failed(run("creator-keygen", "-o", path), "never replaced", "Hint: ")
    path.unlink()
    failed(run("creator-keygen", "-o", path), "creator.pub")
    assert not path.exists()
    assert before not in first.stdout.encode()


def test_a_model_is_sealed_inspected_and_verified(desk: Path):
    sealed = answer(seal(desk))
    assert stat.S_IMODE((desk / "out.sealed").stat().st_mode) == 0o644
    assert sealed["file_bytes"] == (desk / "out.sealed").stat().st_size
    inspected = answer(run("inspect", desk / "out.sealed", "--json"))
    verified = answer(
        run("verify", desk / "out.sealed", "--creator", desk / "creator.pub", "--json")
    )
    assert verified["state"] == "signatures and digests verified"
    assert inspected["state"] == "well-formed, not verified"
    for name in sealed.keys() - {"state"}:
        assert sealed[name] == inspected[name] == verified[name]
    assert sorted(entry.name for entry in desk.iterdir()) == sorted(
        ["creator", "creator.pub", "workload.json", "m.onnx", "models", "out.sealed"]
    )


def test_people_get_lines_and_programs_get_json(desk: Path):
    seal(desk)
    lines = run("inspect", desk / "out.sealed").stdout.splitlines()
    assert any(line.split() == ["workload", "scoring"] for line in lines)


def test_external_data_beside_the_model_is_sealed(desk: Path, owner: Owner):
    sealed = answer(seal(desk, "models/e.onnx"))
    assert sealed["external_digest"] is not None
    opened = SealedModel.open(BytesSource((desk / "out.sealed").read_bytes()))
    opened.accept_header_digest(opened.header_digest)
    wrap = opened.header.wrap_for(owner.workload.public.key_id)
    key = unwrap_content_key(wrap, owner.workload_private, opened.core_digest)
    weights = bytearray(opened.parts[0].length)
    opened.decrypt_part_into(key, opened.parts[0].name, memoryview(weights))
    assert weights == WEIGHTS.tobytes()


def test_a_link_out_of_the_folder_is_refused(desk: Path):
    """Also through a linked folder; a link that stays inside is fine."""
    weights = desk / "models" / "w.bin"
    outside = desk / "outside.bin"
    weights.rename(outside)
    weights.symlink_to(outside)
    failed(seal(desk, "models/e.onnx"), "leads out of the model's folder", "Hint: ")
    weights.unlink()
    failed(seal(desk, "models/e.onnx"), "is not there", "Hint: ")
    (desk / "models" / "real.bin").write_bytes(WEIGHTS.tobytes())
    weights.symlink_to("real.bin")
    assert seal(desk, "models/e.onnx").exit_code == 0


def test_a_fifo_in_place_of_a_file_does_not_hang(desk: Path):
    (desk / "models" / "w.bin").unlink()
    os.mkfifo(desk / "models" / "w.bin")
    failed(seal(desk, "models/e.onnx"), "not a regular file")


def test_failures_are_one_sentence_and_leave_nothing(desk: Path):
    (desk / "m.onnx").write_bytes(b"not a model")
    failed(seal(desk), "not an ONNX file")
    failed(seal(desk, "nowhere.onnx"), "No such file")
    (desk / "m.onnx").write_bytes(onnx_model(external=False).SerializeToString())
    failed(seal(desk, "m.onnx", "--name", "Bad Name"), "name must match")
    (desk / "workload.json").write_text("{}")
    failed(seal(desk), "workload key")
    assert not (desk / "out.sealed").exists()
    assert not list(desk.glob(".out*"))


def test_a_creator_key_that_others_can_read_is_refused(desk: Path):
    (desk / "creator").chmod(0o640)
    failed(seal(desk), "other users may read", "Hint: chmod 600")


def test_a_changed_file_or_another_creator_is_refused(desk: Path):
    seal(desk)
    run("creator-keygen", "-o", desk / "stranger")
    failed(run("verify", desk / "out.sealed", "--creator", desk / "stranger.pub"), "other_creator")
    data = bytearray((desk / "out.sealed").read_bytes())
    data[-1] ^= 1
    (desk / "out.sealed").write_bytes(data)
    failed(
        run("verify", desk / "out.sealed", "--creator", desk / "creator.pub"),
        "segment_digest_mismatch",
    )
    failed(run("inspect", desk / "m.onnx"), "not a sealed model")
    failed(run("verify", desk / "out.sealed", "--creator", desk / "m.onnx"), "malformed_key")


def test_usage_errors_exit_with_two(desk: Path):
    for args in (
        ("seal",),
        ("verify", desk / "m.onnx"),
        ("rewrap", desk / "m.onnx", "-o", desk / "x"),
        ("rewrap", desk / "m.onnx", "-o", desk / "x", "--drop", "zz"),
        ("nonsense",),
    ):
        assert run(*args).exit_code == 2
    assert seal(desk, "m.onnx", "--version", "0").exit_code == 2


def test_rewrap_says_what_it_does_not_do(desk: Path, owner: Owner):
    seal(desk)
    sealed = SealedModel.open(BytesSource((desk / "out.sealed").read_bytes()))
    old_id = owner.workload.public.key_id
    key = unwrap_content_key(
        sealed.header.wrap_for(old_id), owner.workload_private, sealed.core_digest
    )
    successor = Owner.from_seed("successor")
    wrap = wrap_content_key(key, successor.workload.public, sealed.core_digest)
    (desk / "wrap.json").write_bytes(WrapFile(core_digest=sealed.core_digest, wrap=wrap).encode())
    result = run(
        "rewrap",
        desk / "out.sealed",
        "--wrap",
        desk / "wrap.json",
        "--drop",
        old_id.hex(),
        "-o",
        desk / "new.sealed",
        "--json",
    )
    new_id = successor.workload.public.key_id.hex()
    assert answer(result)["sealed_to"] == [f"{new_id} mlkem768-x25519"]
    assert "seal the model again" in result.stderr
    verified = run("verify", desk / "new.sealed", "--creator", desk / "creator.pub")
    assert verified.exit_code == 0


def test_help_lists_every_command():
    result = run("--help")
    assert result.exit_code == 0
    for name in ("creator-keygen", "inspect", "rewrap", "seal", "verify"):
        assert name in result.stdout
