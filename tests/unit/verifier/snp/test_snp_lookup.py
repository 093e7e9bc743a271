"""A report finds its endorsements in collateral, and says what it would need."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from fakes import snp_fixtures
from fakes.collateral_files import pem
from fakes.snp_fixtures import mint, platform, provider_platform
from sealward_devkit.snp.products import Product

from sealward.verifier.formats.snp import lookup
from sealward.verifier.formats.snp import report as reports
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.rats.collateral import NO_COLLATERAL, Key, Kind
from sealward.verifier.rats.errors import Code, RefusedEvidence


@dataclass
class Held:
    """A source that a test fills."""

    pieces: dict[Key, bytes] = field(default_factory=dict)

    def get(self, key: Key) -> bytes | None:
        return self.pieces.get(key)


def missing(report: bytes, certificates: tuple[bytes, ...] = ()) -> RefusedEvidence:
    with pytest.raises(RefusedEvidence) as caught:
        lookup.select(report, certificates, NO_COLLATERAL)
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("product", list(Product))
@pytest.mark.parametrize("version", [3, 4, 5])
def test_a_vcek_is_named_by_line_chip_and_tcb(product: Product, version: int) -> None:
    chip = platform(product)
    made = mint(chip, version=version)
    report = reports.parse(made.report)
    size = 8 if product is Product.TURIN else 64
    vek = Key(Kind.AMD_VEK, f"{product}/{chip.chip_id[:size].hex()}/{report.reported_tcb.hex()}")
    chain = Key(Kind.AMD_CHAIN, f"{product}/vcek")
    assert missing(made.report).needs == (chain, vek)
    held = Held({chain: pem(made.intermediate, made.root), vek: made.vek})
    assert lookup.select(made.report, (), held) == Endorsements(*made.certificates)


def test_what_was_sent_is_used_and_only_the_rest_is_looked_up() -> None:
    made = mint()
    chain = Key(Kind.AMD_CHAIN, "Milan/vcek")
    assert missing(made.report, (made.vek,)).needs == (chain,)
    held = Held({chain: pem(made.intermediate, made.root)})
    assert lookup.select(made.report, (made.vek,), held) == Endorsements(*made.certificates)
    whole = lookup.select(made.report, made.certificates, NO_COLLATERAL)
    assert whole == Endorsements(*made.certificates)


def test_a_vlek_is_published_nowhere_but_its_chain_is() -> None:
    chip = provider_platform()
    made = mint(chip)
    assert missing(made.report).needs == ()
    assert missing(made.report, (made.vek,)).needs == (Key(Kind.AMD_CHAIN, "Milan/vlek"),)


def test_a_report_that_does_not_tell_its_chip_names_nothing() -> None:
    masked = mint(platform(), chip_id=bytes(64))
    assert missing(masked.report).needs == ()
    unnamed = mint(platform(), version=2)
    assert missing(unnamed.report).needs == ()


def test_the_key_of_another_chip_is_found_out_by_the_verifier_and_not_here() -> None:
    made, other = mint(), snp_fixtures.platform(name="second")
    assert lookup.select(made.report, (other.vek, *made.certificates[1:]), NO_COLLATERAL)
