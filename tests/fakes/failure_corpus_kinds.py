"""The failure corpus: TDX and SGX, Nitro, CCA, PSA, NVIDIA and Azure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fakes import (
    azure_vectors,
    dcap_fixtures,
    dcap_vectors,
    nitro_fixtures,
    nitro_vectors,
    nvidia_devices,
    nvidia_vectors,
)
from fakes.failure_corpus import (
    YEARS,
    Failure,
    Findings,
    development,
    flipped,
    held,
    pieces,
    refused,
    vendors,
)
from fakes.snp_fixtures import NOW
from sealward_devkit.dcap.collateral import (
    Collateral,
    QeIdentity,
    TcbInfo,
    judging,
    mint_collateral,
)
from sealward_devkit.dcap.platform import Tee
from sealward_devkit.nitro import document

from sealward.verifier import registry
from sealward.verifier.formats.nvidia_gpu import device, verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.collateral import Kind

MONTHS: Final = timedelta(days=90)
TDX: Final = "tdx-v4-dcap-qvl"


# Intel.


@cache
def dcap(vectors: Path) -> dict[str, dcap_vectors.Vector]:
    return {vector.id: vector for vector in dcap_vectors.load(vectors)}


def quote_of(
    vectors: Path, name: str, *, later: timedelta = timedelta(), quote: bytes | None = None
) -> registry.Verified:
    vector = dcap(vectors)[name]
    context = vendors(vector.verify_at + later, collateral=vector.source)
    return registry.authenticate_items(pieces(vector.quote if quote is None else quote), context)


def minted_quote(collateral: Collateral | None = None) -> registry.Verified:
    made = dcap_fixtures.mint_tdx()
    bundle = (made.collateral if collateral is None else collateral).to_json().encode()
    return registry.authenticate_items(pieces(made.quote, bundle), development())


def judged(
    *,
    info: TcbInfo | None = None,
    identity: QeIdentity | None = None,
    revoked: tuple[int, ...] = (),
) -> Collateral:
    """Collateral of the development hierarchy with one thing changed."""
    return mint_collateral(
        dcap_fixtures.hierarchy(),
        info or dcap_fixtures.tcb_info(Tee.TDX),
        identity or dcap_fixtures.qe_identity(Tee.TDX),
        revoked=revoked,
    )


def misnamed_info() -> registry.Verified:
    """A quote, and under the name of its platform's TCB info that of another type."""
    made = dcap_fixtures.mint_tdx()
    ours = dcap_vectors.pieces(made.collateral.to_json().encode())
    other = judged(info=dcap_fixtures.tcb_info(fmspc=b"\xaa" * 6))
    theirs = dcap_vectors.pieces(other.to_json().encode())
    (info,) = (data for key, data in theirs.items() if key.kind is Kind.INTEL_TCB_INFO)
    held_under = {
        key: info if key.kind is Kind.INTEL_TCB_INFO else data for key, data in ours.items()
    }
    context = development(collateral=dcap_vectors.Held(held_under))
    return registry.authenticate_items(pieces(made.quote), context)


def pck_serial() -> int:
    return x509.load_der_x509_certificate(dcap_fixtures.platform().pck).serial_number


INTEL: Final = (
    Failure(
        name="TDX: a year after its collateral",
        of="expired collateral",
        code="collateral_expired",
        make=lambda v: refused(lambda: quote_of(v, TDX, later=MONTHS)),
    ),
    Failure(
        name="SGX: a year after its collateral",
        of="expired collateral",
        code="collateral_expired",
        make=lambda v: refused(lambda: quote_of(v, "sgx-v3-dcap-qvl", later=MONTHS)),
    ),
    Failure(
        name="TDX: before its collateral was issued",
        of="collateral of the future",
        code="collateral_not_yet_valid",
        make=lambda v: refused(lambda: quote_of(v, TDX, later=-timedelta(days=60))),
    ),
    Failure(
        name="TDX: without collateral",
        of="missing endorsement",
        code="endorsement_missing",
        make=lambda v: refused(lambda: quote_of(v, "tdx-v4-gcp-oak")),
    ),
    Failure(
        name="TDX: a bit of the measurement",
        of="changed evidence",
        code="signature_invalid",
        make=lambda v: refused(lambda: quote_of(v, TDX, quote=flipped(dcap(v)[TDX].quote, 200))),
    ),
    Failure(
        name="TDX: a real domain that may be debugged",
        of="debug",
        code="debug_enabled",
        make=lambda v: held(quote_of(v, "tdx-v4-coco-debug")),
    ),
    Failure(
        name="TDX: TCB info of another platform type",
        of="wrong FMSPC collateral",
        code="endorsement_missing",
        make=lambda _: refused(
            lambda: minted_quote(judged(info=dcap_fixtures.tcb_info(fmspc=b"\xaa" * 6)))
        ),
    ),
    Failure(
        name="TDX: TCB info of another platform type under the right name",
        of="wrong FMSPC collateral",
        code="collateral_mismatch",
        make=lambda _: refused(misnamed_info),
    ),
    Failure(
        name="TDX: a platform whose certificate was revoked",
        of="revoked PCK",
        code="certificate_revoked",
        make=lambda _: refused(lambda: minted_quote(judged(revoked=(pck_serial(),)))),
    ),
    Failure(
        name="TDX: a quoting enclave that its identity does not describe",
        of="QE identity mismatch",
        code="qe_identity_mismatch",
        make=lambda _: refused(
            lambda: minted_quote(
                judged(identity=dcap_fixtures.qe_identity(Tee.TDX, signer=b"\x99" * 32))
            )
        ),
    ),
    Failure(
        name="TDX: a level that the vendor has revoked",
        of="revoked TCB",
        code="tcb_revoked",
        make=lambda _: held(
            minted_quote(judged(info=judging(dcap_fixtures.tcb_info(Tee.TDX), "Revoked")))
        ),
    ),
    Failure(
        name="TDX: minted, where only vendors are trusted",
        of="root nobody pinned",
        code="root_not_pinned",
        make=lambda _: refused(
            lambda: registry.authenticate_items(
                pieces(
                    dcap_fixtures.mint_tdx().quote,
                    dcap_fixtures.collateral(Tee.TDX).to_json().encode(),
                ),
                vendors(NOW),
            )
        ),
    ),
    Failure(
        name="TDX: nothing but a development root",
        of="development root",
        code="development_root",
        make=lambda _: held(minted_quote()),
    ),
)


