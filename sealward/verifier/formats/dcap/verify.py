"""Authenticates a DCAP quote of TDX or SGX.

Numbered procedure of `authenticate` (Intel quote verification, section 4.1.2):

    (1) the quote parses: sizes, versions, reserved ranges, padding (quote.py);
    (2) its attestation key is certified by a trusted root (attestation_key.py);
    (3) the signature over header, descriptor and body verifies under that key;
    (4) collateral for this platform is at hand (collateral.py);
    (5) Intel's statements are signed by a TCB signer under the same root as the platform;
    (6) the revocation lists of root and PCK CA are theirs;
    (7) neither PCK, PCK CA nor TCB signers are revoked;
    (8) every certificate, statement and list is inside its dates at the one instant `now`;
    (9) the statements are about this platform: TEE, FMSPC, PCEID;
    (10) the quoting enclave is Intel's: signer, product, attributes and misc under their masks;
    (11) TDX: the module is Intel's: signer, and attributes under their mask with none outside it;
    (12) Intel rates this TCB (tcb.py).

Steps 1 to 3 alone are `check_signatures`. Out of date is no refusal: the status is a claim.

The caller MUST check that report_data binds what it expects and that this is fresh: a quote by
itself proves neither (docs/specs/evidence-binding.md).

Checks that could make sense but do not exist:
  - debug and migration: genuine evidence of a TD that must not be trusted; they become verdicts;
  - SEPT_VE_DISABLE: clear in TDs under a paravisor (Azure), so it is a claim for policies;
  - MRSEAM: Intel rates modules by their security version and not by their digest;
  - cpu_svn in an SGX report against the PCK: the platform may run a newer TCB than it is certified
    for (a real vector does), and nothing certifies the raw number.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealward.verifier.formats.dcap import attestation_key, collateral, quote, raw_signature
from sealward.verifier.formats.dcap import tcb as tcbs
from sealward.verifier.formats.dcap.collateral import Edition
from sealward.verifier.formats.dcap.tcb_info import Tee
from sealward.verifier.formats.dcap.td_report import TdReport
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.dcap.attestation_key import EndorsedKey
    from sealward.verifier.formats.dcap.collateral import Signed
    from sealward.verifier.formats.dcap.enclave_report import EnclaveReport
    from sealward.verifier.formats.dcap.quote import Quote
    from sealward.verifier.formats.dcap.tcb_info import QeIdentity, TcbInfo
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.pki.crl import RevocationList
    from sealward.verifier.rats.collateral import Key, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedQuote:
    """A quote whose signatures and chain held; built only by `check_signatures`.

    Attributes:
        evidence_sha256: of the quote as given, padding included.
        signed_sha256: of its signed region.
    """

    quote: Quote
    endorsed: EndorsedKey
    evidence_sha256: str = field(repr=False)
    signed_sha256: str = field(repr=False)

    @property
    def tee(self) -> Tee:
        """What made the report in the quote."""
        return Tee.TDX if isinstance(self.quote.body, TdReport) else Tee.SGX

    @property
    def tcb(self) -> tcbs.PlatformTcb:
        """The TCB that quote and PCK certificate say, as a forecast needs it."""
        body, pck = self.quote.body, self.endorsed.pck
        return tcbs.PlatformTcb(
            components=pck.components,
            pcesvn=pck.pcesvn,
            qe_svn=self.quote.certification.qe_report.isv_svn,
            tee_tcb_svn=body.tee_tcb_svn if isinstance(body, TdReport) else None,
            tee_tcb_svn2=body.tee_tcb_svn2 if isinstance(body, TdReport) else None,
        )

    @property
    def needs(self) -> tuple[Key, Key, Key, Key]:
        """The collateral that says whether to trust the platform."""
        endorsed = self.endorsed
        return collateral.keys(self.tee, endorsed.pck.fmspc, endorsed.path.pck_ca)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """The revocation lists of one quote, verified."""

    pck: RevocationList
    root: RevocationList


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedQuote:
    """A quote that everything above was checked of; built only by `authenticate`.

    Attributes:
        info, identity: Intel's statements.
        result: the status of the TCB under them.
        editions: which issue of TCB info, QE identity, PCK CRL and root CRL was used.
    """

    signed: SignedQuote
    info: Signed[TcbInfo]
    identity: Signed[QeIdentity]
    lists: Lists
    result: tcbs.TcbResult
    editions: tuple[Edition, Edition, Edition, Edition]


def authenticate(
    data: bytes, source: Source, *, anchors: TrustAnchors, now: datetime, cache: ChainCache
) -> VerifiedQuote:
    """Run the procedure above on the bytes of a quote, at the aware UTC instant `now`.

    Raises:
        MalformedEvidence: the quote, a certificate or a piece of collateral does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    signed = check_signatures(data, anchors=anchors, now=now, cache=cache)  # (1), (2), (3)
    path, wanted = signed.endorsed.path, signed.needs
    held = collateral.look_up(wanted, source)  # (4)
    info = collateral.read_tcb_info(held.tcb_info, anchors=anchors, now=now, cache=cache)  # (5)
    identity = collateral.read_qe_identity(held.qe_identity, anchors=anchors, now=now, cache=cache)
    check_root(signed, info, identity)
    lists = Lists(  # (6); (8) was checked of each piece where it was read
        pck=collateral.read_crl(held.pck_crl, path.issuer, now=now, cache=cache),
        root=collateral.read_crl(held.root_crl, path.root, now=now, cache=cache),
    )
    check_revocation(signed, info, identity, lists)  # (7)
    check_subject(signed, info.value, identity.value)  # (9)
    check_qe(signed.quote.certification.qe_report, identity.value)  # (10)
    check_module(signed, info.value)  # (11)
    result = tcbs.appraise(info.value, identity.value, signed.tcb)  # (12)
    return VerifiedQuote(
        signed=signed,
        info=info,
        identity=identity,
        lists=lists,
        result=result,
        editions=(
            collateral.edition_of_statement(wanted[0], info.value),
            collateral.edition_of_statement(wanted[1], identity.value),
            collateral.edition_of_crl(wanted[2], lists.pck),
            collateral.edition_of_crl(wanted[3], lists.root),
        ),
    )


