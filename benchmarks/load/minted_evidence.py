"""Evidence of every kind in our own envelopes, minted here, and what a control plane knows of it.

Genuine formats under development roots and test keys, from the development kit and the suites'
fakes, so that a benchmark needs no evidence vectors. `Case.verify` is what the control plane runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, cast

from fakes import (
    arm_tokens,
    azure_machines,
    dcap_fixtures,
    google_cas,
    nitro_fixtures,
    nvidia_devices,
    snp_fixtures,
    software_tpm,
)
from fakes.dcap_fixtures import Minted
from sealward_devkit.dcap.quote import Shape

from sealward.verifier import registry
from sealward.verifier.formats.cca import evidence as cca_evidence
from sealward.verifier.formats.dcap import collateral as dcap_collateral
from sealward.verifier.formats.dcap import evidence as dcap_evidence
from sealward.verifier.formats.gce import evidence as gce_evidence
from sealward.verifier.formats.nitro import evidence as nitro_evidence
from sealward.verifier.formats.nvidia_gpu import evidence as nvidia_evidence
from sealward.verifier.formats.psa import evidence as psa_evidence
from sealward.verifier.formats.snp import evidence as snp_evidence
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.pki.instance_keys import Scheme
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.collateral import NO_COLLATERAL, Key, Source
from sealward.verifier.rats.evidence import Collection, Record
from sealward.verifier.registry import Context, nvidia
from sealward.verifier.wire import cbor
from sealward.verifier.wire.tcg_hash import HashAlg

BOUND: Final = hashlib.sha512(b"a binding").digest()
NONCE: Final = BOUND[:32]
NOW: Final = snp_fixtures.NOW


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of evidence.

    Attributes:
        name: what the page calls it.
        records: what the envelope holds, one by one.
        envelope: as it arrives.
        context: what the verifier trusts and holds, with a cache of this case's own.
        verifies: the entry of the registry for it.
        intel: quote and collateral, where another implementation reads the same.
    """

    name: str
    records: tuple[Record, ...] = field(repr=False)
    envelope: bytes = field(repr=False)
    context: Context = field(repr=False)
    verifies: Callable[[bytes, Context], registry.Verified] = registry.authenticate
    intel: Minted | None = field(repr=False, default=None)

    def warm(self) -> registry.Verified:
        """Verify with everything in the cache that earlier calls left there."""
        return self.verifies(self.envelope, self.context)

    def cold(self) -> registry.Verified:
        """Verify with an empty cache."""
        return self.verifies(self.envelope, replace(self.context, cache=ChainCache()))


@dataclass(frozen=True)
class Held:
    """Collateral in memory."""

    pieces: dict[Key, bytes]

    def get(self, key: Key) -> bytes | None:
        """Return what is held under `key`."""
        return self.pieces.get(key)


def cases() -> Iterator[Case]:
    """Mint one of each kind."""
    yield _intel("TDX v4", envelopes.TDX_EVIDENCE, _tdx(Shape.TDX_4))
    yield _intel("TDX v5", envelopes.TDX_EVIDENCE, _tdx(Shape.TDX_5_TD15))
    sgx = dcap_fixtures.mint_sgx(report_data=BOUND)
    yield _intel("SGX v3", envelopes.SGX_EVIDENCE, sgx)
    document = nitro_fixtures.mint(user_data=BOUND)
    context = _context(nitro_fixtures.hierarchy().root)
    yield _case("Nitro", envelopes.NITRO_EVIDENCE, nitro_evidence.encode(document), context)
    for name, azure in (
        ("Azure on SNP", azure_machines.on_snp(bound=BOUND, user_data=BOUND)),
        ("Azure on TDX", azure_machines.on_tdx(bound=BOUND, user_data=BOUND)),
    ):
        payload = cbor.encode(azure.members)
        yield _case(name, envelopes.AZURE_EVIDENCE, payload, azure.context())
    yield _google()
    yield _arm("CCA", Scheme.CCA, envelopes.CCA_EVIDENCE, cca_evidence.encode(arm_tokens.cca()))
    token = arm_tokens.sign1(arm_tokens.key("maker"), arm_tokens.psa_claims())
    yield _arm("PSA", Scheme.PSA, envelopes.PSA_EVIDENCE, psa_evidence.encode(token))
    yield from _devices()


