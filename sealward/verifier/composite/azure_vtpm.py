"""An Azure confidential VM: hardware evidence, the paravisor's claims, and a quote by its TPM.

The guest cannot ask the hardware. The paravisor, which runs in the same protected machine with more
rights than the guest, does so over the hash of a JSON text that names the attestation key of the
TPM that it keeps. Numbered procedure of `authenticate`, for hardware evidence that its own format
has verified:

    (1) the HCL report parses, and so do its runtime claims (formats/hcl);
    (2) the hardware evidence vouches for them: its report_data is their hash, then zeros. For TDX
        the TDREPORT beside the claims, whose two hashes hold, is of the very state that the TD
        quote shows: report_data, attributes, XFAM, MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMRs;
    (3) the key that the claims name `HCLAkPub` signed the quote, and the PCR values are the quoted
        ones (formats/tpm/quote.py). Where a public area came along it is of that key, and of a key
        that signs only what its TPM made;
    (4) in evidence of our own payload the quote's nonce is the first half of a binding, and the
        claims' `user-data` is all of it, where the paravisor takes any;
    (5) the event log, when there is one, is held against the quoted PCRs (measured_boot.py).

So everything rests on the paravisor's code, which only its launch measurement names: whoever can
start a protected machine can write such claims himself. A result is Azure's when reference values
know the measurement, and not before.

Checks that could make sense but do not exist: the certificate that Azure's CA issued for the key,
for it says nothing of the machine; that the report is fresh, for a paravisor may keep one for
minutes. Fresh is the quote.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from sealward.verifier.composite import measured_boot
from sealward.verifier.formats.hcl import claims as hcl_claims
from sealward.verifier.formats.hcl import report as hcl
from sealward.verifier.formats.hcl import runtime, td_report
from sealward.verifier.formats.hcl.report import Hardware
from sealward.verifier.formats.tpm import claims as tpm_claims
from sealward.verifier.formats.tpm import quote as quotes
from sealward.verifier.formats.tpm.public import DEFAULT_EXPONENT, RsaKey
from sealward.verifier.rats.claims import KeyResidency, Scope, Scopes, Tee
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from sealward.verifier.formats.dcap.td_report import TdReport
    from sealward.verifier.formats.hcl.report import HclReport
    from sealward.verifier.formats.hcl.runtime import RuntimeClaims
    from sealward.verifier.formats.tpm.pcr import PcrBank
    from sealward.verifier.formats.tpm.quote import ProvenQuote
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.rats.claims import Claims

# The paravisor's level: a report for another one was asked for by what runs there, which may name
# any key. Such a report keeps its verdict.
PARAVISOR_VMPL: Final = frozenset({0})
_TEES: Final = {Hardware.SNP: Tee.AZURE_SNP, Hardware.TDX: Tee.AZURE_TDX}
_OWN_SCOPES: Final = {
    "report_data": Scope.RUNTIME,
    "measurements": Scope.BOOT,  # the launch digest is older, but the PCRs among them are not
    "tpm": Scope.RUNTIME,
    "boot": Scope.BOOT,
    hcl_claims.SECTION: Scope.LAUNCH,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an Azure guest sends; nothing is verified.

    Attributes:
        report: the HCL report.
        message, signature: TPMS_ATTEST and TPMT_SIGNATURE of the quote.
        ak_public: TPMT_PUBLIC of the attestation key, or None.
        pcrs: the values quoted.
        event_log: as firmware and kernel left it, or None.
        td_quote: for TDX.
        armoured: certificates of the chip for SNP as the guest got them, PEM, or None.
        certificates: more of them, DER.
    """

    report: bytes = field(repr=False)
    message: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    ak_public: bytes | None = field(repr=False, default=None)
    pcrs: tuple[PcrBank, ...]
    event_log: bytes | None = field(repr=False, default=None)
    td_quote: bytes | None = field(repr=False, default=None)
    armoured: bytes | None = field(repr=False, default=None)
    certificates: tuple[bytes, ...] = field(repr=False, default=())


@dataclass(frozen=True, slots=True)
class VerifiedMachine:
    """What `authenticate` found: claims, and what is behind them."""

    claims: Claims
    report: HclReport = field(repr=False)
    said: RuntimeClaims = field(repr=False)
    quote: ProvenQuote = field(repr=False)


def check_td_report(report: HclReport, quoted: TdReport) -> None:
    """Step 2 for TDX: the TDREPORT is of the state that an authenticated quote shows.

    Raises:
        MalformedEvidence: the TDREPORT does not parse.
        RefusedEvidence: PARTS_MISMATCH.
    """
    made = td_report.parse(report.hardware_report)
    shown = (
        *(quoted.td_attributes, quoted.xfam, quoted.mr_td, quoted.mr_config_id),
        *(quoted.mr_owner, quoted.mr_owner_config, *quoted.rtmrs),
    )
    if made.report_data != quoted.report_data or made.state != b"".join(shown):
        raise RefusedEvidence(
            Code.PARTS_MISMATCH,
            "the TD quote is of another state of a TD than the report of the paravisor",
            claim="azure",
            expected=(made.report_data + made.state).hex(),
            actual=(quoted.report_data + b"".join(shown)).hex(),
            hint="have the metadata service quote the TDREPORT of the same HCL report",
        )


