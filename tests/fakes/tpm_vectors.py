"""TPM and event-log entries of the vectors' manifest, and our own views put in its words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.formats.tpm import name, pcr_file, view
from sealward.verifier.formats.tpm import public as publics
from sealward.verifier.formats.tpm.credential import Credential
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.wire import pem
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from pathlib import Path

    from sealward.verifier.formats.tpm.attest import Attest
    from sealward.verifier.formats.tpm.public import Public


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One entry, its files by role."""

    id: str
    entry: dict[str, Any] = field(repr=False)
    paths: dict[str, Path] = field(repr=False)

    def read(self, role: str) -> bytes:
        return self.paths[role].read_bytes()

    def der(self, role: str) -> bytes:
        data = self.read(role)
        if pem.looks_like(data):
            return pem.decode(data, what=role, max_bytes=1 << 20)[0]
        return data

    @property
    def expect(self) -> dict[str, Any]:
        return self.entry["expect"]

    @property
    def checked(self) -> dict[str, Any]:
        return self.entry["checked_in_python"]

    @property
    def verify_at(self) -> datetime:
        return datetime.fromisoformat(self.entry["verify_at"])

    @property
    def window(self) -> tuple[datetime, datetime]:
        window = self.entry["certificate_window"]
        return (
            datetime.fromisoformat(window["not_before"]),
            datetime.fromisoformat(window["not_after"]),
        )


def load(folder: Path, *kinds: str) -> dict[str, Vector]:
    """Every entry of these kinds, by id; at least one of each."""
    manifest = json.loads((folder / "manifest.json").read_text())  # noqa: TID251 - test data
    found = [entry for entry in manifest["vectors"] if entry["kind"] in kinds]
    assert {entry["kind"] for entry in found} == set(kinds)
    return {
        entry["id"]: Vector(
            id=entry["id"],
            entry=entry,
            paths={role: folder / item["path"] for role, item in entry["files"].items()},
        )
        for entry in found
    }


def root(folder: Path, name_: str) -> bytes:
    """A CA certificate of the vectors, DER."""
    data = (folder / "roots" / f"{name_}.pem").read_bytes()
    return pem.decode(data, what=name_, max_bytes=1 << 20)[0]


def banks(values: dict[str, dict[str, str]]) -> tuple[PcrBank, ...]:
    """The manifest's PCRs, {bank: {index: hex}}, as values of ours."""
    return tuple(
        PcrBank(
            HashAlg[bank.upper()],
            tuple(sorted((int(index), bytes.fromhex(digest)) for index, digest in pcrs.items())),
        )
        for bank, pcrs in values.items()
    )


def tools_file(vector: Vector, role: str) -> tuple[PcrBank, ...]:
    return pcr_file.parse(vector.read(role))


def attest_in_manifest_words(attest: Attest) -> dict[str, Any]:
    """Our view of an attestation, whole, as the manifest writes it: nothing is dropped."""
    ours: dict[str, Any] = view.describe_attest(attest)
    ours["clock"] = int(ours["clock"])
    ours["safe"] = int(ours["safe"])
    if "pcr_select" in ours:
        ours["pcr_select"] = [[item["bank"], item["pcrs"]] for item in ours["pcr_select"]]
    return ours


def public_in_manifest_words(public: Public) -> dict[str, Any]:
    """Our view of a public area, whole, as the manifest writes it."""
    ours: dict[str, Any] = view.describe_public(public)
    ours["attrs"] = hex(int(ours.pop("attributes"), 16))
    ours["attr_names"] = ours.pop("attribute_names")
    ours["policy"] = ours.pop("auth_policy")
    ours["type"] = int(public.type)
    symmetric = ours.pop("symmetric")
    ours["sym"] = None if symmetric is None else [6, int(symmetric.split("-")[1]), 0x43]
    scheme = ours.pop("scheme")
    schemes = {"rsassa": 0x14, "rsapss": 0x16, "ecdsa": 0x18}
    ours["scheme"] = (
        None if scheme is None else [schemes[scheme.split("-")[0]], scheme.split("-")[1]]
    )
    if "key_bits" in ours:
        ours["bits"] = ours.pop("key_bits")
    if "curve" in ours:
        ours["curve"] = {"p256": 3, "p384": 4}[ours["curve"]]
    assert bytes.fromhex(ours["name"]) == name.name(public)
    # Bytes behind the structure: a public area that has any does not parse.
    return ours | {"_rest": 0}


def header_in_manifest_words(log: logs.Log, size: int) -> dict[str, Any]:
    """Our header, whole, as the manifest writes it; the register of the record it has not."""
    end = size - log.padding[1]
    header = log.header
    if header is None:
        return {"crypto_agile": False, "end": end}
    return {
        "crypto_agile": True,
        "algs": [list(pair) for pair in header.algorithms],
        "spec": "{}.{}.{}".format(*header.version),
        "uintn": header.uintn_size,
        "platform_class": header.platform_class,
        "end": end,
    }


def event_count(log: logs.Log) -> int:
    """The manifest counts the header's record."""
    return len(log.events) + (log.header is not None)


def sized_or_bare(data: bytes) -> Public:
    """A public area as tools write it: with or without its size in front."""
    return (
        publics.parse_sized(data)
        if data[2:4] in (b"\x00\x01", b"\x00\x23")
        else publics.parse(data)
    )


def credential_file(data: bytes) -> Credential:
    """What tpm2_makecredential writes: magic, version, and the two parts with their sizes."""
    assert data[:8] == bytes.fromhex("badcc0de 00000001")
    secret_at = 10 + int.from_bytes(data[8:10], "big")
    seed = data[secret_at + 2 :]
    assert int.from_bytes(data[secret_at : secret_at + 2], "big") == len(seed)
    return Credential(data[10:secret_at], seed)
