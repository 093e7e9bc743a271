"""Azure machines made of Python: hardware evidence under a development root, paravisor, vTPM.

SNP reports and TD quotes are genuine formats of the development kit, quotes are a software TPM's,
reports and claims of the paravisor those that the attester's suite mints.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from struct import pack
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import rsa
from fakes import azure_vtpm, dcap_fixtures, snp_fixtures, software_tpm
from fakes.azure_vtpm_metadata import chip_certificates
from fakes.software_tpm import SoftwareTpm
from sealward_devkit.dcap.reports import encode_td_report_10

from sealward.verifier import registry
from sealward.verifier.formats.dcap import collateral as dcap_collateral
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.evidence import AZURE_EVIDENCE, Record, encode
from sealward.verifier.registry import Context
from sealward.verifier.wire import cbor

if TYPE_CHECKING:
    from sealward.verifier.rats.collateral import Key

NOW = snp_fixtures.NOW
BOUND = hashlib.sha512(b"an azure binding").digest()
PCRS = {"sha256": {index: bytes((index,)) * 32 for index in (*range(10), 23)}}
TPM = SoftwareTpm(label="azure-ak", banks=PCRS)
OTHER_TPM = SoftwareTpm(label="another-ak", banks=PCRS)


def public_key(tpm: SoftwareTpm = TPM) -> rsa.RSAPublicKey:
    key = software_tpm.private(tpm.kind, tpm.label).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    return key


def td_report(td: Any) -> bytes:  # noqa: ANN401 - the development kit's TdReport
    """TDREPORT of a TD, with the two hashes that a module writes (Intel TDX Module ABI)."""
    body = encode_td_report_10(td)
    info = (body[120:520] + bytes(48)).ljust(512, b"\0")
    tcb_info = td.tee_tcb_svn.ljust(239, b"\x07")
    hashes = [hashlib.sha384(part).digest() for part in (tcb_info, info)]
    head = b"\x81\0\0\0" + bytes(12) + b"\xc0" * 16 + b"".join(hashes) + td.report_data
    return (head + bytes(32) + b"\x4d" * 32 + tcb_info).ljust(512, b"\0") + info


def hcl_report(tee: int, hardware: bytes, runtime: bytes, *, size: int = azure_vtpm.SIZE) -> bytes:
    """The content of the NV index around a hardware report over SHA-256 of the claims."""
    data = pack("<IIIII", 20 + len(runtime), 1, tee, 1, len(runtime)) + runtime
    header = b"HCLA" + pack("<IIII", 2, 0x4C0 + len(data), 2, 0) + bytes(12)
    return (header + hardware.ljust(1184, b"\0") + data).ljust(size, b"\0")


@dataclass(frozen=True, kw_only=True)
class Azure:
    """One machine's evidence as the members of our payload; `changed` makes others."""

    members: dict[int, Any]
    pieces: tuple[tuple[Key, bytes], ...] = field(default=(), repr=False)

    def get(self, key: Key) -> bytes | None:
        """The collateral of a machine on TDX."""
        return dict(self.pieces).get(key)

    def changed(self, **members: Any) -> Azure:  # noqa: ANN401 - `m1` to `m9`
        return replace(
            self, members={**self.members, **{int(name[1:]): v for name, v in members.items()}}
        )

    def envelope(self) -> bytes:
        return encode(Record(AZURE_EVIDENCE, cbor.encode(self.members)))

    def context(self) -> Context:
        roots = (snp_fixtures.platform().root, dcap_fixtures.hierarchy().root)
        anchors = TrustAnchors(
            development_roots=tuple(import_root(root, now=NOW) for root in roots)
        )
        return Context(anchors, NOW, ChainCache(), collateral=self)

    def verify(self, context: Context | None = None) -> registry.Verified:
        return registry.authenticate(self.envelope(), context or self.context())


def payload_members(report: bytes, bound: bytes, tpm: SoftwareTpm) -> dict[int, Any]:
    message = tpm.message(bound[:32])
    return {
        1: report,
        2: message,
        3: tpm.sign(message),
        4: tpm.ak_public,
        5: [
            [software_tpm.ALG[bank], [[index, values[index]] for index in sorted(values)]]
            for bank, values in tpm.banks.items()
        ],
        **dict.fromkeys(range(6, 10)),
    }


def on_snp(
    *,
    bound: bytes = BOUND,
    user_data: bytes | None = BOUND,
    tpm: SoftwareTpm = TPM,
    named: SoftwareTpm = TPM,
    **fields: Any,  # noqa: ANN401 - any field of the report
) -> Azure:
    """A machine on SNP; `named` is the TPM whose key the claims name."""
    runtime = azure_vtpm.claims(public_key(named), user_data)
    report_data = hashlib.sha256(runtime).digest().ljust(64, b"\0")
    minted = snp_fixtures.mint(report_data=report_data, **fields)
    leaf, chain = chip_certificates()
    members = payload_members(hcl_report(azure_vtpm.SNP, minted.report, runtime), bound, tpm)
    return Azure(members=members | {9: (leaf + chain).encode()})


def on_tdx(
    *,
    bound: bytes = BOUND,
    user_data: bytes | None = BOUND,
    tpm: SoftwareTpm = TPM,
    **fields: Any,  # noqa: ANN401 - any field of the TD report
) -> Azure:
    """A machine on TDX, and the collateral that judges its platform."""
    runtime = azure_vtpm.claims(public_key(), user_data)
    report_data = hashlib.sha256(runtime).digest().ljust(64, b"\0")
    minted = dcap_fixtures.mint_tdx(report_data=report_data, **fields)
    td = replace(dcap_fixtures.TD, report_data=report_data, **fields)
    members = payload_members(hcl_report(azure_vtpm.TDX, td_report(td), runtime), bound, tpm)
    found = dcap_collateral.bundle(minted.collateral.to_json().encode())
    parts = (found.tcb_info, found.qe_identity, found.pck_crl, found.root_crl)
    pieces = tuple((dcap_collateral.key_of(part), part) for part in parts)
    return Azure(members=members | {8: minted.quote}, pieces=pieces)
