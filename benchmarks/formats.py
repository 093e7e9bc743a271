"""Every kind of evidence as the control plane verifies it, against its raw signature checks.

The baseline of a kind is the least any verifier must do once it knows who signs: `cryptography`
checking the signatures that are new with each piece of evidence, keys loaded and signatures encoded
beforehand. Those that only endorse a key (certificates, Intel's report of its quoting enclave, the
platform half of a CCA token, manifests) are not in it: they are verified once, and kept.

Warm is `registry.authenticate` on our own envelope, claims included, with all of that in its cache;
cold is the same with an empty one. Raw and warm are interleaved in one run, so that noise of the
machine meets both. Cold runs after them by itself, for its RSA-4096 pushes the warm code out of the
CPU's caches; so does dcap-qvl, which is interleaved with warm runs of its own, collateral read
beforehand.

The bar: warm at most 150 us above the raw checks where these cost under 250 us, at most 1.3 of them
elsewhere; Intel's quotes also at most twice dcap-qvl.

    python benchmarks/formats.py [--json] [--rounds N] [NAME ...]

mints its evidence itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeAlias, cast

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # whose fakes mint

import dcap_qvl
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from fakes import arm_tokens, dcap_fixtures, snp_fixtures
from fakes.dcap_fixtures import Minted
from sealward_devkit.pki.certificates import sign_certificate
from sealward_devkit.pki.extensions import DEVELOPMENT_MARKER_OID
from sealward_devkit.pki.roots import DCAP_ROOT, root_template

from benchmarks.load.minted_evidence import Case, cases
from sealward.verifier.composite import azure_evidence, azure_vtpm
from sealward.verifier.formats.cca import evidence as cca_evidence
from sealward.verifier.formats.cca import token as cca_token
from sealward.verifier.formats.dcap import evidence as dcap_evidence
from sealward.verifier.formats.dcap import quote
from sealward.verifier.formats.gce import evidence as gce_evidence
from sealward.verifier.formats.hcl import report as hcl
from sealward.verifier.formats.nitro import document as nitro_document
from sealward.verifier.formats.nitro import evidence as nitro_evidence
from sealward.verifier.formats.nvidia_gpu import evidence as nvidia_evidence
from sealward.verifier.formats.nvidia_gpu import report as nvidia_report
from sealward.verifier.formats.psa import evidence as psa_evidence
from sealward.verifier.formats.psa import token as psa_token
from sealward.verifier.formats.snp import evidence as snp_evidence
from sealward.verifier.formats.snp import report as snp_report
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.formats.tpm import keys, public
from sealward.verifier.formats.tpm import signature as tpm_signature
from sealward.verifier.pki import certificate
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.evidence import Record
from sealward.verifier.wire import pem

_CHEAP_NS: Final = 250_000
_ABOVE_NS: Final = 150_000
_RATIO: Final = 1.3
_PEER_RATIO: Final = 2.0
_HASHES: Final = {256: hashes.SHA256(), 384: hashes.SHA384()}
_MAX_PEM: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One raw signature check: what it is, and how to run it."""

    what: str
    run: Callable[[], None]


