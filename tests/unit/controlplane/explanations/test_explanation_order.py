"""Of many findings one is the cause, and always the same one."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.adapters.policy_engine.shipped import shipped
from sealward.controlplane.domain import finding_codes, policy_composition
from sealward.controlplane.domain.errors import Code
from sealward.controlplane.domain.explanations import Finding, Source, finding, ordered, top
from sealward.controlplane.domain.finding_codes import Nature, Weight, nature_of, weight_of
from sealward.controlplane.domain.mends import mend_of
from sealward.controlplane.domain.policies import PolicyKind
from sealward.controlplane.domain.policies_bundle import files_of
from sealward.controlplane.domain.policy_engine import EngineFault
from sealward.controlplane.services import appraisal
from sealward.verifier.rats import errors as verifier_errors
from sealward.verifier.rats.result import VerdictCode

_CODE_IN_REGO = re.compile(r'"code": "([a-z0-9_]+)"')
CODES = [
    "signature_invalid",
    "debug_enabled",
    "unknown_measurement",
    "tcb_below_floor",
    "reference_expired",
    "platform_unknown",
    "posture_noncompliant",
    "development_root",
    "an_authors_own",
]
CLAIMS = [None, "claims.measurements[pcr4]", "claims.measurements[pcr10]", "claims.debug"]


def a_finding(code: str = "unknown_measurement", **changes: object) -> Finding:
    base = Finding(
        code=code,
        source=Source.policy,
        rule="sealward.appraisal",
        layer="organisation",
        claim=None,
        expected=None,
        actual=None,
    )
    return replace(base, **changes)


FINDINGS = st.builds(
    Finding,
    code=st.sampled_from(CODES),
    source=st.sampled_from(Source),
    rule=st.sampled_from(["sealward.appraisal", "sealward.team.appraisal"]),
    layer=st.sampled_from(["organisation", "team"]),
    claim=st.sampled_from(CLAIMS),
    expected=st.sampled_from([None, 1, "1", True]),
    actual=st.sampled_from([None, 1, "1", True, False]),
    hint=st.sampled_from(["", "do this"]),
    workload=st.sampled_from([None, "scoring"]),
)


@given(st.lists(FINDINGS, min_size=1, max_size=12), st.randoms())
def test_the_order_does_not_depend_on_the_order_of_arrival(
    findings: list[Finding], shuffling: object
) -> None:
    shuffled = list(findings)
    shuffling.shuffle(shuffled)
    assert ordered(shuffled) == ordered(findings)
    assert set(ordered(findings)) == set(findings)
    assert top(shuffled) == ordered(findings)[0]


def test_of_nothing_there_is_no_cause() -> None:
    assert top(()) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        # Who found it decides before what it is.
        (
            a_finding("certificate_expired", source=Source.refusal),
            a_finding("debug_enabled", source=Source.verdict),
        ),
        (
            a_finding("vmpl_unexpected", source=Source.verdict),
            a_finding("platform_denied", source=Source.control_plane),
        ),
        (
            a_finding("platform_denied", source=Source.control_plane),
            a_finding("unknown_measurement"),
        ),
        # Then integrity, configuration, freshness.
        (a_finding("unknown_measurement"), a_finding("tcb_below_floor")),
        (a_finding("tcb_below_floor"), a_finding("reference_expired")),
        (a_finding("reference_expired"), a_finding("platform_unknown")),
        (a_finding("platform_unknown"), a_finding("too_many_instances")),
        (a_finding("too_many_instances"), a_finding("policy_timeout")),
        # What an author says in words of his own is configuration, after what is known.
        (a_finding("provider_in_tcb"), a_finding("an_authors_own")),
        (a_finding("an_authors_own"), a_finding("reference_expired")),
        # A limit is no cause beside one, though the verifier says it; a consequence never is.
        (a_finding("policy_timeout"), a_finding("development_root", source=Source.verdict)),
        (
            a_finding("tpm_only", source=Source.verdict),
            a_finding("posture_noncompliant", source=Source.control_plane, workload="scoring"),
        ),
        # Numbers in paths are numbers.
        (
            a_finding(claim="claims.measurements[pcr4]"),
            a_finding(claim="claims.measurements[pcr10]"),
        ),
    ],
)
def test_what_goes_before_what(first: Finding, second: Finding) -> None:
    assert ordered([second, first]) == (first, second)


def test_every_code_of_ours_stands_in_one_table() -> None:
    every = [*verifier_errors.Code, *VerdictCode, *(f"policy_{fault}" for fault in EngineFault)]
    assert [str(code) for code in every if not finding_codes.known(str(code))] == []


def _shipped() -> set[str]:
    """Every code that the shipped policies say."""
    return {
        code
        for kind in PolicyKind
        for path, data in files_of(shipped(kind)).items()
        if path.endswith(".rego") and not path.endswith("_test.rego")
        for code in _CODE_IN_REGO.findall(data.decode())
    }


def test_every_code_of_the_shipped_policies_stands_in_a_table() -> None:
    said = _shipped()
    assert len(said) > 25
    assert {code for code in said if not finding_codes.known(code)} == set()


def test_no_table_has_a_code_that_nobody_says() -> None:
    every = {*verifier_errors.Code, *VerdictCode, *Code, *(f"policy_{f}" for f in EngineFault)}
    text = inspect.getsource(policy_composition) + inspect.getsource(appraisal)
    said = {str(code) for code in every} | _shipped() | set(re.findall(r'"([a-z_]+)"', text))
    assert set(finding_codes._ALL) - said == set()  # noqa: SLF001 - the table itself


def test_no_code_stands_twice() -> None:
    every = finding_codes._ALL  # noqa: SLF001 - the table itself
    assert len(every) == len(set(every))


def test_what_the_verifier_refuses_and_holds_against_evidence_can_be_mended() -> None:
    every = [*verifier_errors.Code, *VerdictCode]
    assert [str(code) for code in every if not mend_of(str(code))] == []


def test_an_unknown_code_is_of_configuration_and_can_be_a_cause() -> None:
    assert nature_of("an_authors_own") is Nature.configuration
    assert weight_of("an_authors_own") is Weight.cause


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("verifier", Source.verdict),
        ("controlplane", Source.control_plane),
        ("organisation", Source.policy),
        ("workload", Source.policy),
        (None, Source.control_plane),
    ],
)
def test_a_recorded_reason_says_who_found_it(layer: str | None, source: Source) -> None:
    assert finding({"code": "x", "layer": layer}).source is source


def test_a_recorded_reason_comes_back_whole() -> None:
    one = a_finding(claim="claims.debug", expected=False, actual=True, hint="mend it")
    assert finding(one.to_json()) == one
    of_workload = replace(one, workload="scoring")
    assert finding(of_workload.to_json()) == of_workload


ANYTHING = st.none() | st.booleans() | st.integers() | st.text() | st.just([]) | st.just({"a": 1})


@given(
    st.dictionaries(
        st.sampled_from(["code", "claim", "expected", "actual", "hint", "layer", "rule"]), ANYTHING
    )
)
def test_whatever_is_recorded_is_read_as_something(reason: dict[str, object]) -> None:
    one = finding(reason)
    assert isinstance(one.code, str)
    assert one.claim is None or isinstance(one.claim, str)
    assert isinstance(one.actual, str | int | bool | None)
