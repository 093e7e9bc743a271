"""Completes a report's certificates from collateral: its VCEK by chip and TCB, and their chain.

AMD publishes VCEKs and chains, so a guest that was given none by its host is not lost. A VLEK
belongs to a provider and is published nowhere. Nothing is verified here: what is found is one more
certificate among those that `selection` looks through, and `endorsements` judges them all.

What a report must tell for its VCEK to be named: the processor (from version 3 on), and the chip
(which a host may mask).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.snp import product as products
from sealward.verifier.formats.snp import report as reports
from sealward.verifier.formats.snp import selection, vek
from sealward.verifier.formats.snp.report import SigningKey
from sealward.verifier.formats.snp.vek import VekKind
from sealward.verifier.pki import certificate
from sealward.verifier.rats.collateral import Key, Kind
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire import pem

if TYPE_CHECKING:
    from sealward.verifier.formats.snp.endorsements import Endorsements
    from sealward.verifier.formats.snp.report import Report
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.rats.collateral import Source

_MAX_CHAIN_BYTES: Final = 64 << 10
_MASKED_CHIP: Final = bytes(64)


def select(data: bytes, certificates: tuple[bytes, ...], source: Source) -> Endorsements:
    """Return the endorsements of a report: from what was sent, completed from `source`.

    Raises:
        MalformedEvidence: the report or a certificate does not parse.
        RefusedEvidence: as `selection.select`; ENDORSEMENT_MISSING says in `needs` what a vendor's
            service would have.
    """
    try:
        return selection.select(certificates)
    except RefusedEvidence as error:
        if error.code is not Code.ENDORSEMENT_MISSING:
            raise
        return selection.select((*certificates, *_held(data, certificates, source, error)))


def vek_key(report: Report) -> Key | None:
    """Return the name of the VCEK that must have signed a report; None where it does not tell.

    Raises:
        RefusedEvidence: UNSUPPORTED_FORMAT for a processor that we do not know.
    """
    if report.signing_key is not SigningKey.VCEK or report.chip_id == _MASKED_CHIP:
        return None
    if not report.has_cpuid:
        return None
    product = products.of_cpuid(report.cpuid_family, report.cpuid_model)
    chip = report.chip_id[: product.chip_id_size].hex()
    return Key(Kind.AMD_VEK, f"{product.value}/{chip}/{report.reported_tcb.hex()}")


def _held(
    data: bytes, certificates: tuple[bytes, ...], source: Source, missing: RefusedEvidence
) -> tuple[bytes, ...]:
    """Return the certificates that `source` adds; raises `missing`, with its needs, without any."""
    pool = tuple(certificate.parse(one) for one in certificates)
    keys = _absent(reports.parse(data), pool)
    found = {key: source.get(key) for key in keys}
    needs = tuple(key for key, held in found.items() if held is None)
    if needs or not keys:
        raise RefusedEvidence(missing.code, missing.detail, hint=missing.hint, needs=needs)
    return tuple(
        der
        for key, held in found.items()
        if held is not None
        for der in (_chain(held) if key.kind is Kind.AMD_CHAIN else (held,))
    )


def _absent(report: Report, pool: tuple[Certificate, ...]) -> tuple[Key, ...]:
    """Return the names of what is not among the certificates that were sent."""
    leaf = next((member for member in pool if vek.is_vek(member)), None)
    wanted: tuple[Key, ...] = ()
    if leaf is None:
        key = vek_key(report)
        if key is None:
            return ()
        wanted, line, kind = (key,), key.name.partition("/")[0], VekKind.VCEK
    else:
        extensions = vek.parse(leaf)
        line, kind = products.of_name(extensions.product_name).value, extensions.kind
    if any(member.issuer == member.subject for member in pool):
        return wanted
    # The chain first: whoever fetches both cannot believe the key without it.
    return (Key(Kind.AMD_CHAIN, f"{line}/{kind.value}"), *wanted)


def _chain(text: bytes) -> tuple[bytes, ...]:
    return pem.decode(text, what="held chain", max_bytes=_MAX_CHAIN_BYTES)