Checks: TypeAlias = tuple[Check, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Medians of one kind, in nanoseconds.

    Attributes:
        checks: what the raw checks are.
        peer: of dcap-qvl, for Intel's quotes.
        beside: of the warm runs between those of dcap-qvl.
    """

    name: str
    checks: str
    raw: int
    warm: int
    cold: int
    peer: int | None
    beside: int | None

    @property
    def allowed(self) -> float:
        """What the bar allows warm to take."""
        return self.raw + _ABOVE_NS if self.raw < _CHEAP_NS else _RATIO * self.raw

    @property
    def verdict(self) -> str:
        """One sentence against the bar."""
        above, ratio = (self.warm - self.raw) / 1e3, self.warm / self.raw
        bar = f"{above:.0f} us above" if self.raw < _CHEAP_NS else f"{ratio:.2f} of"
        met = "met" if self.warm <= self.allowed else "MISSED"
        peer = ""
        if self.peer is not None and self.beside is not None:
            met = met if self.beside <= _PEER_RATIO * self.peer else "MISSED"
            peer = f", {self.beside / self.peer:.2f} of dcap-qvl"
        return f"{self.name}: {bar} the raw checks{peer}: {met}."


def main() -> None:
    """Measure, and print medians."""
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("names", nargs="*", metavar="NAME", help="only these; all by default")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--rounds", type=int, default=1000)
    options = arguments.parse_args()
    found = [case for case in cases() if not options.names or case.name in options.names]
    times = [measure(case, options.rounds) for case in found]
    if options.json:
        print(json.dumps(document(times, options.rounds), indent=2))
        return
    for one in times:
        medians = (
            f"raw {one.raw / 1e3:7.1f}  warm {one.warm / 1e3:7.1f}  cold {one.cold / 1e3:8.1f}"
        )
        print(f"{one.name:<14}{medians} us  {one.checks:<34}{one.verdict}")


def measure(case: Case, rounds: int) -> Times:
    """Return the medians of a kind."""
    case.warm()
    checks = checks_of(case)
    runs = [check.run for check in checks]

    def raw() -> None:
        for run in runs:
            run()

    found = _interleaved({"raw": raw, "warm": case.warm}, rounds)
    if case.intel is not None:
        peer = _peer(case.intel, case.context.now)
        found |= _interleaved({"beside": case.warm, "peer": peer}, rounds)
    found |= _interleaved({"cold": case.cold}, max(rounds // 20, 1))
    return Times(
        name=case.name,
        checks=" + ".join(check.what for check in checks),
        raw=found["raw"],
        warm=found["warm"],
        cold=found["cold"],
        peer=found.get("peer"),
        beside=found.get("beside"),
    )


def checks_of(case: Case) -> Checks:
    """Return the raw signature checks that are new with each piece of a case's evidence."""
    return tuple(check for record in case.records for check in _CHECKS[record.media_type](record))


def document(times: list[Times], rounds: int) -> dict[str, Any]:
    """Return the document of benchmarks/README.md."""
    rows: list[dict[str, Any]] = []
    for one in times:
        raw, warm = f"{one.name}: raw, {one.checks}", f"{one.name}: warm"
        rows.append(_row(raw, one.raw))
        rows.append(_row(warm, one.warm, raw, one.raw))
        rows.append(_row(f"{one.name}: cold", one.cold, raw, one.raw))
        if one.peer is not None and one.beside is not None:
            rows.append(_row(f"{one.name}: dcap-qvl", one.peer, warm, one.beside))
    return {
        "name": "Every kind of evidence",
        "what": "Whole verification of an envelope, claims included, against the raw signature"
        " checks that are new with each piece of evidence.",
        "unit": "us",
        "rows": rows,
        "notes": [*(one.verdict for one in times), _target(rounds)],
    }


def _target(rounds: int) -> str:
    return (
        f"Target: warm at most {_ABOVE_NS / 1e3:.0f} us above the raw checks where these cost"
        f" under {_CHEAP_NS / 1e3:.0f} us, at most {_RATIO} of them elsewhere; Intel's quotes"
        f" at most {_PEER_RATIO:.0f} times dcap-qvl {version('dcap-qvl')}, which keeps nothing"
        " between quotes. Evidence is minted, without event logs; the GPU has its two manifests"
        f" and an OCSP answer for every certificate. {rounds} rounds."
    )


def _row(label: str, value: int, base: str | None = None, of: int = 1) -> dict[str, Any]:
    row: dict[str, Any] = {"label": label, "median": value / 1e3}
    return row if base is None else row | {"ratio_to": base, "ratio": round(value / of, 3)}


def _interleaved(kinds: dict[str, Callable[[], object]], rounds: int) -> dict[str, int]:
    samples: dict[str, list[int]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, run in kinds.items():
            start = time.perf_counter_ns()
            run()
            samples[name].append(time.perf_counter_ns() - start)
    return {name: int(median(taken)) for name, taken in samples.items()}


def _peer(minted: Minted, now: datetime) -> Callable[[], object]:
    """dcap-qvl on the same quote. It refuses the marker of our roots, so it gets a twin without."""
    key = dcap_fixtures.root_keys().root
    marked = root_template(DCAP_ROOT, key.public_key(), snp_fixtures.VALIDITY)
    bare = snp_fixtures.without_extension(marked, DEVELOPMENT_MARKER_OID)
    root = sign_certificate(bare, key)
    data, at = minted.quote, int(now.timestamp())
    collateral = dcap_qvl.QuoteCollateralV3.from_json(minted.collateral.to_json())
    return lambda: dcap_qvl.verify_with_root_ca(data, collateral, root, at)


def _ecdsa(key: ec.EllipticCurvePublicKey, r: int, s: int, signed: bytes) -> Check:
    signature, algorithm = encode_dss_signature(r, s), ec.ECDSA(_HASHES[key.key_size])
    return Check(f"P-{key.key_size}", lambda: key.verify(signature, signed, algorithm))


def _halves(key: ec.EllipticCurvePublicKey, signature: bytes, signed: bytes) -> Check:
    size = len(signature) // 2
    r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
    return _ecdsa(key, r, s, signed)


def _ec_key(certified: bytes) -> ec.EllipticCurvePublicKey:
    spki = certificate.parse(certified).spki
    return cast("ec.EllipticCurvePublicKey", load_der_public_key(spki))


def _quote(data: bytes) -> Check:
    parsed = quote.parse(data)
    point = b"\x04" + parsed.certification.key
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    return _halves(key, parsed.signature, parsed.signed)


def _snp(report: bytes, vek: bytes) -> Check:
    parsed = snp_report.parse(report)
    key = _ec_key(vek)
    signed = snp_report.signed_region(report)
    return _ecdsa(key, parsed.signature_r, parsed.signature_s, signed)


def _tpm(found: azure_vtpm.Evidence | tpm_evidence.Evidence) -> Check:
    area = public.parse(found.ak_public or b"")
    key = cast("rsa.RSAPublicKey", keys.load(area, owner="benchmark"))
    [signature] = tpm_signature.parse(found.signature).parts
    message, pkcs1, algorithm = found.message, padding.PKCS1v15(), hashes.SHA256()
    return Check(f"RSA-{key.key_size}", lambda: key.verify(signature, message, pkcs1, algorithm))


def _of_azure(record: Record) -> Checks:
    found = azure_evidence.parse(record.value)
    if found.td_quote is not None:
        return _quote(found.td_quote), _tpm(found)
    report = hcl.parse(found.report).hardware_report
    return _snp(report, azure_evidence.certificates(found)[0]), _tpm(found)


def _of_nitro(record: Record) -> Checks:
    found = nitro_document.parse(nitro_evidence.parse(record.value))
    key = _ec_key(found.certificate)
    message = found.message
    return (_halves(key, message.authenticator, message.to_be_signed()),)


def _of_google(record: Record) -> Checks:
    return (_tpm(tpm_evidence.parse(gce_evidence.parse(record.value).tpm)),)


def _of_cca(record: Record) -> Checks:
    message = cca_token.parse(cca_evidence.parse(record.value)).realm_message
    key = arm_tokens.key("realm", "secp384r1").public_key()
    return (_halves(key, message.authenticator, message.to_be_signed()),)


def _of_psa(record: Record) -> Checks:
    message = psa_token.parse(psa_evidence.parse(record.value)).message
    key = arm_tokens.key("maker").public_key()
    return (_halves(key, message.authenticator, message.to_be_signed()),)


def _of_snp(record: Record) -> Checks:
    found = snp_evidence.parse(record.value)
    return (_snp(found.report, found.certificates[0]),)


def _of_nvidia(record: Record) -> Checks:
    found = nvidia_evidence.parse(record.value)
    report = nvidia_report.parse(found.report)
    blocks = pem.decode(found.certificates, what="certificates", max_bytes=_MAX_PEM)
    key = _ec_key(blocks[0])
    return (_ecdsa(key, report.signature_r, report.signature_s, report.signed),)


_CHECKS: Final[dict[str, Callable[[Record], Checks]]] = {
    envelopes.TDX_EVIDENCE: lambda record: (_quote(dcap_evidence.parse_tdx(record.value).quote),),
    envelopes.SGX_EVIDENCE: lambda record: (_quote(dcap_evidence.parse_sgx(record.value).quote),),
    envelopes.NITRO_EVIDENCE: _of_nitro,
    envelopes.AZURE_EVIDENCE: _of_azure,
    envelopes.GOOGLE_EVIDENCE: _of_google,
    envelopes.CCA_EVIDENCE: _of_cca,
    envelopes.PSA_EVIDENCE: _of_psa,
    envelopes.SNP_EVIDENCE: _of_snp,
    envelopes.NVIDIA_EVIDENCE: _of_nvidia,
}


if __name__ == "__main__":
    main()