def authenticate(
    evidence: Evidence,
    report: HclReport,
    hardware: Claims,
    *,
    own_payload: bool,
    scopes: Scopes,
    cache: ChainCache,
) -> VerifiedMachine:
    """Run the procedure above; for TDX the caller has run `check_td_report`.

    Args:
        evidence: what the guest sent.
        report: its HCL report, parsed.
        hardware: claims of the verified hardware evidence of `report`.
        own_payload: the nonce must be a binding (4).
        scopes: from `scopes_over` the hardware's.
        cache: what was verified before.

    Raises:
        MalformedEvidence: a part does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    said = runtime.parse(report.claims)  # (1)
    hcl.require_bound(report, bytes.fromhex(hardware.report_data))  # (2)
    quote = check_quote(evidence, said, cache)  # (3)
    bound = _binding(quote, said) if own_payload else quote.nonce  # (4)
    boot = None
    if evidence.event_log is not None:  # (5)
        boot = measured_boot.confirm(evidence.event_log, quote.pcrs)
    sent = evidence.report + evidence.message + evidence.signature + (evidence.td_quote or b"")
    signed = bytes.fromhex(hardware.signed_sha256) + bytes.fromhex(quote.signed_sha256)
    claims = replace(
        hardware,
        tee=_TEES[report.hardware],
        instance_value=_instance_value(report, said, hardware),
        report_data=bound.hex(),
        measurements=(*hardware.measurements, *tpm_claims.measurements(quote)),
        vmpl=None,  # the paravisor's says nothing of the guest's; the section has it
        provider_in_tcb=True,
        evidence_sha256=hashlib.sha256(sent).hexdigest(),
        signed_sha256=hashlib.sha256(signed).hexdigest(),
        scopes=scopes,
        tpm=tpm_claims.state(quote, None, KeyResidency.MEASURED),
        boot=boot,
        sections=(*hardware.sections, hcl_claims.section(report, said, vmpl=hardware.vmpl)),
    )
    return VerifiedMachine(claims, report, said, quote)


def scopes_over(hardware: Scopes) -> Scopes:
    """Return the scopes of claims made over those of a kind of hardware evidence."""
    return Scopes({**hardware.held, **_OWN_SCOPES})


def check_quote(evidence: Evidence, said: RuntimeClaims, cache: ChainCache) -> ProvenQuote:
    """Step 3. Raises MalformedEvidence, or RefusedEvidence with the code of what failed."""
    message, signature, pcrs = evidence.message, evidence.signature, evidence.pcrs
    if evidence.ak_public is None:
        modulus = int.from_bytes(said.modulus, "big")
        key = rsa.RSAPublicNumbers(DEFAULT_EXPONENT, modulus).public_key()
        return quotes.authenticate_under(key, message, signature, pcrs)
    ak = quotes.read_key(evidence.ak_public, cache)
    named = ak.area.key
    # `load` in the quote's own procedure takes no other exponent than the default.
    if not isinstance(named, RsaKey) or named.modulus != said.modulus:
        raise RefusedEvidence(
            Code.PARTS_MISMATCH,
            f"the quote is by another key than the paravisor's {runtime.ATTESTATION_KEY}",
            claim="tpm.ak_name",
            hint="restart the VM: it makes the key at handle 0x81000003 again if it was replaced",
        )
    quote = quotes.authenticate(message, signature, ak, pcrs)
    quotes.keep_key(evidence.ak_public, ak, cache)
    return quote


def _binding(quote: ProvenQuote, said: RuntimeClaims) -> bytes:
    """Step 4: return all of the binding that the evidence carries."""
    nonce, user_data = quote.nonce, said.user_data
    if len(nonce) != quotes.NONCE_SIZE:
        raise _unbound("nonce", f"{quotes.NONCE_SIZE} bytes", f"{len(nonce)} bytes")
    if user_data is None:
        return nonce
    if not hmac.compare_digest(user_data[: quotes.NONCE_SIZE], nonce):
        raise _unbound("user-data", f"{nonce.hex()}...", user_data.hex())
    return user_data


def _unbound(what: str, expected: str, actual: str) -> RefusedEvidence:
    return RefusedEvidence(
        Code.BINDING_MISMATCH,
        f"the {what} of the evidence is no binding, or another one's",
        claim="report_data",
        expected=expected,
        actual=actual,
        hint="collect fresh evidence: another program may have written the report's user data",
    )


def _instance_value(report: HclReport, said: RuntimeClaims, hardware: Claims) -> str:
    """Return SNP's REPORT_ID; a TD has nothing of the kind, but its TPM's key is its own."""
    if report.hardware is Hardware.SNP:
        return hardware.instance_value
    return hashlib.sha256(said.modulus).hexdigest()
