"""Every parser of the verifier that hostile bytes reach, with bytes that it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from fakes import (
    arm_tokens,
    azure_machines,
    dcap_fixtures,
    dcap_vectors,
    google_cas,
    hygon_machines,
    nitro_documents,
    nvidia_devices,
    snp_fixtures,
)
from property import test_azure_google_totality as clouds
from property import test_ima_totality as ima
from property import test_nvidia_totality as nvidia
from property import test_tpm_totality as tpms
from property import test_verifier_totality as general
from sealward_devkit.dcap.platform import Tee

from sealward.verifier import registry
from sealward.verifier.composite import azure_evidence
from sealward.verifier.formats.cca import evidence as cca_evidence
from sealward.verifier.formats.cca import token as cca
from sealward.verifier.formats.dcap import collateral, quote, statement, tcb_info
from sealward.verifier.formats.dcap import evidence as dcap_evidence
from sealward.verifier.formats.event_log import ccel, dstack, log
from sealward.verifier.formats.gce import evidence as gce_evidence
from sealward.verifier.formats.gce import instance
from sealward.verifier.formats.hcl import report as hcl
from sealward.verifier.formats.hcl import runtime, td_report
from sealward.verifier.formats.hygon_csv import certificate as hygon_certificate
from sealward.verifier.formats.hygon_csv import evidence as hygon_evidence
from sealward.verifier.formats.hygon_csv import report as hygon
from sealward.verifier.formats.ima import measurements
from sealward.verifier.formats.nitro import document as nitro
from sealward.verifier.formats.nitro import evidence as nitro_evidence
from sealward.verifier.formats.nvidia_gpu import evidence as gpu_evidence
from sealward.verifier.formats.nvidia_gpu import manifest
from sealward.verifier.formats.nvidia_gpu import report as gpu
from sealward.verifier.formats.psa import evidence as psa_evidence
from sealward.verifier.formats.psa import token as psa
from sealward.verifier.formats.snp import evidence as snp_evidence
from sealward.verifier.formats.snp import ghcb
from sealward.verifier.formats.snp import report as snp
from sealward.verifier.formats.tpm import attest, pcr_file, public, signature
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.pki import certificate, crl
from sealward.verifier.rats import binding, evidence
from sealward.verifier.rats.errors import MalformedEvidence, VerifierError
from sealward.verifier.wire import cbor, cose, foreign_cbor, foreign_cose, json, pem, xml
from sealward.verifier.wire.tcg_hash import HashAlg

_BUDGET = 1 << 18


@dataclass(frozen=True)
class Parser:
    """What reads, what it is fed with, and the errors that its documentation names."""

    name: str
    read: Callable[[bytes], object]
    seeds: Callable[[], tuple[bytes, ...]]
    errors: type[VerifierError] = MalformedEvidence


def _token_seeds(name: str) -> tuple[bytes, ...]:
    signer = arm_tokens.key("maker")
    if name == "nitro":
        return (
            nitro_documents.document(),
            nitro_documents.document(tag=18, nonce=bytes(32)),
        )
    if name == "cca":
        return tuple(
            arm_tokens.cca(tag=tag, legacy=legacy) for tag in (399, 907) for legacy in (True, False)
        )
    return (
        arm_tokens.sign1(signer, arm_tokens.psa_claims()),
        arm_tokens.sign1(signer, arm_tokens.psa_claims_1()),
        arm_tokens.mac0(arm_tokens.SECRET, arm_tokens.psa_claims()),
    )


@cache
def _bundles() -> tuple[bytes, ...]:
    return tuple(dcap_fixtures.collateral(tee).to_json().encode() for tee in Tee)


@cache
def _pieces() -> tuple[bytes, ...]:
    return tuple(piece for one in _bundles() for piece in dcap_vectors.pieces(one).values())


def _statements() -> tuple[bytes, ...]:
    return tuple(piece for piece in _pieces() if statement.looks_like(piece))


def _texts(marker: bytes) -> tuple[bytes, ...]:
    texts = (statement.split(piece).text for piece in _statements())
    return tuple(text for text in texts if marker in text)


def _lists() -> tuple[bytes, ...]:
    return tuple(crl_der for crl_der in _pieces() if crl.looks_like(crl_der))


@cache
def _quotes() -> tuple[bytes, ...]:
    return dcap_fixtures.mint_tdx().quote, dcap_fixtures.mint_sgx().quote


@cache
def _certificates() -> tuple[bytes, ...]:
    chips = (snp_fixtures.mint(), snp_fixtures.mint(snp_fixtures.provider_platform()))
    return tuple(part for chip in chips for part in chip.certificates)


@cache
def _snp_payloads() -> tuple[bytes, ...]:
    minted = snp_fixtures.mint()
    table = general._table(minted.certificates)  # noqa: SLF001 - of another test
    found = (
        snp_evidence.Evidence(minted.report, minted.certificates),
        snp_evidence.Evidence(minted.report, (), table),
    )
    return tuple(map(snp_evidence.encode, found))


def _tables() -> tuple[bytes, ...]:
    return (general._table(snp_fixtures.mint().certificates),)  # noqa: SLF001 - of another test


def _gpu_payloads() -> tuple[bytes, ...]:
    reports = (nvidia_devices.gpu_report(), nvidia_devices.gpu_chain())
    switches = (nvidia_devices.switch_report(), nvidia_devices.switch_chain())
    return tuple(gpu_evidence.encode(gpu_evidence.Evidence(*one)) for one in (reports, switches))


def _binding() -> tuple[bytes, ...]:
    made = binding.Binding(
        purpose=binding.Purpose.ATTEST,
        nonce=bytes(32),
        audience=binding.Audience(trust_domain="a.example", pin=bytes(32)),
        tenant="default",
        tls_spki=bytes(91),
        hpke_suite=0x647A,
        hpke_public=bytes(1216),
        signing_public=bytes(32),
        statement=binding.AgentStatement(
            agent_version="0.1", clock_source="tsc", held_leases=(bytes(16),)
        ),
        ratchet=(3, bytes(32)),
    )
    return (made.encode(),)


@cache
def _records() -> tuple[bytes, ...]:
    """One envelope of each kind."""
    payloads = (
        *((evidence.SNP_EVIDENCE, one) for one in _snp_payloads()),
        *((evidence.TPM_EVIDENCE, one) for one in tpms.SEEDS["payload"]),
        *(
            (evidence.TDX_EVIDENCE, dcap_evidence.encode_tdx(dcap_evidence.Evidence(one, None)))
            for one in _quotes()[:1]
        ),
        *((evidence.NITRO_EVIDENCE, nitro_evidence.encode(o)) for o in _token_seeds("nitro")),
        *((evidence.CCA_EVIDENCE, cca_evidence.encode(one)) for one in _token_seeds("cca")),
        *((evidence.PSA_EVIDENCE, psa_evidence.encode(one)) for one in _token_seeds("psa")),
        *((evidence.NVIDIA_EVIDENCE, one) for one in _gpu_payloads()),
        (evidence.GOOGLE_EVIDENCE, clouds.google()),
        (evidence.HYGON_EVIDENCE, hygon_machines.standard().payload()),
    )
    records = tuple(evidence.encode(evidence.Record(*one)) for one in payloads)
    devices = (("cpu", evidence.decode(records[0])), ("gpu-0", evidence.decode(records[-4])))
    return (
        *records,
        *(machine.envelope() for machine in clouds.azure()),
        evidence.encode(evidence.Collection(devices)),
    )


def _anything() -> tuple[bytes, ...]:
    """A file of each kind, as `sealward verify` is given them."""
    return (
        *_records(),
        *_quotes(),
        *_bundles(),
        *_pieces(),
        *(one for name in ("nitro", "cca", "psa") for one in _token_seeds(name)),
        *_certificates(),
        *_tables(),
        *clouds.REPORTS,
        nvidia_devices.gpu_report(),
        nvidia_devices.driver_rim(),
        clouds.DSTACK,
        *hygon_machines.standard().files(),
        *(one for seeds in tpms.SEEDS.values() for one in seeds),
    )


def _foreign_cose(data: bytes) -> object:
    tags: frozenset[int | None] = frozenset({None, 17, 18})
    return foreign_cose.parse(data, what="x", max_bytes=_BUDGET, tags=tags).to_be_signed()


def _authenticate(data: bytes) -> object:
    return registry.authenticate(data, azure_machines.on_snp().context())


def _cose_seeds() -> tuple[bytes, ...]:
    signed = cose.sign1(b"content", alg=cose.EDDSA, kid=b"k" * 8, sign=lambda _: bytes(64))
    return (signed,)


def _cbor_seeds() -> tuple[bytes, ...]:
    return (*_binding(), cbor.encode({1: [b"x", {"a": None}], 24: -300, 25: True}))


def _json_seeds() -> tuple[bytes, ...]:
    return (*_bundles(), clouds.RUNTIME, b'{"a":[1,-2,true,null,"\\u00e9\\ud83d\\ude00"]}')


PARSERS = (
    Parser("snp report", snp.parse, lambda: (snp_fixtures.mint().report,)),
    Parser("snp payload", snp_evidence.parse, _snp_payloads),
    Parser("certificate table", ghcb.parse, _tables),
    Parser("certificate", certificate.parse, _certificates),
    Parser("revocation list", crl.parse, _lists),
    Parser(
        "ocsp answer",
        dict(nvidia.PARSERS)["ocsp"][0],
        lambda: (nvidia.PARSERS["ocsp"][1],),
        VerifierError,
    ),
    Parser("tpm attest", attest.parse, lambda: tpms.SEEDS["attest"]),
    Parser("tpm signature", signature.parse, lambda: tpms.SEEDS["signature"]),
    Parser("tpm public", public.parse, lambda: tpms.SEEDS["public"]),
    Parser("tpm pcr file", pcr_file.parse, lambda: tpms.SEEDS["pcr-file"]),
    Parser("tpm payload", tpm_evidence.parse, lambda: tpms.SEEDS["payload"]),
    Parser("event log", log.parse, lambda: tpms.SEEDS["log"]),
    Parser("ccel table", ccel.parse_table, lambda: tpms.SEEDS["ccel"]),
    Parser("dstack log", dstack.parse, lambda: (clouds.DSTACK,)),
    Parser("ima list", measurements.parse, lambda: ima.LISTS[HashAlg.SHA1]),
    Parser("dcap quote", quote.parse, _quotes),
    Parser("tcb info", tcb_info.parse_tcb_info, lambda: _texts(b'tcbLevels":[{"tcb":{"sgx')),
    Parser("qe identity", tcb_info.parse_qe_identity, lambda: _texts(b"isvprodid")),
    Parser("signed statement", statement.split, _statements),
    Parser("collateral bundle", collateral.bundle, _bundles),
    Parser("nitro document", nitro.parse, lambda: _token_seeds("nitro")),
    Parser("cca token", cca.parse, lambda: _token_seeds("cca")),
    Parser("psa token", psa.parse, lambda: _token_seeds("psa")),
    Parser("gpu report", gpu.parse, lambda: (nvidia_devices.gpu_report(),)),
    Parser("gpu payload", gpu_evidence.parse, _gpu_payloads),
    Parser(
        "rim file",
        manifest.parse,
        lambda: (nvidia_devices.driver_rim(), nvidia_devices.switch_rim()),
        VerifierError,
    ),
    Parser("hcl report", hcl.parse, lambda: clouds.REPORTS),
    Parser("hcl runtime claims", runtime.parse, lambda: (clouds.RUNTIME,)),
    Parser(
        "td report",
        td_report.parse,
        lambda: (azure_machines.td_report(dcap_fixtures.TD),),
        VerifierError,
    ),
    Parser(
        "azure payload",
        azure_evidence.parse,
        lambda: tuple(cbor.encode(machine.members) for machine in clouds.azure()),
    ),
    Parser("google payload", gce_evidence.parse, lambda: (clouds.google(),)),
    Parser("csv report", hygon.parse, lambda: hygon_machines.standard().files()[:1]),
    Parser("csv ca", hygon_certificate.parse_ca, lambda: hygon_machines.standard().files()[2:]),
    Parser("csv key", hygon_certificate.parse_csv, lambda: hygon_machines.standard().files()[1:2]),
    Parser("csv payload", hygon_evidence.parse, lambda: (hygon_machines.standard().payload(),)),
    Parser("gce instance", instance.parse, lambda: (google_cas.instance(),)),
    Parser("evidence envelope", evidence.decode, _records),
    Parser("binding", binding.Binding.decode, _binding),
    Parser("cose", lambda d: cose.parse_sign1(d, what="x", max_bytes=_BUDGET), _cose_seeds),
    Parser("cose of others", _foreign_cose, lambda: _token_seeds("nitro")),
    Parser("cbor", lambda d: cbor.decode(d, what="x", max_bytes=_BUDGET), _cbor_seeds),
    Parser(
        "cbor of others", lambda d: foreign_cbor.decode(d, what="x", max_bytes=_BUDGET), _cbor_seeds
    ),
    Parser("json", lambda d: json.decode(d, what="x", max_bytes=_BUDGET), _json_seeds),
    Parser(
        "xml",
        lambda d: xml.parse(d, what="x", max_bytes=_BUDGET),
        lambda: (nvidia_devices.driver_rim(),),
    ),
    Parser(
        "pem",
        lambda d: pem.decode(d, what="x", max_bytes=_BUDGET),
        lambda: (general._armour(_certificates()[0]),),  # noqa: SLF001 - of another test
    ),
    Parser("any file", registry.recognise, _anything, VerifierError),
    Parser("any envelope, verified", _authenticate, _records, VerifierError),
)
