"""Opening a sealed model against the least that any such format must do with the same bytes.

- read: a plain file of the model's size, read in segments into memory;
- aes: AES-256-GCM decryption in segments, from memory to memory, one key, nothing else;
- aes_sha: the same, and SHA-256 of every ciphertext segment;
- aead: the product, from a file: header and signatures, unwrapping the content key, FLOE body;
- full: the product's default: the same, and every segment against its signed digest.

All write to one destination, touched beforehand; files are in the page cache. Kinds are
interleaved, so that noise of the machine meets all of them; figures are medians.

    python benchmarks/sealing.py [--json] [--size-mb N] [--rounds N]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mmap
import os
import platform
import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import IO, TYPE_CHECKING, Any

import cryptography
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealward.sealing import hpke
from sealward.sealing.container import Check, SealedModel
from sealward.sealing.core import SEGMENT_BYTES, Format, PartName
from sealward.sealing.memory import wipe
from sealward.sealing.signing import CreatorPrivateKey
from sealward.sealing.source import FileSource
from sealward.sealing.workload_key import WorkloadKey
from sealward.sealing.wrap import unwrap_content_key
from sealward.sealing.writer import Description, PlainModel, seal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TAG = 16
_NONCE = bytes(12)
_THREADS = (1, 2)


def main() -> None:
    """Measure, and print medians."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--size-mb", type=int, default=512)
    arguments.add_argument("--rounds", type=int, default=7)
    options = arguments.parse_args()
    result = measure(options.size_mb << 20, options.rounds)
    if options.json:
        print(json.dumps(document(result), indent=2))
        return
    for name, value in result.items():
        print(f"{name:<24}{value}")


def measure(size: int, rounds: int) -> dict[str, Any]:
    """Return medians in milliseconds of each kind and thread count, and the ratios that matter."""
    with tempfile.TemporaryFile() as plain, tempfile.TemporaryFile() as sealed:
        stage = _stage(size, plain, sealed)
        kinds: dict[str, Callable[[], None]] = {}
        for threads in _THREADS:
            kinds |= {
                f"read_{threads}": _read(stage, threads),
                f"aes_{threads}": _aes(stage, threads, sha=False),
                f"aes_sha_{threads}": _aes(stage, threads, sha=True),
                f"aead_{threads}": _sealed(stage, threads, Check.AEAD),
                f"full_{threads}": _sealed(stage, threads, Check.FULL),
            }
        times = _interleaved(kinds, rounds)
    result: dict[str, Any] = {"size_mb": size >> 20, "rounds": rounds}
    result |= {f"{name}_ms": round(taken * 1e3, 1) for name, taken in times.items()}
    for threads in _THREADS:
        for kind, baseline in (
            ("aead", "aes"),
            ("full", "aes"),
            ("full", "aes_sha"),
            ("aead", "read"),
            ("full", "read"),
        ):
            ratio = times[f"{kind}_{threads}"] / times[f"{baseline}_{threads}"]
            result[f"{kind}_to_{baseline}_{threads}"] = round(ratio, 3)
    result["full_2_mb_per_s"] = round(size / times["full_2"] / 1e6)
    return result | {
        "python": platform.python_version(),
        "cryptography": cryptography.__version__,
        "cpus": os.cpu_count(),
    }


_LABELS = {
    "read": "plain file read",
    "aes": "AES-256-GCM",
    "aes_sha": "AES-256-GCM and SHA-256",
    "aead": "sealed, AEAD only",
    "full": "sealed, every segment digest",
}


def document(result: dict[str, Any]) -> dict[str, Any]:
    """Return the document of benchmarks/README.md."""
    rows: list[dict[str, Any]] = []
    for threads in _THREADS:
        suffix = f", {threads} thread" + "s" * (threads > 1)
        for kind, label in _LABELS.items():
            row: dict[str, Any] = {
                "label": label + suffix,
                "median": result[f"{kind}_{threads}_ms"],
            }
            baseline = {"aead": "aes", "full": "aes_sha"}.get(kind)
            if baseline is not None:
                row["ratio_to"] = _LABELS[baseline] + suffix
                row["ratio"] = result[f"{kind}_to_{baseline}_{threads}"]
            rows.append(row)
    return {
        "name": "Opening a sealed model",
        "what": f"{result['size_mb']} MiB from a file in the page cache into memory.",
        "unit": "ms",
        "rows": rows,
        "notes": [
            f"Every digest, 2 threads: {result['full_2_mb_per_s']:,} MB/s.",
            f"AEAD only, 2 threads: {result['aead_to_read_2']} of a plain file read.",
            f"Every digest, 2 threads: {result['full_to_read_2']} of a plain file read.",
        ],
    }