def _case(name: str, media_type: str, payload: bytes, context: Context) -> Case:
    record = Record(media_type, payload)
    return Case(name=name, records=(record,), envelope=envelopes.encode(record), context=context)


def _context(*roots: bytes, source: Source = NO_COLLATERAL) -> Context:
    imported = tuple(import_root(root, now=NOW) for root in roots)
    return Context(TrustAnchors(development_roots=imported), NOW, ChainCache(), collateral=source)


def _tdx(shape: Shape) -> Minted:
    return dcap_fixtures.mint_tdx(shape=shape, report_data=BOUND)


def _intel(name: str, media_type: str, minted: Minted) -> Case:
    bundle = dcap_collateral.bundle(minted.collateral.to_json().encode())
    parts = (bundle.tcb_info, bundle.qe_identity, bundle.pck_crl, bundle.root_crl)
    source = Held({dcap_collateral.key_of(part): part for part in parts})
    context = _context(dcap_fixtures.hierarchy().root, source=source)
    content = dcap_evidence.Evidence(minted.quote)
    sgx = media_type == envelopes.SGX_EVIDENCE
    payload = (dcap_evidence.encode_sgx if sgx else dcap_evidence.encode_tdx)(content)
    return replace(_case(name, media_type, payload, context), intel=minted)


def _google() -> Case:
    tpm = software_tpm.SoftwareTpm(label="google-ak", banks=azure_machines.PCRS)
    message = tpm.message(NONCE)
    found = tpm_evidence.Evidence(
        message=message,
        signature=tpm.sign(message),
        ak_public=tpm.ak_public,
        pcrs=(PcrBank(HashAlg.SHA256, tuple(sorted(tpm.banks["sha256"].items()))),),
        event_log=None,
        ek_certificate=None,
    )
    chain = (google_cas.ak_certificate(tpm), google_cas.root())
    payload = gce_evidence.encode(gce_evidence.Evidence(tpm_evidence.encode(found), chain))
    context = Context(google_cas.anchors(), NOW, ChainCache())
    return _case("Google vTPM", envelopes.GOOGLE_EVIDENCE, payload, context)


def _arm(name: str, scheme: Scheme, media_type: str, payload: bytes) -> Case:
    context = replace(_context(), keys=(arm_tokens.anchor(scheme),))
    return _case(name, media_type, payload, context)


def _devices() -> Iterator[Case]:
    """A GPU by itself, which no envelope brings, and the machine that it is in."""
    report, chain = nvidia_devices.gpu_report(NONCE), nvidia_devices.gpu_chain()
    payload = nvidia_evidence.encode(nvidia_evidence.Evidence(report, chain))
    held = nvidia_devices.store().held | nvidia_devices.revocation_answers()
    minted = snp_fixtures.mint(report_data=BOUND)
    roots = nvidia_devices.anchors().development_roots
    anchors = TrustAnchors(development_roots=(import_root(minted.root, now=NOW), *roots))
    context = Context(anchors, NOW, ChainCache(), collateral=Held(held))
    gpu = _case("NVIDIA GPU", envelopes.NVIDIA_EVIDENCE, payload, context)
    yield replace(gpu, verifies=_device_alone)
    machine = snp_evidence.encode(snp_evidence.Evidence(minted.report, minted.certificates))
    entries = (
        ("cpu", Record(envelopes.SNP_EVIDENCE, machine)),
        ("gpu-0", Record(envelopes.NVIDIA_EVIDENCE, payload)),
    )
    envelope = envelopes.encode(Collection(entries))
    context = replace(context, cache=ChainCache())
    records = tuple(record for _, record in entries)
    yield Case(name="SNP and a GPU", records=records, envelope=envelope, context=context)


def _device_alone(envelope: bytes, context: Context) -> registry.Verified:
    record = cast("Record", envelopes.decode(envelope))
    return nvidia.authenticate_device(record, context)