# AWS Nitro.

DEBUG_DOCUMENTS = ("nitro-evervault-ga-debug", "nitro-evervault-beta-debug")


@cache
def nitro(vectors: Path) -> dict[str, nitro_vectors.Vector]:
    return {vector.id: vector for vector in nitro_vectors.load(vectors)}


def nitro_of(
    vectors: Path, name: str, *, later: timedelta = timedelta(), data: bytes | None = None
) -> registry.Verified:
    vector = nitro(vectors)[name]
    items = pieces(vector.document if data is None else data)
    return registry.authenticate_items(items, vendors(vector.verify_at + later))


def nitro_minted(data: bytes) -> registry.Verified:
    return registry.authenticate_items(pieces(data), development())


NITRO: Final = (
    *(
        Failure(
            name=f"Nitro: {name}",
            of="Nitro debug",
            code="debug_enabled",
            make=lambda v, name=name: held(nitro_of(v, name)),  # type: ignore[misc]  # bound at once
        )
        for name in DEBUG_DOCUMENTS
    ),
    Failure(
        name="Nitro: a document of an hour ago",
        of="stale Nitro document",
        code="not_fresh",
        make=lambda v: refused(lambda: nitro_of(v, "nitro-veracruz", later=timedelta(hours=1))),
    ),
    Failure(
        name="Nitro: a document from the future",
        of="stale Nitro document",
        code="not_fresh",
        make=lambda v: refused(lambda: nitro_of(v, "nitro-veracruz", later=-timedelta(hours=1))),
    ),
    Failure(
        name="Nitro: a document whose signature was changed",
        of="changed evidence",
        code="signature_invalid",
        make=lambda v: refused(lambda: nitro_of(v, "nitro-veracruz-bad-sig")),
    ),
    Failure(
        name="Nitro: minted, where only vendors are trusted",
        of="root nobody pinned",
        code="root_not_pinned",
        make=lambda _: refused(
            lambda: registry.authenticate_items(pieces(nitro_fixtures.mint()), vendors(NOW))
        ),
    ),
    Failure(
        name="Nitro: an enclave started in debug mode",
        of="Nitro debug",
        code="debug_enabled",
        make=lambda _: held(nitro_minted(debugged())),
    ),
)


def debugged() -> bytes:
    """PCRs 0 to 2 of an enclave with debug access are zero."""
    running = nitro_fixtures.enclave()
    content = document.payload(running, document.Request(user_data=bytes(64)), NOW)
    pcrs = {index: bytes(48) if index < 3 else value for index, value in content["pcrs"].items()}  # type: ignore[attr-defined]  # a payload's
    return nitro_fixtures.with_members(running, pcrs=pcrs)


# Arm.


def arm(
    vectors: Path,
    name: str,
    *,
    key: bytes | None = None,
    at: int | None = None,
    without_key: bool = False,
) -> registry.Verified:
    folder = vectors / name.partition("-")[0]
    token = (folder / f"{name}.cbor").read_bytes()
    files = [token if at is None else flipped(token, at)]
    files += [] if without_key else [key or key_of(vectors, name)]
    return registry.authenticate_items(pieces(*files), vendors(NOW))


def key_of(vectors: Path, name: str) -> bytes:
    return next((vectors / name.partition("-")[0]).glob(f"{name}.*key.pem")).read_bytes()


