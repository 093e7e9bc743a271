"""Sealing refuses what a reader would refuse, and its memory does not grow with the model."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from fakes.sealed_models import CREATED, Owner, content, sealed_bytes, seeded

from sealward.sealing.core import Format
from sealward.sealing.errors import Code, MalformedSealedModel, UnsealableModel
from sealward.sealing.source import BytesSource
from sealward.sealing.writer import Description, Joined, PlainModel, seal

PLAIN = PlainModel(
    format=Format.ONNX,
    parts=(BytesSource(content(100)),),
    plain_digest=bytes(32),
    external_digest=None,
)
DESCRIPTION = Description(model="demo", version=1, created=CREATED)

# Two segment buffers, thread stacks and the allocator's slack: not a tenth of the model below.
MODEL_MEGABYTES = 200
MAX_GROWTH_MEGABYTES = 16


def attempt(owner: Owner, plain: PlainModel, description: Description) -> bytes:
    return sealed_bytes(
        lambda descriptor: seal(
            plain,
            description,
            workload_key=owner.workload,
            creator=owner.creator,
            descriptor=descriptor,
            random_bytes=seeded("writer"),
        )
    )


@pytest.mark.parametrize(
    "change",
    [
        {"model": ""},
        {"model": "Demo"},
        {"model": "a b"},
        {"model": "a" * 64},
        {"version": 0},
        {"version": 1 << 53},
        {"optimised_by": ""},
        {"optimised_by": "\u00e9"},
    ],
    ids=str,
)
def test_what_a_reader_would_refuse_is_not_sealed(owner: Owner, change: dict[str, object]):
    with pytest.raises(UnsealableModel) as error:
        attempt(owner, PLAIN, replace(DESCRIPTION, **change))  # type: ignore[arg-type] # by name
    assert error.value.code is Code.PARAMETER_INVALID


def test_an_empty_part_is_not_sealed(owner: Owner):
    with pytest.raises(UnsealableModel) as error:
        attempt(owner, replace(PLAIN, parts=(BytesSource(b""),)), DESCRIPTION)
    assert error.value.code is Code.PARAMETER_INVALID


def test_a_naive_instant_is_a_mistake_of_the_caller(owner: Owner):
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the mistake itself
    with pytest.raises(ValueError, match="aware"):
        attempt(owner, PLAIN, replace(DESCRIPTION, created=naive))


class ShrinkingSource(BytesSource):
    @property
    def size(self) -> int:
        return super().size + 1


def test_a_source_that_shrinks_is_refused(owner: Owner):
    with pytest.raises(MalformedSealedModel) as error:
        attempt(owner, replace(PLAIN, parts=(ShrinkingSource(content(100)),)), DESCRIPTION)
    assert error.value.code is Code.TRUNCATED


def test_joined_sources_read_like_one():
    pieces = (content(5, "a"), content(1, "b"), content(9, "c"))
    whole = b"".join(pieces)
    joined = Joined(tuple(BytesSource(piece) for piece in pieces))
    assert joined.size == len(whole)
    for start in range(len(whole)):
        for stop in range(start, len(whole) + 1):
            buffer = bytearray(stop - start)
            joined.read_into(start, memoryview(buffer))
            assert buffer == whole[start:stop]


def test_sealing_and_opening_a_large_model_takes_little_memory(tmp_path: Path):
    """In a process of its own, whose peak is taken before and after: 200 MB through 16 MB."""
    script = textwrap.dedent(
        f"""
        import resource, tempfile
        from fakes.sealed_models import CREATED, Owner, seeded
        from sealward.sealing.container import SealedModel
        from sealward.sealing.core import Format
        from sealward.sealing.source import FileSource
        from sealward.sealing.writer import Description, PlainModel, seal

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        owner = Owner.from_seed("memory")
        with open("model", "wb+") as model, open("sealed", "wb+") as sealed:
            model.truncate({MODEL_MEGABYTES} << 20)
            plain = PlainModel(
                format=Format.ONNX,
                parts=(FileSource(model.fileno()),),
                plain_digest=bytes(32),
                external_digest=None,
            )
            before = peak()
            seal(
                plain,
                Description(model="large", version=1, created=CREATED),
                workload_key=owner.workload,
                creator=owner.creator,
                descriptor=sealed.fileno(),
                random_bytes=seeded("memory"),
            )
            SealedModel.open(FileSource(sealed.fileno())).verify_digests()
            print(peak() - before)
        """
    )
    root = Path(__file__).resolve().parents[3]
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{root}:{root / 'tests'}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    (tmp_path / "sealed").unlink()
    assert int(run.stdout) <= MAX_GROWTH_MEGABYTES * 1024
