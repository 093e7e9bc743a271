"""The CCA and PSA entries of the vectors' manifest, and our own view in the manifest's words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sealward.verifier.pki import instance_keys
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme

if TYPE_CHECKING:
    from pathlib import Path

    from sealward.verifier.rats.claims import Json

# Our name of a claim -> its number in the profiles of the vectors.
_PLATFORM = {
    "profile": 265,
    "challenge": 10,
    "implementation_id": 2396,
    "instance_id": 256,
    "config": 2401,
    "lifecycle": 2395,
    "components": 2399,
    "verification_service": 2400,
    "hash_algorithm": 2402,
}
_REALM = {
    "profile": 265,
    "challenge": 10,
    "personalization": 44235,
    "initial_measurement": 44238,
    "extensible_measurements": 44239,
    "hash_algorithm": 44236,
    "public_key": 44237,
    "key_hash_algorithm": 44240,
}
_PSA = {
    "profile": 265,
    "nonce": 10,
    "instance_id": 256,
    "implementation_id": 2396,
    "client_id": 2394,
    "lifecycle": 2395,
    "boot_seed": 2397,
    "certification": 2398,
    "components": 2399,
    "verification_service": 2400,
}
_COMPONENT = {"type": 1, "measurement": 2, "version": 4, "signer_id": 5, "algorithm": 6}
_SHOWN_OTHERWISE = ("lifecycle_state", "algorithm", "tag")  # of the claim, the header, the message


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """One entry with its token, and the key that its maker published."""

    id: str
    scheme: Scheme
    verifies: bool
    checked: dict[str, Any]
    expect: dict[str, Any]
    token: bytes = field(repr=False)
    pem: bytes = field(repr=False)

    @property
    def key(self) -> InstanceKey:
        """The key, as somebody gives it who verifies this one file."""
        return InstanceKey(scheme=self.scheme, spki=instance_keys.from_pem(self.pem))

    def key_of(self, instance: str) -> InstanceKey:
        """The key, as a tenant gives it for one instance (hexadecimal)."""
        spki = instance_keys.from_pem(self.pem)
        return InstanceKey(scheme=self.scheme, spki=spki, instance_id=bytes.fromhex(instance))


def load(folder: Path, scheme: Scheme) -> tuple[Vector, ...]:
    """Every entry of a scheme in the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())  # noqa: TID251 - test data
    found = (one for one in manifest["vectors"] if one["kind"] == scheme)
    return tuple(_vector(folder, scheme, one) for one in found)


def _vector(folder: Path, scheme: Scheme, entry: dict[str, Any]) -> Vector:
    files = entry["files"]
    key = files["platform_key" if scheme is Scheme.CCA else "key"]
    return Vector(
        id=entry["id"],
        scheme=scheme,
        verifies=entry["result"] == "verifies",
        checked=entry["checked_in_python"],
        expect=entry["expect"],
        token=(folder / files["token"]["path"]).read_bytes(),
        pem=(folder / key["path"]).read_bytes(),
    )


def cca_in_manifest_words(token: dict[str, Any]) -> dict[str, Any]:
    """Our view of a CCA token, whole, as the manifest would write it."""
    return {
        "platform": _numbered(token["platform"], _PLATFORM),
        "realm": _numbered(token["realm"], _REALM),
    }


def psa_in_manifest_words(token: dict[str, Any]) -> dict[str, Any]:
    """Our view of a PSA token, whole, as the manifest would write it."""
    return _numbered(token, _PSA)


def _numbered(claims: dict[str, Json], numbers: dict[str, int]) -> dict[str, Any]:
    """Rename claims; a name without a number fails, and absent claims are left out."""
    return {
        str(numbers[name]): _components(value) if name == "components" else value
        for name, value in claims.items()
        if name not in _SHOWN_OTHERWISE and value is not None
    }


def _components(values: Any) -> list[dict[str, Json]]:  # noqa: ANN401 - JSON
    return [
        {str(_COMPONENT[name]): value for name, value in one.items() if value is not None}
        for one in values
    ]
