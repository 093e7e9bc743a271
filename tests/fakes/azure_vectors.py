"""The Azure entries of the manifest as evidence, and our reading in the words of the manifest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from fakes import tpm_vectors

from sealward.verifier import registry
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.formats.tpm import pcr, quote
from sealward.verifier.formats.tpm.attest import parse as parse_attest
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.registry import Context

if TYPE_CHECKING:
    from pathlib import Path

    from fakes.tpm_vectors import Vector

    from sealward.verifier.formats.hcl.report import HclReport
    from sealward.verifier.formats.hcl.runtime import RuntimeClaims
    from sealward.verifier.registry import Item

__all__ = ["Machine", "load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine's files; `replace` makes others of them."""

    vector: Vector
    hcl: bytes
    message: bytes
    signature: bytes
    values: bytes
    vcek: bytes | None
    td_quote: bytes | None
    chain: tuple[bytes, ...]

    def items(self) -> tuple[Item, ...]:
        """The pieces as `sealward verify` would find them."""
        return (
            *registry.recognise(self.hcl),
            *registry.recognise(self.message),
            registry.in_role(Part.BARE_SIGNATURE, self.signature),
            registry.in_role(Part.PCR_VALUES, self.values),
            *(
                item
                for data in (self.vcek, self.td_quote, *self.chain)
                if data is not None
                for item in _recognised(data)
            ),
        )

    def verify(self, **changes: Any) -> registry.Verified:  # noqa: ANN401 - fields of Context
        context = Context(TrustAnchors(), self.vector.verify_at, changes.pop("cache", ChainCache()))
        return registry.authenticate_items(self.items(), context)

    def wrapped_signature(self) -> bytes:
        """The signature as a TPM writes it."""
        return registry.in_role(Part.BARE_SIGNATURE, self.signature).data

    def banks(self) -> tuple[PcrBank, ...]:
        return pcr.split_raw(
            self.values, quote.require_quote(parse_attest(self.message)).selections
        )


@cache
def _recognised(data: bytes) -> tuple[Item, ...]:
    """Suites verify one machine thousands of times."""
    return registry.recognise(data)


def load(folder: Path) -> dict[str, Machine]:
    """Every Azure entry, by id."""
    chain = tuple(tpm_vectors.root(folder, name) for name in ("amd_ask_milan", "amd_ark_milan"))
    return {
        id_: Machine(
            vector=vector,
            hcl=vector.read("hcl_report"),
            message=vector.read("tpm_quote_msg"),
            signature=vector.read("tpm_quote_sig"),
            values=b"".join(map(bytes.fromhex, json.loads(vector.read("tpm_pcrs_sha256")))),  # noqa: TID251 - test data
            vcek=vector.read("vcek") if "vcek" in vector.paths else None,
            td_quote=vector.read("td_quote") if "td_quote" in vector.paths else None,
            chain=chain if "vcek" in vector.paths else (),
        )
        for id_, vector in tpm_vectors.load(folder, "az-snp-vtpm", "az-tdx-vtpm").items()
    }


def hcl_in_manifest_words(report: HclReport, said: RuntimeClaims) -> dict[str, Any]:
    """Everything the manifest expects of an HCL report, from our own reading."""
    size = len(report.claims)
    return {
        "hcl_header": {
            "version": report.version,
            "report_size": 0x4D4 + size,
            "request_type": 2,
            "status": 0,
            "req_data_size": 20 + size,
            "req_version": 1,
            "report_type": report.hardware.name.lower(),
            "report_type_raw": int(report.hardware),
            "hash_type": report.hash.label,
            "variable_data_size": size,
        },
        "vm_configuration": dict(said.configuration),
        "user_data": None if said.user_data is None else said.user_data.hex().upper(),
        "keys": [*said.keys],
    }