@dataclass(frozen=True)
class _Stage:
    """Everything the kinds work on, made once."""

    size: int
    plain: int
    sealed: int
    ciphertext: memoryview
    destination: memoryview
    cipher: AESGCM
    creator: CreatorPrivateKey
    workload: hpke.PrivateKey


def _stage(size: int, plain: IO[bytes], sealed: IO[bytes]) -> _Stage:
    piece = secrets.token_bytes(SEGMENT_BYTES)
    for offset in range(0, size, SEGMENT_BYTES):
        plain.write(piece[: min(SEGMENT_BYTES, size - offset)])
    plain.flush()
    creator = CreatorPrivateKey.generate(secrets.token_bytes)
    workload = hpke.PrivateKey.generate(hpke.Suite.MLKEM768_X25519, secrets.token_bytes)
    seal(
        PlainModel(
            format=Format.ONNX,
            parts=(FileSource(plain.fileno()),),
            plain_digest=bytes(32),
            external_digest=None,
        ),
        Description(model="benchmark", version=1, created=datetime(2026, 1, 1, tzinfo=UTC)),
        workload_key=WorkloadKey(tenant="t", workload="w", public=workload.public),
        creator=creator,
        descriptor=sealed.fileno(),
        random_bytes=secrets.token_bytes,
    )
    cipher = AESGCM(secrets.token_bytes(32))
    ciphertext = memoryview(mmap.mmap(-1, size + len(_pieces(size)) * _TAG))
    for index, (start, stop) in enumerate(_pieces(size)):
        cipher.encrypt_into(
            _NONCE,
            piece[: stop - start],
            None,
            ciphertext[start + index * _TAG : stop + (index + 1) * _TAG],
        )
    destination = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    destination.madvise(mmap.MADV_HUGEPAGE)
    view = memoryview(destination)
    wipe(view)
    return _Stage(
        size, plain.fileno(), sealed.fileno(), ciphertext, view, cipher, creator, workload
    )


def _pieces(size: int) -> list[tuple[int, int]]:
    return [(start, min(start + SEGMENT_BYTES, size)) for start in range(0, size, SEGMENT_BYTES)]


def _lanes(threads: int, work: Callable[[int, int, int], None], size: int) -> None:
    """Share out segments as the product does."""
    numbered = [(index, start, stop) for index, (start, stop) in enumerate(_pieces(size))]

    def lane(mine: Iterable[tuple[int, int, int]]) -> None:
        for item in mine:
            work(*item)

    if threads == 1:
        lane(numbered)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(lane, numbered[number::threads]) for number in range(threads)]:
            done.result()


def _read(stage: _Stage, threads: int) -> Callable[[], None]:
    def piece(index: int, start: int, stop: int) -> None:
        del index
        if os.preadv(stage.plain, [stage.destination[start:stop]], start) != stop - start:
            raise OSError("short read of our own file")

    return lambda: _lanes(threads, piece, stage.size)


def _aes(stage: _Stage, threads: int, *, sha: bool) -> Callable[[], None]:
    def piece(index: int, start: int, stop: int) -> None:
        segment = stage.ciphertext[start + index * _TAG : stop + (index + 1) * _TAG]
        if sha:
            hashlib.sha256(segment).digest()
        stage.cipher.decrypt_into(_NONCE, segment, None, stage.destination[start:stop])

    return lambda: _lanes(threads, piece, stage.size)


def _sealed(stage: _Stage, threads: int, check: Check) -> Callable[[], None]:
    def run() -> None:
        model = SealedModel.open(FileSource(stage.sealed))
        model.verify_signatures(stage.creator.public)
        wrap = model.header.wrap_for(stage.workload.public.key_id)
        key = unwrap_content_key(wrap, stage.workload, model.core_digest)
        model.decrypt_part_into(
            key, PartName.MODEL, stage.destination, threads=threads, check=check
        )
        wipe(key)

    return run


def _interleaved(kinds: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    samples: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, run in kinds.items():
            start = time.perf_counter()
            run()
            samples[name].append(time.perf_counter() - start)
    return {name: median(taken) for name, taken in samples.items()}


if __name__ == "__main__":
    main()
