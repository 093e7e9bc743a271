"""Intel's collateral: statements and revocation lists, from bytes to what we believe.

What is looked up, by `rats.collateral.Key`:

    intel-tcb-info     "tdx/<fmspc>" or "sgx/<fmspc>"    statement with its signer's chain
    intel-qe-identity  "tdx" or "sgx"                    statement with its signer's chain
    intel-pck-crl      "platform" or "processor"         DER, signed by the CA of the PCK
    intel-root-crl     "root"                            DER, signed by the root

A statement is a response body of PCS v4 with the PEM chain behind it (statement.py). `bundle` takes
QuoteCollateralV3 apart, the JSON document in which Intel's and others' tools keep all of it.

Verified collateral is cached by its digest; its dates are checked at each use, so nothing is used
past its next update. Each piece says its `Edition`: number and dates, by which whoever keeps
collateral refuses to go back (security-requirements F19).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sealward.verifier.formats.dcap import issuers, raw_signature, statement, tcb_info
from sealward.verifier.formats.dcap.tcb_info import QeIdentity, TcbInfo, Tee
from sealward.verifier.pki import algorithms
from sealward.verifier.pki import crl as crls
from sealward.verifier.pki.crl import RevocationList
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import json

if TYPE_CHECKING:
    from datetime import datetime

    from sealward.verifier.formats.dcap.issuers import Path
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.pki.chain_cache import ChainCache
    from sealward.verifier.rats.collateral import Source

MAX_BUNDLE_BYTES: Final = 256 * 1024  # real ones have 19 KB

ROOT_CRL_KEY: Final = Key(Kind.INTEL_ROOT_CRL, "root")

_STATEMENT: Final = "dcap-statement"
_CRL: Final = "dcap-crl"
_BUNDLE_MARK: Final = b'"qe_identity_issuer_chain"'

_Value = TypeVar("_Value", TcbInfo, QeIdentity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """Which issue of a piece of collateral was used.

    Attributes:
        key: what it is about.
        number: tcbEvaluationDataNumber or cRLNumber; None where the issuer does not count.
        issued, next_update: aware UTC instants.
    """

    key: Key
    number: int | None
    issued: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed(Generic[_Value]):
    """A statement whose signature and signer's chain held; dates are checked at each use."""

    value: _Value
    signer: Path

    def check_dates(self, now: datetime) -> None:
        """Refuse an instant outside the statement's or its signer's dates.

        Raises:
            RefusedEvidence: COLLATERAL_NOT_YET_VALID, COLLATERAL_EXPIRED, or those of the chain.
        """
        name = self.value.name
        if now < self.value.issued:
            raise RefusedEvidence(
                Code.COLLATERAL_NOT_YET_VALID,
                f"Intel's {name} is from later",
                claim="collateral",
                expected=f"at or after {self.value.issued.isoformat()}",
                actual=now.isoformat(),
            )
        if now > self.value.next_update:
            raise RefusedEvidence(
                Code.COLLATERAL_EXPIRED,
                f"Intel's {name} has expired",
                claim="collateral",
                expected=f"at or before {self.value.next_update.isoformat()}",
                actual=now.isoformat(),
                hint=f"fetch the current {name}, or verify at the instant the evidence was made",
            )
        self.signer.window.check(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """Everything that a quote needs, as bytes that nobody has verified."""

    tcb_info: bytes = field(repr=False)
    qe_identity: bytes = field(repr=False)
    pck_crl: bytes = field(repr=False)
    root_crl: bytes = field(repr=False)


def keys(tee: Tee, fmspc: bytes, ca: issuers.PckCa) -> tuple[Key, Key, Key, Key]:
    """Return what a quote needs: TCB info, QE identity, PCK CRL, root CRL."""
    return (
        Key(Kind.INTEL_TCB_INFO, f"{tee}/{fmspc.hex()}"),
        Key(Kind.INTEL_QE_IDENTITY, tee.value),
        Key(Kind.INTEL_PCK_CRL, ca.value),
        ROOT_CRL_KEY,
    )


def look_up(wanted: tuple[Key, Key, Key, Key], source: Source) -> Collateral:
    """Return what `source` holds under the four keys.

    Raises:
        RefusedEvidence: ENDORSEMENT_MISSING, naming every one that is not held.
    """
    found = [source.get(key) for key in wanted]
    held = [data for data in found if data is not None]
    if len(held) != len(wanted):
        missing = tuple(key for key, data in zip(wanted, found, strict=True) if data is None)
        raise RefusedEvidence(
            Code.ENDORSEMENT_MISSING,
            "Intel's statements about this platform are not at hand",
            claim="collateral",
            expected=", ".join(str(key) for key in missing),
            hint="fetch or import them: TCB info, QE identity and both revocation lists",
            needs=missing,
        )
    info, identity, pck_crl, root_crl = held
    return Collateral(tcb_info=info, qe_identity=identity, pck_crl=pck_crl, root_crl=root_crl)


def read_tcb_info(
    data: bytes, *, anchors: TrustAnchors, now: datetime, cache: ChainCache
) -> Signed[TcbInfo]:
    """Verify a TCB info statement at the aware UTC instant `now`, or find it in the cache.

    Raises:
        MalformedEvidence: it, or its chain, does not parse.
        RefusedEvidence: a chain or signature does not hold, or `now` is outside its dates.
    """
    key = _statement_key("tcbInfo", data, anchors)
    signed: Signed[TcbInfo] | None = cache.get(key, Signed)
    if signed is None:
        framed, signer = _verify(data, "tcbInfo", anchors, now)
        signed = Signed(value=tcb_info.parse_tcb_info(framed.text), signer=signer)
        cache.put(key, signed)
    signed.check_dates(now)
    return signed


def read_qe_identity(
    data: bytes, *, anchors: TrustAnchors, now: datetime, cache: ChainCache
) -> Signed[QeIdentity]:
    """Verify a QE identity statement, as `read_tcb_info` does."""
    key = _statement_key("enclaveIdentity", data, anchors)
    signed: Signed[QeIdentity] | None = cache.get(key, Signed)
    if signed is None:
        framed, signer = _verify(data, "enclaveIdentity", anchors, now)
        signed = Signed(value=tcb_info.parse_qe_identity(framed.text), signer=signer)
        cache.put(key, signed)
    signed.check_dates(now)
    return signed


def _statement_key(member: str, data: bytes, anchors: TrustAnchors) -> tuple[str, str, bytes, str]:
    return (_STATEMENT, member, data, anchors.digest)


def _verify(
    data: bytes, member: str, anchors: TrustAnchors, now: datetime
) -> tuple[statement.Statement, Path]:
    """Return a statement whose signature and signer's chain hold, with that chain."""
    framed = statement.split(data)
    if framed.member != member:
        raise MalformedEvidence(0, f"Intel statement: {framed.member} stands for {member}")
    if not framed.chain:
        raise RefusedEvidence(
            Code.ENDORSEMENT_MISSING,
            f"Intel's {member} came without the certificates of its signer",
            claim="collateral",
            expected="the PEM chain that the service sends in a header, behind the body",
            hint="give a QuoteCollateralV3 document, or put the chain behind the body",
        )
    signer = issuers.signer_path(framed.chain, anchors=anchors, now=now)
    key = raw_signature.p256(
        algorithms.load_public_key(signer.leaf.spki, owner=signer.leaf.subject.text),
        "the TCB signer's key",
    )
    refusal = f"the signature of Intel's {member} does not verify"
    raw_signature.verify(key, framed.signature, framed.text, refusal)
    return framed, signer


def read_crl(
    data: bytes, issuer: Certificate, *, now: datetime, cache: ChainCache
) -> RevocationList:
    """Verify a list under its issuer, whose chain the caller has checked, or find it in the cache.

    Raises:
        MalformedEvidence: it does not parse.
        RefusedEvidence: another issuer's, a broken signature, or `now` is outside its dates.
    """
    # The key that signed is in the entry, so it does not matter who trusts the issuer.
    key = (_CRL, data, issuer.der)
    crl = cache.get(key, RevocationList)
    if crl is None:
        crl = crls.parse(data)
        crls.verify(crl, issuer, allowed=issuers.ALGORITHMS)
        cache.put(key, crl)
    crl.check_dates(now)
    return crl


def is_bundle(data: bytes) -> bool:
    """Whether `data` looks like QuoteCollateralV3 JSON; says nothing about the rest."""
    return data.lstrip().startswith(b"{") and _BUNDLE_MARK in data


def bundle(data: bytes) -> Collateral:
    """Take a QuoteCollateralV3 document apart; nothing in it is verified.

    Its pck_crl_issuer_chain is not read: the list's issuer stands in the quote.

    Raises:
        MalformedEvidence: not such a document, or beyond MAX_BUNDLE_BYTES.
    """
    found = statement.Members(
        json.decode(data, what="collateral", max_bytes=MAX_BUNDLE_BYTES), "collateral"
    )
    return Collateral(
        tcb_info=statement.join(
            "tcbInfo",
            found.text("tcb_info"),
            found.text("tcb_info_signature"),
            found.text("tcb_info_issuer_chain"),
        ),
        qe_identity=statement.join(
            "enclaveIdentity",
            found.text("qe_identity"),
            found.text("qe_identity_signature"),
            found.text("qe_identity_issuer_chain"),
        ),
        pck_crl=_hex(found, "pck_crl"),
        root_crl=_hex(found, "root_ca_crl"),
    )


def _hex(found: statement.Members, name: str) -> bytes:
    return found.octets(name, len(found.text(name)) // 2)


def key_of(data: bytes) -> Key:
    """Return what a piece of collateral is about, by what it says itself; nothing is verified.

    Raises:
        MalformedEvidence: it is none of Intel's, or does not parse.
    """
    if statement.looks_like(data):
        framed = statement.split(data)
        if framed.member == "tcbInfo":
            info = tcb_info.parse_tcb_info(framed.text)
            return Key(Kind.INTEL_TCB_INFO, f"{info.tee}/{info.fmspc.hex()}")
        return Key(Kind.INTEL_QE_IDENTITY, tcb_info.parse_qe_identity(framed.text).tee.value)
    key = crl_key(crls.parse(data))
    if key is None:
        raise MalformedEvidence(0, "CRL: none that Intel's CAs for platforms issue")
    return key


def crl_key(crl: RevocationList) -> Key | None:
    """Return what a list is about by its issuer's name, or None when it is none of Intel's."""
    name = crl.issuer.common_name or ""
    for ca in issuers.PckCa:
        if name.endswith(f"PCK {ca.value.title()} CA"):
            return Key(Kind.INTEL_PCK_CRL, ca.value)
    return ROOT_CRL_KEY if issuers.is_root_name(name) else None


def edition_of_statement(key: Key, value: TcbInfo | QeIdentity) -> Edition:
    """Return which issue a statement is."""
    return Edition(
        key=key,
        number=value.evaluation_number,
        issued=value.issued,
        next_update=value.next_update,
    )


def edition_of_crl(key: Key, crl: RevocationList) -> Edition:
    """Return which issue a list is."""
    return Edition(key=key, number=crl.number, issued=crl.this_update, next_update=crl.next_update)


def edition_of(data: bytes) -> Edition:
    """Return which issue a piece of collateral is, by what it says itself; nothing is verified.

    Raises:
        MalformedEvidence: it is none of Intel's, or does not parse.
    """
    key = key_of(data)
    if key.kind is Kind.INTEL_TCB_INFO:
        return edition_of_statement(key, tcb_info.parse_tcb_info(statement.split(data).text))
    if key.kind is Kind.INTEL_QE_IDENTITY:
        return edition_of_statement(key, tcb_info.parse_qe_identity(statement.split(data).text))
    return edition_of_crl(key, crls.parse(data))