def check_signatures(
    data: bytes, *, anchors: TrustAnchors, now: datetime, cache: ChainCache
) -> SignedQuote:
    """Run steps 1 to 3: who signed, and nothing about whether to trust the platform.

    Raises:
        MalformedEvidence: the quote or a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    parsed = quote.parse(data)  # (1)
    endorsed = attestation_key.endorse(  # (2)
        parsed.certification, anchors=anchors, now=now, cache=cache
    )
    raw_signature.verify(  # (3)
        endorsed.key,
        parsed.signature,
        parsed.signed,
        "the quote's signature does not verify under its attestation key",
    )
    return SignedQuote(
        quote=parsed,
        endorsed=endorsed,
        evidence_sha256=hashlib.sha256(data).hexdigest(),
        signed_sha256=hashlib.sha256(parsed.signed).hexdigest(),
    )


def check_root(signed: SignedQuote, info: Signed[TcbInfo], identity: Signed[QeIdentity]) -> None:
    """Refuse statements under another root than the platform's. Raises COLLATERAL_MISMATCH.

    Else who holds a development root could rate genuine hardware.
    """
    root = signed.endorsed.path.root
    for statement in (info, identity):
        if statement.signer.root.der != root.der:
            raise RefusedEvidence(
                Code.COLLATERAL_MISMATCH,
                "a statement hangs under another root than the platform",
                expected=root.fingerprint,
                actual=statement.signer.root.fingerprint,
            )


def check_revocation(
    signed: SignedQuote, info: Signed[TcbInfo], identity: Signed[QeIdentity], lists: Lists
) -> None:
    """Step 7. Raises RefusedEvidence CERTIFICATE_REVOKED."""
    path = signed.endorsed.path
    lists.pck.check(path.leaf)
    for certificate in (path.issuer, info.signer.leaf, identity.signer.leaf):
        lists.root.check(certificate)


def check_subject(signed: SignedQuote, info: TcbInfo, identity: QeIdentity) -> None:
    """Step 9. Raises RefusedEvidence COLLATERAL_MISMATCH."""
    pck = signed.endorsed.pck
    expected = (signed.tee, signed.tee, pck.fmspc.hex(), pck.pceid.hex())
    actual = (info.tee, identity.tee, info.fmspc.hex(), info.pceid.hex())
    if actual != expected:
        raise RefusedEvidence(
            Code.COLLATERAL_MISMATCH,
            "Intel's statements are about another platform",
            claim="intel.fmspc",
            expected=" ".join(expected),
            actual=" ".join(actual),
            hint="fetch the TCB info of this platform's FMSPC",
        )


def check_qe(report: EnclaveReport, identity: QeIdentity) -> None:
    """Step 10. Raises RefusedEvidence QE_IDENTITY_MISMATCH."""
    said = (
        ("signer", report.mr_signer, identity.mrsigner),
        ("product", report.isv_prod_id, identity.isvprodid),
        ("misc", _masked(report.misc_select, identity.miscselect_mask), identity.miscselect),
        ("attributes", _masked(report.attributes, identity.attributes_mask), identity.attributes),
    )
    for name, actual, expected in said:
        if actual != expected:
            raise RefusedEvidence(
                Code.QE_IDENTITY_MISMATCH,
                f"the quoting enclave is not Intel's: its {name} is another",
                claim=f"intel.qe.{name}",
                expected=_text(expected),
                actual=_text(actual),
            )


def check_module(signed: SignedQuote, info: TcbInfo) -> None:
    """Step 11. Raises RefusedEvidence TDX_MODULE_MISMATCH; SGX has no module."""
    body = signed.quote.body
    if not isinstance(body, TdReport):
        return
    module = tcbs.module_line(info, body.tee_tcb_svn)
    attributes = body.seam_attributes
    expected = _masked(module.attributes, module.mask)
    if body.mr_signer_seam != module.mrsigner or attributes != expected:
        raise RefusedEvidence(
            Code.TDX_MODULE_MISMATCH,
            "the TDX module is not Intel's, or runs with attributes it must not have",
            claim="intel.mr_signer_seam",
            expected=f"{module.mrsigner.hex()} {expected.hex()}",
            actual=f"{body.mr_signer_seam.hex()} {attributes.hex()}",
        )


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(a & b for a, b in zip(value, mask, strict=True))


def _text(value: bytes | int) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
