"""Secrets are overwritten in place, and the package brings in no more than it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fakes.sealed_models import content

from sealward.sealing.memory import take_secret, wipe

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("size", [0, 1, 32, 5000])
def test_a_wiped_buffer_is_zero_and_keeps_its_length(size: int):
    buffer = bytearray(content(size))
    wipe(buffer)
    assert buffer == bytes(size)
    view = memoryview(bytearray(content(size + 2)))
    wipe(view[1:-1])
    assert view[1:-1] == bytes(size)
    assert bytes(view[:1]) == content(size + 2)[:1]


def test_what_cannot_be_written_is_not_wiped():
    with pytest.raises(TypeError):
        wipe(memoryview(bytes(4)))


@pytest.mark.parametrize("size", [2, 32, 5000])
def test_a_taken_secret_leaves_its_original_zeroed(size: int):
    original = content(size)
    taken = take_secret(original)
    assert taken == content(size)
    assert original == bytes(size)


@pytest.mark.parametrize("size", [0, 1])
def test_objects_that_the_interpreter_shares_are_left_alone(size: int):
    original = b"\x07"[:size]
    assert take_secret(original) == original
    assert original == b"\x07"[:size]


def imported_after(statement: str) -> set[str]:
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    environment = {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_reading_a_sealed_model_brings_in_no_onnx_and_sealing_no_runtime():
    """The agent's trusted code stays small, and sealing starts no telemetry."""
    reading = imported_after(
        "from sealward.sealing import container, tensor_table, wrap, rewrap, workload_key"
    )
    assert not reading & {"onnx", "onnxruntime", "numpy", "google.protobuf"}
    sealing = imported_after("from sealward.controlplane.cli import model, model_seal")
    assert "onnx" in sealing
    assert not sealing & {"onnxruntime", "sqlalchemy", "fastapi", "grpc", "httpx"}
