"""Shared plaintext: one writer, read-only readers, and a wipe that reaches them all."""

from __future__ import annotations

import mmap
import os

import pytest

from sealward.enclave_agent.inference.memory import SharedPlaintext


def filled(data: bytes) -> SharedPlaintext:
    part = SharedPlaintext("test", len(data))
    with part.view() as view:
        view[:] = data
    return part


def test_a_reader_sees_what_was_written_and_then_the_wipe():
    with filled(b"weights!" * 1000) as part:
        reader = mmap.mmap(part.fd, part.length, prot=mmap.PROT_READ)
        assert reader[:] == b"weights!" * 1000
        assert part.wipe() == 8000
        assert not any(reader[:])
        reader.close()


def test_whoever_inherits_the_descriptor_can_neither_write_nor_resize():
    with filled(b"x" * 5000) as part:
        with pytest.raises(OSError, match="not permitted"):
            mmap.mmap(part.fd, part.length, prot=mmap.PROT_WRITE)
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(part.fd, b"y", 0)
        for length in (0, 10_000):
            with pytest.raises(OSError, match="not permitted"):
                os.ftruncate(part.fd, length)
        assert part.read(5000) == b"x" * 5000


def test_the_end_of_the_block_wipes_and_closes():
    with filled(b"secret" * 1000) as part:
        reader = mmap.mmap(part.fd, part.length, prot=mmap.PROT_READ)
    assert not any(reader[:])
    assert part.fd == -1
    reader.close()


def test_wiping_and_closing_twice_does_nothing_more():
    part = filled(b"x")
    assert part.wipe() == 1
    assert part.wipe() == 1
    part.close()
    part.close()
    assert part.wipe() == 0


def test_reading_is_bounded():
    with filled(b"12345") as part, pytest.raises(ValueError, match="at most 4"):
        part.read(4)


def test_nothing_cannot_be_mapped():
    with pytest.raises(ValueError, match="0 bytes"):
        SharedPlaintext("test", 0)
