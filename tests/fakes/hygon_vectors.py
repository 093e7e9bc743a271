"""The Hygon entry of the vectors' manifest, and our own view put in the manifest's words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealward.verifier.formats.hygon_csv import evidence
from sealward.verifier.formats.hygon_csv.endorsements import Endorsements
from sealward.verifier.rats.evidence import HYGON_EVIDENCE, Record, encode

if TYPE_CHECKING:
    from sealward.verifier.rats.claims import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One entry and its files."""

    id: str
    result: str
    expect: dict[str, Any]
    paths: tuple[Path, ...]
    report: bytes = field(repr=False)
    cek: bytes = field(repr=False)
    hsk: bytes = field(repr=False)
    root: bytes = field(repr=False)

    @property
    def endorsements(self) -> Endorsements:
        return Endorsements(cek=self.cek, hsk=self.hsk, hrk=self.root)

    def files(self) -> tuple[bytes, ...]:
        return self.report, self.cek, self.hsk, self.root

    def envelope(self) -> bytes:
        """What an attester would send."""
        payload = evidence.encode(evidence.Evidence(self.report, self.endorsements))
        return encode(Record(HYGON_EVIDENCE, payload))


def load(folder: Path) -> tuple[Vector, ...]:
    """Every Hygon entry of the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())  # noqa: TID251 - test data
    return tuple(_vector(folder, one) for one in manifest["vectors"] if one["kind"] == "csv")


def _vector(folder: Path, entry: dict[str, Any]) -> Vector:
    paths = {name: folder / file["path"] for name, file in entry["files"].items()}
    return Vector(
        id=entry["id"],
        result=entry["result"],
        expect=entry["expect"],
        paths=tuple(paths.values()),
        **{name: path.read_bytes() for name, path in paths.items()},
    )


def in_manifest_words(report: dict[str, Json]) -> dict[str, Any]:
    """Our view of a report as the manifest would write it, which has the policy as a number."""
    ours: dict[str, Any] = dict(report)
    ours["sn"] = ours.pop("serial_unsigned")
    assert ours.pop("policy_flags").keys() == {
        *("no_debug", "no_key_sharing", "encrypted_state", "no_send", "same_domain"),
        *("csv", "csv3", "asid_reuse"),
    }
    return ours