def strangers_key() -> bytes:
    public = ec.generate_private_key(ec.SECP384R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


ARM: Final = (
    Failure(
        name="CCA: the key of another platform",
        of="unknown instance key",
        code="signature_invalid",
        make=lambda v: refused(lambda: arm(v, "cca-coco-fvp", key=strangers_key())),
    ),
    Failure(
        name="CCA: no key for the platform",
        of="unknown instance key",
        code="endorsement_missing",
        make=lambda v: refused(lambda: arm(v, "cca-veraison-e2e", without_key=True)),
    ),
    Failure(
        name="PSA: no key for the device",
        of="unknown instance key",
        code="endorsement_missing",
        make=lambda v: refused(lambda: arm(v, "psa-veraison-e2e", without_key=True)),
    ),
    Failure(
        name="PSA: the key of another device",
        of="unknown instance key",
        code="signature_invalid",
        make=lambda v: refused(lambda: arm(v, "psa-veraison-e2e", key=key_of(v, "psa-tfm-2.0.0"))),
    ),
    Failure(
        name="PSA: a token with a changed last byte",
        of="changed evidence",
        code="signature_invalid",
        make=lambda v: refused(lambda: arm(v, "psa-veraison-e2e", at=-1)),
    ),
)


# NVIDIA.


@cache
def nvidia(vectors: Path) -> dict[str, nvidia_vectors.Vector]:
    return {vector.id: vector for vector in nvidia_vectors.load(vectors, "nvidia")}


def gpu_of(vectors: Path, name: str, *, chain_of: str | None = None) -> Findings:
    vector, other = nvidia(vectors)[name], nvidia(vectors)[chain_of or name]
    return refused(
        lambda: verify.authenticate(
            vector.files["evidence"],
            other.files["cert_chain"],
            anchors=TrustAnchors(),
            now=vector.verify_at,
            cache=ChainCache(),
        )
    )


def gpu(*, now: datetime = NOW, driver: str = nvidia_devices.DRIVER) -> Findings:
    return refused(
        lambda: device.appraise(
            nvidia_devices.gpu_report(driver=driver),
            nvidia_devices.gpu_chain(),
            anchors=nvidia_devices.anchors(),
            source=nvidia_devices.store(),
            now=now,
            cache=ChainCache(),
        )
    )


NVIDIA: Final = (
    Failure(
        name="NVIDIA: a report whose signature was changed",
        of="changed evidence",
        code="signature_invalid",
        make=lambda v: gpu_of(v, "nvidia-hopper-bad-sig"),
    ),
    Failure(
        name="NVIDIA: the chain of another GPU",
        of="swapped certificate",
        code="signature_invalid",
        make=lambda v: gpu_of(v, "nvidia-hopper-coco", chain_of="nvidia-hopper-550"),
    ),
    Failure(
        name="NVIDIA: a driver that no manifest is of",
        of="GPU firmware without RIM",
        code="endorsement_missing",
        make=lambda _: gpu(driver="999.99.99"),
    ),
    Failure(
        name="NVIDIA: years after its certificates",
        of="expired certificate",
        code="certificate_expired",
        make=lambda _: gpu(now=NOW + YEARS),
    ),
)


# Azure.

UNIQUE: Final = b"26F8BC30-774E-4290"  # of the virtual machine's id


@cache
def azure(vectors: Path) -> dict[str, azure_vectors.Machine]:
    return azure_vectors.load(vectors)


AZURE: Final = (
    Failure(
        name="Azure: runtime data that the hardware did not see",
        of="parts of two machines",
        code="parts_mismatch",
        make=lambda v: refused(
            lambda: replace(
                azure(v)["az-snp-v1"], hcl=runtime_changed(azure(v)["az-snp-v1"].hcl)
            ).verify()
        ),
    ),
    Failure(
        name="Azure: register values that the quote is not of",
        of="TPM register mismatch",
        code="pcr_mismatch",
        make=lambda v: refused(
            lambda: replace(
                azure(v)["az-snp-v1"], values=flipped(azure(v)["az-snp-v1"].values, 0)
            ).verify()
        ),
    ),
    Failure(
        name="Azure: a quote of another machine's TPM",
        of="parts of two machines",
        code="signature_invalid",
        make=lambda v: refused(
            lambda: replace(
                azure(v)["az-snp-v1"],
                message=azure(v)["az-snp-v2-userdata"].message,
                signature=azure(v)["az-snp-v2-userdata"].signature,
                values=azure(v)["az-snp-v2-userdata"].values,
            ).verify()
        ),
    ),
)


def runtime_changed(hcl: bytes) -> bytes:
    """An HCL report whose runtime data name another virtual machine."""
    assert hcl.count(UNIQUE) == 1
    return hcl.replace(UNIQUE, UNIQUE[:-1] + b"1")
