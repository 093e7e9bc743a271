"""The keys behind a report: HRK, HSK, CEK and PEK, from bytes to a key we believe.

Numbered procedure of `endorse`:

    (1) the SHA-256 of the HRK's 832 bytes is pinned, for CSV;
    (2) each certificate is of its usage and carries the user id of it;
    (3) the key id of each issuer is the one that the certificate below it names: HRK for itself and
        for HSK, HSK for CEK; a PEK names none;
    (4) each has exactly one signature by its issuer's usage, no other than an owner's (OCA) beside
        it, and that one only on a PEK;
    (5) each key is a point of the curve, and each signature verifies: HRK under itself, HSK under
        HRK, CEK under HSK, PEK under CEK.

These certificates have no dates and Hygon publishes no list of revoked ones. An owner's signature
on a PEK is not verified: the owner is whoever has set the platform up, which proves nothing to us.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.hygon_csv import certificate as certificates
from sealward.verifier.formats.hygon_csv.certificate import USER_ID_PREFIX, Usage
from sealward.verifier.pki import sm2
from sealward.verifier.pki.development import DevelopmentRoot
from sealward.verifier.pki.roots import Vendor
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from sealward.verifier.formats.hygon_csv.certificate import Certificate
    from sealward.verifier.formats.hygon_csv.report import Report
    from sealward.verifier.pki.anchors import TrustAnchors
    from sealward.verifier.pki.chain_cache import ChainCache

LINE: Final = "CSV"
CHAIN: Final = (Usage.PEK, Usage.CEK, Usage.HSK, Usage.HRK)

_NO_ISSUER: Final = bytes(16)


@dataclass(frozen=True, slots=True)
class Endorsements:
    """The certificates above a report's own PEK, as Hygon writes them, not verified."""

    cek: bytes = field(repr=False)
    hsk: bytes = field(repr=False)
    hrk: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndorsedKey:
    """A PEK whose chain held.

    Attributes:
        chip: SHA-256 of the CEK's public key (x, y big-endian): one for each processor.
        chain: user ids, PEK first.
        key: of the PEK.
        user_id: under which it signs.
    """

    chip: bytes
    chain: tuple[str, ...]
    user_id: bytes
    key: sm2.PublicKey = field(repr=False)


def endorse(
    report: Report, endorsements: Endorsements, *, anchors: TrustAnchors, cache: ChainCache
) -> EndorsedKey:
    """Verify the chain of a report's PEK to a trusted root, or find it in the cache.

    Raises:
        MalformedEvidence: a certificate does not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    parts = (report.pek_bytes, endorsements.cek, endorsements.hsk, endorsements.hrk)
    digests = b"".join(hashlib.sha256(part).digest() for part in parts)
    name = ("hygon-csv", hashlib.sha256(digests).digest(), anchors.digest)
    endorsed = cache.get(name, EndorsedKey)
    if endorsed is None:
        endorsed = _endorse(report.pek, endorsements, anchors)
        cache.put(name, endorsed)
    return endorsed


def _endorse(pek: Certificate, endorsements: Endorsements, anchors: TrustAnchors) -> EndorsedKey:
    _check_root(endorsements.hrk, anchors)  # (1)
    hrk = certificates.parse_ca(endorsements.hrk)
    hsk = certificates.parse_ca(endorsements.hsk)
    cek = certificates.parse_csv(endorsements.cek)
    path = (pek, cek, hsk, hrk)
    for member, usage in zip(path, CHAIN, strict=True):
        _check_role(member, usage)  # (2)
    for member, issuer in zip(path, (*path[1:], hrk), strict=True):
        _check_issued(member, issuer)
    return EndorsedKey(
        chip=hashlib.sha256(_key(cek).encode()).digest(),
        chain=tuple(member.user_id.decode("ascii") for member in path),
        user_id=pek.user_id,
        key=_key(pek),
    )


def _check_root(hrk: bytes, anchors: TrustAnchors) -> None:
    anchor = anchors.identify(hashlib.sha256(hrk).hexdigest())
    if isinstance(anchor, DevelopmentRoot) or (anchor.vendor, anchor.line) != (Vendor.HYGON, LINE):
        raise RefusedEvidence(
            Code.ROOT_NOT_PINNED,
            "the chain ends in a root that is trusted for other evidence than CSV reports",
            expected=LINE,
            actual=anchor.line,
        )


def _check_role(member: Certificate, usage: Usage) -> None:
    user_id = USER_ID_PREFIX + usage.name.encode()
    if (member.usage, member.user_id) != (usage, user_id):
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            f"a certificate in the place of the {usage.name} is another",
            expected=f"usage {usage:#x}, user id {user_id.decode()}",
            actual=f"usage {member.usage:#x}, user id {member.user_id!r}",
        )


def _check_issued(member: Certificate, issuer: Certificate) -> None:
    """Steps 3 to 5 for one certificate."""
    expected = issuer.key_id or _NO_ISSUER
    if member.issuer_id != expected:
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            f"the {member.usage.name} names another issuer than this {issuer.usage.name}",
            expected=expected.hex(),
            actual=member.issuer_id.hex(),
        )
    signatures = [one.signature for one in member.signatures if one.usage is issuer.usage]
    others = {one.usage for one in member.signatures} - {issuer.usage}
    allowed = {Usage.OCA} if member.usage is Usage.PEK else set()
    if len(signatures) != 1 or not others <= allowed:
        raise RefusedEvidence(
            Code.CHAIN_BROKEN,
            f"the {member.usage.name} is not signed once by a {issuer.usage.name}",
            expected=issuer.usage.name,
            actual=", ".join(one.usage.name for one in member.signatures),
        )
    key, user_id = _key(issuer), issuer.user_id
    if not sm2.verifies(key, signatures[0], member.body, user_id=user_id):
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID,
            f"the signature of the {member.usage.name} does not verify under this"
            f" {issuer.usage.name}",
        )


def _key(member: Certificate) -> sm2.PublicKey:
    return sm2.load_key(member.x, member.y, owner=f"the {member.usage.name}")
