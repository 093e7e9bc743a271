"""Sources fill the whole buffer or say why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel, UnsealableModel
from sealward.sealing.source import BytesSource, FileSource, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def test_any_range_of_a_file_is_read_whatever_its_position(path: Path):
    with path.open("rb") as file:
        source = FileSource(file.fileno())
        file.seek(7)
        assert source.size == 10
        assert read(source, 2, 3) == b"234"
        assert read(source, 10, 0) == b""
        assert file.tell() == 7


@pytest.mark.parametrize(("offset", "size"), [(0, 11), (9, 2), (10, 1), (100, 1)])
def test_the_end_is_never_read_over(path: Path, offset: int, size: int):
    with path.open("rb") as file:
        for source in (FileSource(file.fileno()), BytesSource(path.read_bytes())):
            with pytest.raises(MalformedSealedModel) as error:
                read(source, offset, size)
            assert error.value.code is Code.TRUNCATED


def test_a_descriptor_that_fails_later_is_one_error(path: Path):
    descriptor = os.open(path, os.O_WRONLY)
    try:
        source = FileSource(descriptor)
        with pytest.raises(RefusedSealedModel) as error:
            read(source, 0, 1)
        assert error.value.code is Code.SOURCE_FAILED
    finally:
        os.close(descriptor)


def test_a_file_written_meanwhile_is_noticed(path: Path):
    with path.open("rb") as file:
        source = FileSource(file.fileno())
        source.check_unchanged()
        os.utime(path, ns=(0, 1))
        with pytest.raises(UnsealableModel) as error:
            source.check_unchanged()
        assert error.value.code is Code.SOURCE_CHANGED
