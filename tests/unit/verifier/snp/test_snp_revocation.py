"""AMD's revocation list, where one is held."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import cbor2
import pytest
from fakes import collateral_files as files
from fakes.snp_fixtures import NOW, mint

from sealward.verifier import registry
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats import evidence
from sealward.verifier.rats.claims import Claims
from sealward.verifier.rats.collateral import NO_COLLATERAL, Key, Kind, Source
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.registry import Context

CRL = Key(Kind.AMD_CRL, "Milan/vcek")
ASK_SERIAL = 0x10001


@dataclass
class Held:
    """A source that holds one list."""

    crl: bytes
    asked: list[Key] = field(default_factory=list)

    def get(self, key: Key) -> bytes | None:
        self.asked.append(key)
        return self.crl if key == CRL else None


def verified(source: Source, now: datetime = NOW, cache: ChainCache | None = None) -> Claims:
    made = mint()
    payload = cbor2.dumps({1: made.report, 2: list(made.certificates)}, canonical=True)
    envelope = evidence.encode(evidence.Record(evidence.SNP_EVIDENCE, payload))
    context = Context(
        anchors=files.anchors(), now=now, cache=cache or ChainCache(), collateral=source
    )
    return registry.authenticate(envelope, context).claims


def test_without_a_list_claims_say_that_nobody_looked() -> None:
    collateral = verified(NO_COLLATERAL).collateral
    assert (collateral.revocation, collateral.limits) == ("absent", ())


def test_a_list_in_date_is_checked_and_ends_with_its_next_update() -> None:
    collateral = verified(Held(files.amd_crl())).collateral
    assert collateral.revocation == "checked"
    assert dict(collateral.limits)["crl"] == collateral.not_after == NOW + timedelta(days=2.5)


@pytest.mark.parametrize("issued_days", [0.5, 4.0], ids=["in date", "run out"])
def test_a_revoked_intermediate_refuses_for_good(issued_days: float) -> None:
    crl = files.amd_crl(revoked=(ASK_SERIAL,), issued_days=issued_days)
    with pytest.raises(RefusedEvidence) as caught:
        verified(Held(crl))
    assert caught.value.code is Code.CERTIFICATE_REVOKED


def test_a_list_that_has_run_out_says_nothing() -> None:
    assert verified(Held(files.amd_crl(issued_days=4))).collateral.revocation == "absent"


def test_a_list_that_was_believed_once_is_believed_until_it_has_run_out() -> None:
    cache, source = ChainCache(), Held(files.amd_crl())
    assert verified(source, cache=cache).collateral.revocation == "checked"
    later = NOW + timedelta(days=2.6)
    assert verified(source, later, cache).collateral.revocation == "absent"


def test_another_roots_list_is_refused() -> None:
    crl = bytearray(files.amd_crl())
    crl[-1] ^= 1
    with pytest.raises(RefusedEvidence) as caught:
        verified(Held(bytes(crl)))
    assert caught.value.code is Code.SIGNATURE_INVALID
