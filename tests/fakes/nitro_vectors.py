"""The Nitro entries of the vectors' manifest, and our own view put in the manifest's words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sealward.verifier.formats.nitro import evidence
from sealward.verifier.rats.evidence import NITRO_EVIDENCE, Record, encode

if TYPE_CHECKING:
    from pathlib import Path

    from sealward.verifier.rats.claims import Json

_SHOWN_OF_A_SUBJECT = 80  # the manifest cuts the subjects of issuers off there


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One entry and its document."""

    id: str
    verifies: bool
    verify_at: datetime
    window: tuple[datetime, datetime]
    expect: dict[str, Any]
    path: Path
    document: bytes = field(repr=False)

    def envelope(self) -> bytes:
        """The document as our attester would send it."""
        return encode(Record(NITRO_EVIDENCE, evidence.encode(self.document)))


def load(folder: Path) -> tuple[Vector, ...]:
    """Every Nitro entry of the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())  # noqa: TID251 - test data
    return tuple(_vector(folder, one) for one in manifest["vectors"] if one["kind"] == "nitro")


def _vector(folder: Path, entry: dict[str, Any]) -> Vector:
    path = folder / entry["files"]["document"]["path"]
    window = entry["certificate_window"]
    return Vector(
        id=entry["id"],
        verifies=entry["result"] == "verifies",
        verify_at=datetime.fromisoformat(entry["verify_at"]),
        window=(
            datetime.fromisoformat(window["not_before"]),
            datetime.fromisoformat(window["not_after"]),
        ),
        expect=entry["expect"],
        path=path,
        document=path.read_bytes(),
    )


def in_manifest_words(document: dict[str, Json], chain: tuple[str, ...]) -> dict[str, Any]:
    """Our view of a document, whole, as the manifest would write it.

    Nothing is dropped: what we know and the manifest does not makes the comparison fail, and what
    it knows and we do not does as well.
    """
    ours: dict[str, Any] = dict(document)
    ours["debug_mode"] = ours.pop("debug")
    ours["cose"] = {"tagged": ours.pop("tagged"), "alg": ours.pop("algorithm")}
    ours["pcr_nonzero"] = [int(at) for at, value in ours["pcrs"].items() if value.strip("0")]
    leaf, *issuers = chain
    ours["leaf_subject"] = leaf
    ours["cabundle_subjects"] = [one[:_SHOWN_OF_A_SUBJECT] for one in reversed(issuers)]
    return ours
