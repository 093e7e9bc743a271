"""Trust vectors, verdicts and postures: nothing the verifier holds against evidence gets lost."""

from __future__ import annotations

from itertools import product

import pytest

from sealward.verifier.rats.result import (
    Dimension,
    Posture,
    Tier,
    TrustVector,
    Verdict,
    VerdictCode,
    cap,
    posture,
)

GOOD = TrustVector(**{dimension.attribute: Tier.AFFIRMING for dimension in Dimension})
HARDWARE = frozenset({Dimension.HARDWARE})
ORDER = [Posture.COMPLIANT, Posture.WARNING, Posture.NONCOMPLIANT]


def verdict(code: VerdictCode, tier: Tier = Tier.CONTRAINDICATED) -> Verdict:
    return Verdict(code=code, claim="c", expected="e", actual="a", tier=tier)


@pytest.mark.parametrize(
    ("values", "tier"),
    [
        ((-1, 0, 1), Tier.NONE),
        ((2, 31, -2, -32), Tier.AFFIRMING),
        ((32, 36, 95, -33, -96), Tier.WARNING),
        ((96, 97, 99, 127, -97, -128), Tier.CONTRAINDICATED),
    ],
)
def test_every_ar4si_value_has_its_tier(values: tuple[int, ...], tier: Tier) -> None:
    assert {Tier.of(value) for value in values} == {tier}


@pytest.mark.parametrize("value", [128, -129, 1000])
def test_other_numbers_are_no_ar4si_values(value: int) -> None:
    with pytest.raises(ValueError, match="not an AR4SI value"):
        Tier.of(value)


def test_a_vector_says_all_eight_claims_in_ar4si_spelling() -> None:
    assert TrustVector(file_system=Tier.WARNING).to_json() == {
        "instance-identity": 0,
        "configuration": 0,
        "executables": 0,
        "file-system": 32,
        "hardware": 0,
        "runtime-opaque": 0,
        "storage-opaque": 0,
        "sourced-data": 0,
    }


@pytest.mark.parametrize("code", VerdictCode)
def test_every_verdict_caps_something_whatever_the_policy_answered(code: VerdictCode) -> None:
    capped = cap(GOOD, [verdict(code)])
    assert posture(GOOD, HARDWARE) is Posture.COMPLIANT
    assert posture(capped, HARDWARE) is Posture.NONCOMPLIANT


def test_a_development_root_contraindicates_hardware() -> None:
    assert cap(GOOD, [verdict(VerdictCode.DEVELOPMENT_ROOT)]).hardware is Tier.CONTRAINDICATED


@pytest.mark.parametrize("before", Tier)
@pytest.mark.parametrize("tier", [Tier.WARNING, Tier.CONTRAINDICATED])
def test_a_verdict_never_improves_a_posture(before: Tier, tier: Tier) -> None:
    vector = TrustVector(hardware=before)
    capped = cap(vector, [verdict(VerdictCode.DISTRUSTED, tier)])
    for required in (HARDWARE, frozenset({Dimension.SOURCED_DATA}), frozenset(Dimension)):
        worst = ORDER.index(posture(vector, required))
        assert ORDER.index(posture(capped, required)) >= worst
    assert capped.hardware in (tier, Tier.CONTRAINDICATED)


@pytest.mark.parametrize("tier", [Tier.NONE, Tier.AFFIRMING])
def test_a_verdict_that_could_help_cannot_be_made(tier: Tier) -> None:
    with pytest.raises(ValueError, match="only lower"):
        verdict(VerdictCode.DISTRUSTED, tier)


@pytest.mark.parametrize(("hardware", "other"), list(product(Tier, Tier)))
def test_the_worst_tier_decides(hardware: Tier, other: Tier) -> None:
    vector = TrustVector(hardware=hardware, executables=other)
    if Tier.CONTRAINDICATED in (hardware, other) or hardware is Tier.NONE:
        expected = Posture.NONCOMPLIANT
    elif Tier.WARNING in (hardware, other):
        expected = Posture.WARNING
    else:
        expected = Posture.COMPLIANT
    assert posture(vector, HARDWARE) is expected


def test_a_posture_over_nothing_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="at least one"):
        posture(GOOD, frozenset())


def test_no_posture_passes_but_the_two_that_come_from_sound_results() -> None:
    passing = {one for one in Posture if one.passing}
    assert passing == {Posture.COMPLIANT, Posture.WARNING}
