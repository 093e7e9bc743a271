"""The vTPM of Google Compute Engine among the vectors: three quotes, one log, one certificate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from fakes import tpm_vectors

from sealward.verifier import registry
from sealward.verifier.composite.tpm_files import Part
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.registry import Context

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sealward.verifier.registry import Item

ID = "tpm-gce-cos-85-no-nonce"
BANKS = ("sha1", "sha256", "sha384")
CAS = (
    *("google_tpm_ek_intermediate_2", "google_tpm_ek_intermediate_3", "google_tpm_ek_root_1"),
    *("google_gcp_ek_ak_ca_intermediate_v3", "google_gcp_ek_ak_ca_root"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """A quote of one bank with everything beside it; certificates in DER, the leaf first."""

    now: datetime
    message: bytes
    signature: bytes
    ak_public: bytes
    values: bytes
    log: bytes | None
    certificates: tuple[bytes, ...]

    def items(self) -> tuple[Item, ...]:
        """The pieces as `sealward verify` would find them."""
        parts = [self.message, self.signature, self.ak_public]
        if self.log is not None:
            parts.append(self.log)
        return (
            *(item for part in parts for item in registry.recognise(part)),
            registry.in_role(Part.PCR_VALUES, self.values),
            *(item for part in self.certificates for item in _recognised(part)),
        )

    def verify(self, cache: ChainCache | None = None) -> registry.Verified:
        context = Context(TrustAnchors(), self.now, cache or ChainCache())
        return registry.authenticate_items(self.items(), context)


@cache
def _recognised(data: bytes) -> tuple[Item, ...]:
    """Suites verify one machine thousands of times."""
    return registry.recognise(data)


def load(folder: Path) -> dict[str, Quoted]:
    """The three quotes, by bank."""
    vector = tpm_vectors.load(folder, "tpm")[ID]
    found = {item["bank"]: item for item in vector.expect["quotes"]}
    cas = tuple(tpm_vectors.root(folder, name) for name in CAS)
    return {
        bank: Quoted(
            now=vector.verify_at,
            message=vector.read(f"quote_{bank}"),
            signature=vector.read(f"sig_{bank}"),
            ak_public=vector.read("ak_pub_tpmt"),
            values=b"".join(bytes.fromhex(found[bank]["pcrs"][str(index)]) for index in range(24)),
            log=vector.read("event_log"),
            certificates=(vector.der("ak_cert"), *cas),
        )
        for bank in BANKS
    }
