"""Each failure of the corpus has its one right cause, found by the engine that explains all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fakes import failure_corpus, failure_corpus_kinds
from fakes.control_plane import World, world
from fakes.failure_corpus import Failure
from fakes.failure_corpus_denied import DENIALS, SAMPLES, Denial

from sealward.controlplane.adapters.policy_engine.shipped import shipped
from sealward.controlplane.domain.explanations import Finding, Source, finding, ordered, top
from sealward.controlplane.domain.finding_codes import Weight
from sealward.controlplane.domain.policies import PolicyKind
from sealward.verifier.wire import json

EVIDENCE = (
    *failure_corpus.SNP,
    *failure_corpus.TPM,
    *failure_corpus_kinds.INTEL,
    *failure_corpus_kinds.NITRO,
    *failure_corpus_kinds.ARM,
    *failure_corpus_kinds.NVIDIA,
    *failure_corpus_kinds.AZURE,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One control plane for all denials: each is of an instance of its own."""
    with world(tmp_path_factory.mktemp("corpus")) as opened:
        yield opened


def test_the_corpus_is_as_large_as_it_says() -> None:
    classes = {failure.of for failure in EVIDENCE} | {denial.of for denial in DENIALS}
    classes |= {of for of, _ in SAMPLES.values()}
    names = [failure.name for failure in EVIDENCE] + [denial.name for denial in DENIALS]
    assert len(names) == len(set(names))
    assert len(names) + len(SAMPLES) >= 100
    assert len(classes) >= 40
    assert {failure.code for failure in EVIDENCE} & {denial.code for denial in DENIALS}


@pytest.mark.parametrize("failure", EVIDENCE, ids=lambda failure: failure.name)
def test_evidence_that_fails_has_its_one_cause(vectors_dir: Path, failure: Failure) -> None:
    findings = failure.make(vectors_dir)
    assert top(findings).code == failure.code, ordered(findings)
    assert top(reversed(findings)) == top(findings)


@pytest.mark.parametrize("denial", DENIALS, ids=lambda denial: denial.name)
def test_a_denial_has_its_one_cause(shared: World, denial: Denial) -> None:
    quote = denial.make(shared)
    shared.clock.advance(timedelta(seconds=2))  # another allowance
    explained = shared.plane.admin.explanations.of_correlation(shared.admin, quote)
    cause = explained.cause
    assert cause.finding.code == denial.code, (cause, explained.others)
    assert (cause.finding.claim or "").startswith(denial.claim or "")
    assert cause.mend
    assert cause.finding.expected or cause.finding.actual
    if cause.finding.source is not Source.refusal and cause.finding.workload is None:
        assert explained.code == denial.code  # what is on record of a node is told in this order


def _samples() -> dict[str, tuple[Finding, ...]]:
    """What the shipped policies answer to their own samples; that they do is tested elsewhere."""
    return {
        f"{kind}/{sample.name}": tuple(
            finding({**reason, "layer": "organisation", "rule": f"sealward.{kind}"})
            for reason in _reasons(sample.expected)
        )
        for kind in PolicyKind
        for sample in shipped(kind).samples
    }


def _reasons(expected: bytes) -> list[dict[str, json.Value]]:
    answer = json.decode(expected, what="sample", max_bytes=1 << 20)
    reasons = answer.get("reasons", []) if isinstance(answer, dict) else []
    return [one for one in reasons if isinstance(one, dict)] if isinstance(reasons, list) else []


@pytest.mark.parametrize(("sample", "of_and_code"), SAMPLES.items(), ids=SAMPLES)
def test_what_a_policy_says_has_its_one_cause(sample: str, of_and_code: tuple[str, str]) -> None:
    assert top(_samples()[sample]).code == of_and_code[1]


def test_no_sample_is_explained_by_a_consequence_alone_where_it_names_a_cause() -> None:
    for sample, findings in _samples().items():
        if any(one.weight is Weight.cause for one in findings):
            assert top(findings).weight is Weight.cause, sample
