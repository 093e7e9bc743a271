"""The format's own fields as plain JSON, for people and tools.

Policies see the normalised claims instead (`rats.claims`). Byte fields are lower-case hex.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealward.verifier.formats.tpm import name
from sealward.verifier.formats.tpm.attest import Certified, Created, Quoted
from sealward.verifier.formats.tpm.public import EccKey, KeyedHash, RsaKey

if TYPE_CHECKING:
    from sealward.verifier.formats.tpm.attest import Attest
    from sealward.verifier.formats.tpm.public import Public
    from sealward.verifier.rats.claims import Json


def describe_attest(attest: Attest) -> dict[str, Json]:
    """Return every field of an attestation."""
    view: dict[str, Json] = {
        "qualified_signer": attest.qualified_signer.hex(),
        "extra_data": attest.extra_data.hex(),
        "clock": str(attest.clock),
        "reset_count": attest.reset_count,
        "restart_count": attest.restart_count,
        "safe": attest.safe,
        "firmware_version": f"{attest.firmware_version:016x}",
    }
    attested = attest.attested
    if isinstance(attested, Quoted):
        selections: list[Json] = [
            {"bank": item.bank.label, "pcrs": list(item.indices)} for item in attested.selections
        ]
        digest = attested.pcr_digest.hex()
        return view | {"type": "quote", "pcr_select": selections, "pcr_digest": digest}
    if isinstance(attested, Certified):
        names = {"name": attested.name.hex(), "qualified_name": attested.qualified_name.hex()}
        return view | {"type": "certify"} | names
    if isinstance(attested, Created):
        made = {"name": attested.name.hex(), "creation_hash": attested.creation_hash.hex()}
        return view | {"type": "creation"} | made
    return view | {
        "type": "nv",
        "index_name": attested.index_name.hex(),
        "offset": attested.offset,
        "contents": attested.contents.hex(),
    }


def describe_public(public: Public) -> dict[str, Json]:
    """Return every field of a public area but the key's own numbers, and its Name."""
    attributes: list[Json] = [*public.attribute_names]
    view: dict[str, Json] = {
        "type": public.type.name.lower(),
        "name_alg": public.name_alg.label,
        "attributes": f"{public.attributes:08x}",
        "attribute_names": attributes,
        "auth_policy": public.auth_policy.hex(),
        "name": name.name(public).hex(),
    }
    key = public.key
    if isinstance(key, KeyedHash):
        return view | {"unique": key.unique.hex()}
    view["symmetric"] = None if key.symmetric is None else f"aes-{key.symmetric.key_bits}-cfb"
    view["scheme"] = (
        None if key.scheme is None else f"{key.scheme.scheme.name.lower()}-{key.scheme.hash.label}"
    )
    if isinstance(key, RsaKey):
        return view | {"key_bits": key.key_bits}
    return view | {"curve": _curve(key)}


def _curve(key: EccKey) -> str:
    return key.curve.name.lower()
