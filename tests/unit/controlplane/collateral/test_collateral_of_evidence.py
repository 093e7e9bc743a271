"""Evidence that came without its endorsements, and nodes that rest on what is held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fakes.bare_instances import BareInstance
from fakes.collateral_files import pem
from fakes.control_plane import World, chip, world
from fakes.hooked_database import HookedDatabase
from fakes.instances import admitted
from fakes.vendor_services import Answer as Served
from fakes.vendor_services import vendor_host

from sealward.controlplane.config import collateral_services
from sealward.controlplane.domain import fences
from sealward.controlplane.domain.errors import Code, Refused, Unavailable
from sealward.controlplane.domain.nodes import ReferenceMatch
from sealward.controlplane.services.collateral_desk import Answer, Lane
from sealward.verifier.rats.collateral import Key, Kind


@dataclass
class RecordingFetcher:
    """Remembers what it was asked for, and for whom."""

    says: Answer = Answer.coming
    asked: list[tuple[Key, Lane]] = field(default_factory=list)

    def request(self, key: Key, lane: Lane, who: str = "") -> Answer:  # noqa: ARG002 - counts nothing
        self.asked.append((key, lane))
        return self.says


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as opened:
        yield opened


def listening(here: World, says: Answer = Answer.coming) -> RecordingFetcher:
    """Put a fetcher that only listens into the gate that is in use."""
    fetcher = RecordingFetcher(says)
    gate = here.plane.enrollment.gate
    gate._collateral = replace(gate._collateral, fetcher=fetcher)  # noqa: SLF001 - the very gate in use
    return fetcher


def keys_of(here: World) -> tuple[Key, Key]:
    """The chip's endorsement key and its chain, imported."""
    platform = chip()
    chain = pem(platform.intermediate, platform.root)
    (held,) = here.plane.collateral.store.import_file(here.admin, chain)
    (vek,) = here.plane.collateral.store.import_file(here.admin, platform.vek)
    return vek.key, held.key


def test_a_report_without_certificates_is_endorsed_from_what_is_held(here: World) -> None:
    vek, chain = keys_of(here)
    instance = BareInstance(here.plane.trust)
    assert instance.enroll(here).code == ""
    assert instance.attest(here).denials == ()
    evidence = here.plane.database.read(lambda tx: tx.evidence.find(instance.node_id))
    assert set(evidence.matches) >= {ReferenceMatch("collateral", str(key)) for key in (vek, chain)}


def test_a_known_chip_is_fetched_for_and_told_to_come_again(here: World) -> None:
    fetcher = listening(here)
    with pytest.raises(Unavailable) as caught:
        BareInstance(here.plane.trust).enroll(here)
    assert caught.value.code is Code.collateral_pending
    # The endorsement key is of an allowed chip; the chain alone would be nobody's.
    assert [key.kind for key, _ in fetcher.asked] == [Kind.AMD_CHAIN, Kind.AMD_VEK]
    assert {lane for _, lane in fetcher.asked} == {Lane.joining}


def test_an_unknown_chip_costs_nobody_a_request(here: World) -> None:
    """F30: a chip id is a claim of whoever sends it."""
    fetcher = listening(here)
    with pytest.raises(Refused) as caught:
        BareInstance(here.plane.trust, platform=chip("stranger")).enroll(here)
    assert caught.value.code is Code.collateral_missing
    assert "sealward collateral import" in caught.value.hint
    assert fetcher.asked == []


def test_whoever_holds_a_join_token_is_known(here: World) -> None:
    fetcher = listening(here)
    text = here.plane.admin.join_tokens.create(here.admin).text
    with pytest.raises(Unavailable):
        BareInstance(here.plane.trust, platform=chip("stranger")).enroll(here, join_token=text)
    assert len(fetcher.asked) == 2
    token = here.rows("SELECT used_ms FROM join_tokens")
    assert token == [(None,)], "the token is spent by the enrolment that succeeds, not by a fetch"


def test_an_admitted_node_is_fetched_for_from_the_budget_of_renewals(here: World) -> None:
    whole = admitted(here)
    bare = BareInstance(here.plane.trust, keys=whole.keys, report_id=whole.report_id)
    bare.chain, bare.ratchet = whole.chain, whole.ratchet
    fetcher = listening(here)
    with pytest.raises(Unavailable):
        bare.attest(here)
    assert {lane for _, lane in fetcher.asked} == {Lane.renewal}


@pytest.mark.parametrize("says", [Answer.off, Answer.over_budget, Answer.backing_off])
def test_what_is_not_coming_is_no_reason_to_wait(here: World, says: Answer) -> None:
    listening(here, says)
    with pytest.raises(Refused) as caught:
        BareInstance(here.plane.trust).enroll(here)
    assert caught.value.code is Code.collateral_missing


def test_a_decision_does_not_commit_once_what_it_rests_on_has_moved(here: World) -> None:
    vek, _ = keys_of(here)
    instance = BareInstance(here.plane.trust)
    instance.enroll(here)
    service = here.plane.attestation
    reads = 0

    def move() -> None:
        nonlocal reads
        reads += 1
        if reads == 1:
            service.database.write(lambda tx: tx.epochs.bump(fences.collateral(vek)))
            service.database.write(lambda tx: tx.epochs.bump(fences.COLLATERAL))

    hooked = replace(service, database=HookedDatabase(service.database, before_write=move))
    plane = replace(here.plane, attestation=hooked)
    assert instance.attest(replace(here, plane=plane)).denials == ()
    assert reads >= 2, "the first attempt met a fence that had moved and was made again"


def test_a_bare_report_gets_its_endorsements_over_https_and_its_node_comes_in(
    tmp_path: Path,
) -> None:
    """Everything as `serve` builds it: the configuration file, the fetcher, the gate, the store."""
    with world(tmp_path):
        pass
    platform = chip()
    tcb = platform.tcb
    levels = f"blSPL={tcb.bootloader:02d}&teeSPL={tcb.tee:02d}&snpSPL={tcb.snp:02d}"
    levels += f"&ucodeSPL={tcb.microcode:02d}"
    with vendor_host(tmp_path) as host:
        host.answers = {
            "/vcek/v1/Milan/cert_chain": Served(pem(platform.intermediate, platform.root)),
            f"/vcek/v1/Milan/{platform.chip_id.hex()}?{levels}": Served(platform.vek),
        }
        file = tmp_path / "collateral.toml"
        file.write_text(
            f'[collateral]\nfetch = true\namd = "{host.url}"\nintel = ""\nintel_root_crl = ""\n'
            f'nvidia_rim = ""\nca = "{host.ca.name}"\n'
        )
        with world(tmp_path, collateral=collateral_services(file)) as here:
            instance = BareInstance(here.plane.trust)
            with pytest.raises(Unavailable) as caught:
                instance.enroll(here)
            assert caught.value.code is Code.collateral_pending
            fetching = here.plane.collateral.fetching
            assert fetching is not None
            assert fetching.turn() == 2
            assert instance.enroll(here).code == ""
            assert len(host.asked) == 2


def test_what_verification_could_do_without_is_asked_for_an_admitted_node_alone(
    here: World,
) -> None:
    fetcher = listening(here)
    instance = admitted(here)
    assert fetcher.asked == []
    assert instance.attest(here).denials == ()
    assert fetcher.asked == [(Key(Kind.AMD_CRL, "Milan/vcek"), Lane.renewal)]
