"""Lists of real kernels, where there are any, and those of our own kernel always.

SEALWARD_IMA_LISTS names a folder of binary lists, kept outside of the repository: files ending in
`_sha256` (or another hash) have template digests by it, all others by SHA-1.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes.ima_kernel import ImaKernel

from sealward.verifier.formats.ima import measurements, replay
from sealward.verifier.wire.tcg_hash import HashAlg


def minted() -> dict[str, bytes]:
    kernel = ImaKernel()
    kernel.boot(dict.fromkeys(range(10), bytes(32)))
    for number in range(500):
        kernel.measure(f"/usr/lib/file-{number}", bytes((number % 256,)) * number)
    return {f"minted_{bank}": kernel.runtime_measurements(bank) for bank in ("sha1", "sha256")}


def lists() -> dict[str, bytes]:
    folder = os.environ.get("SEALWARD_IMA_LISTS")
    if folder is None:
        return minted()
    found = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    assert found, f"no lists in {folder}"
    return found | minted()


LISTS = lists()


def template_hash(name: str) -> HashAlg:
    ending = name.rpartition("_")[2].upper()
    return HashAlg[ending] if ending in HashAlg.__members__ else HashAlg.SHA1


@pytest.mark.parametrize("name", LISTS)
def test_a_list_reads_whole_and_begins_with_the_boot_aggregate(name: str) -> None:
    entries = measurements.parse(LISTS[name], template_hash(name))
    assert entries[0].reading is not None
    assert entries[0].reading.path == "boot_aggregate"
    assert {entry.register for entry in entries} == {replay.REGISTER}
    paths = [entry.reading.path for entry in entries[1:] if entry.reading is not None]
    assert sum(path.startswith("/") for path in paths) > 0.9 * len(paths)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_proves_itself_at_every_length_that_pcr_10_had(name: str) -> None:
    entries = measurements.parse(LISTS[name], template_hash(name))
    value = bytes(32)
    for count, entry in enumerate(entries, 1):
        value = HashAlg.SHA256.digest(value + entry.extends(HashAlg.SHA256))
        if count % 100 == 0 or count == len(entries):
            assert replay.reached(entries, HashAlg.SHA256, bytes(32), value) == count
