"""Release: which workloads a node may run, until when, and under which limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.horizon import Horizon, Limit, horizon
from sealward.controlplane.domain.leases import Lease
from sealward.controlplane.domain.nodes import Node
from sealward.controlplane.domain.policies import (
    Layer,
    Obligations,
    PolicyKind,
    ReleaseAnswer,
)
from sealward.controlplane.domain.policy_composition import compose_release, outcome
from sealward.controlplane.domain.policy_engine import LayerPolicy, PolicyEngine
from sealward.controlplane.domain.records import MAX_PAGE
from sealward.controlplane.domain.workloads import ModelState, ModelVersion, Workload, WorkloadKey
from sealward.controlplane.services.appraisal import (
    Appraised,
    reason_json,
    require_answered,
    tier_names,
)
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.facts import ReferenceView, rfc3339
from sealward.controlplane.services.lease_ledger import Release
from sealward.controlplane.services.policy_book import PolicyBook
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.submods import SUBMODS
from sealward.protos.terms import Obligation
from sealward.verifier.rats.result import Posture
from sealward.verifier.wire import json

_SHORTEST_USEFUL: Final = timedelta(milliseconds=500)
# What a node is told of a policy's denial; the first of these words that it says, if any.
_TOLD: Final[Mapping[str, Code]] = MappingProxyType(
    {
        "posture_not_compliant": Code.posture_noncompliant,
        "agent_not_measured": Code.agent_not_measured,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadFacts:
    """One workload that was asked for.

    Attributes:
        workload: its record.
        newest: the newest active version of each of its models.
        min_versions: model name -> lowest active version.
        active_keys: content key ids of every active version.
        others: how many other instances hold an active lease of it.
        held: whether this node holds one.
    """

    workload: Workload
    newest: tuple[ModelVersion, ...]
    min_versions: Mapping[str, int]
    active_keys: frozenset[str]
    others: int
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grantable:
    """What stands behind a workload until its fence moves: fields as of `WorkloadFacts`."""

    workload: Workload
    key: WorkloadKey
    newest: tuple[ModelVersion, ...]
    min_versions: Mapping[str, int]
    active_keys: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """What a release decision reads.

    Attributes:
        policies: the release policy of every configured layer.
        workloads: by name; a name that is missing here is unknown.
        asked: names in the order asked for.
        active: the node's active leases.
        leased_models: lease id -> content key ids that it has carried.
        keys: workload -> its newest key.
    """

    policies: tuple[LayerPolicy, ...]
    workloads: Mapping[str, WorkloadFacts]
    asked: tuple[str, ...]
    active: tuple[Lease, ...]
    leased_models: Mapping[str, frozenset[str]]
    keys: Mapping[str, WorkloadKey]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadDenial:
    """A workload that was asked for and not granted.

    Attributes:
        workload: its name.
        code: coarse code, for the node.
        reasons: full reasons, for those with the right to see them.
    """

    workload: str
    code: str
    reasons: tuple[Mapping[str, json.Canonical], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One node's attestation, as every release decision in it sees it.

    Attributes:
        node: the node before this attestation.
        appraised: result of the appraisal.
        claims: fresh claims, or recorded ones when a lease may only be ended (F17).
        reference: reference values that the claims match.
        limits: what ends any lease of this node, whatever its workload (F33).
        challenge_issued: freshness of the evidence.
        now: instant of the decision.
        unlocked: the evidence is a TPM's and came without an object to lock keys with.
    """

    node: Node
    appraised: Appraised
    claims: ClaimsDocument
    reference: ReferenceView
    limits: tuple[Limit, ...]
    challenge_issued: datetime
    now: datetime
    unlocked: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """Answers for every workload asked for."""

    releases: tuple[Release, ...]
    denials: tuple[WorkloadDenial, ...]


@dataclass(frozen=True, slots=True)
class Releaser:
    """Asks the release policies of one installation."""

    engine: PolicyEngine
    book: PolicyBook

    def read(
        self,
        tx: Transaction,
        node: Node,
        asked: Iterable[str],
        epochs: Mapping[str, int],
        now: datetime,
    ) -> ReleaseFacts:
        """Read what a decision about these workloads depends on.

        Args:
            tx: one snapshot.
            node: whose leases count.
            asked: names of workloads.
            epochs: fence values of that snapshot, those of release policies and of each workload
                among them.
            now: instant of the decision.
        """
        names = tuple(dict.fromkeys(asked))
        active = tx.leases.active_of_node(node.node_id)
        mine = {lease.workload for lease in active}
        workloads = {}
        keys = {}
        for name in names:
            found = self._grantable(tx, name, epochs[fences.workload(name)], now)
            if found is None:
                continue
            held = name in mine
            workloads[name] = WorkloadFacts(
                workload=found.workload,
                newest=found.newest,
                min_versions=found.min_versions,
                active_keys=found.active_keys,
                others=tx.leases.count_active(name) - held,
                held=held,
            )
            keys[name] = found.key
        return ReleaseFacts(
            policies=self.book.active(tx, PolicyKind.RELEASE, epochs),
            workloads=workloads,
            asked=names,
            active=active,
            leased_models={
                lease.lease_id: frozenset(
                    m.content_key_id for m in tx.leases.models(lease.lease_id)
                )
                for lease in active
            },
            keys=keys,
        )

    def _grantable(
        self, tx: Transaction, name: str, epoch: int, now: datetime
    ) -> _Grantable | None:
        def read() -> tuple[_Grantable | None, None]:
            workload = tx.workloads.find(name)
            return (None if workload is None else _read_grantable(tx, workload)), None

        return self.book.readings.get(("workload", tx.tenant, name), epoch, now, read)

    def release(self, facts: ReleaseFacts, case: Case) -> Released:
        """Decide every workload asked for; each one alone."""
        releases = []
        denials = []
        for name in facts.asked:
            wanted = facts.workloads.get(name)
            if wanted is None:
                denials.append(_unknown(name))
                continue
            decided = _hard_refusal(wanted, case) or _decide(
                wanted, self._ask(facts.policies, wanted, case), case
            )
            if isinstance(decided, Release):
                releases.append(decided)
            else:
                denials.append(decided)
        return Released(tuple(releases), tuple(denials))

    def _ask(
        self, policies: tuple[LayerPolicy, ...], wanted: WorkloadFacts, case: Case
    ) -> ReleaseAnswer:
        document = _document(wanted, case)
        reference = case.reference.document
        outcomes = [
            outcome(ReleaseAnswer, self.engine, policy, document, reference)
            for policy in policies
            if _concerns(policy, wanted.workload)
        ]
        if wanted.held:
            # A lease that stands is not taken away because our engine has stopped answering.
            require_answered(outcomes)
        return compose_release(outcomes)


def _concerns(policy: LayerPolicy, workload: Workload) -> bool:
    """Whether a layer is asked about a workload: a workload's own layer only about that one."""
    if policy.layer is Layer.WORKLOAD:
        return policy.scope.endswith(f"/workload/{workload.name}")
    return True


def _read_grantable(tx: Transaction, workload: Workload) -> _Grantable:
    page = tx.models.page(workload.name, limit=MAX_PAGE, state=ModelState.active)
    newest: dict[str, ModelVersion] = {}
    lowest: dict[str, int] = {}
    for model in page.items:
        lowest[model.name] = min(lowest.get(model.name, model.version), model.version)
        if model.name not in newest or newest[model.name].version < model.version:
            newest[model.name] = model
    return _Grantable(
        workload=workload,
        key=tx.workloads.latest_key(workload.name),
        newest=tuple(newest.values()),
        min_versions=lowest,
        active_keys=frozenset(model.content_key_id for model in page.items),
    )


def _hard_refusal(wanted: WorkloadFacts, case: Case) -> WorkloadDenial | None:
    """Rules that no policy can lift (F8b, F20b, F29)."""
    name, appraised = wanted.workload.name, case.appraised
    if not appraised.posture.passing:
        return _denial(
            name,
            Code.posture_noncompliant,
            "node.posture",
            Posture.COMPLIANT.value,
            appraised.posture.value,
        )
    if appraised.development and wanted.workload.production:
        return _denial(
            name,
            Code.development_refused,
            "claims.development",
            "evidence under a vendor root for a production workload",
            "a development root",
        )
    if case.unlocked:
        return _denial(
            name,
            Code.tpm_lock_missing,
            "evidence",
            "an object in the TPM that keys are locked with",
            "none",
        )
    if not wanted.newest:
        return _denial(
            name, Code.model_unknown, "workload.models", "at least one active model", "none"
        )
    limit = wanted.workload.max_instances
    if limit is not None and wanted.others >= limit:
        return _too_many(name, limit, wanted.others)
    return None


def _decide(wanted: WorkloadFacts, answer: ReleaseAnswer, case: Case) -> Release | WorkloadDenial:
    name = wanted.workload.name
    if not answer.allow:
        reasons = tuple({**reason_json(reason), "workload": name} for reason in answer.reasons)
        told = {r.code for r in answer.reasons}
        code = next((code for word, code in _TOLD.items() if word in told), Code.policy_denied)
        return WorkloadDenial(workload=name, code=code.value, reasons=reasons)
    most = answer.obligations.max_instances
    if most is not None and wanted.others >= most:
        return _too_many(name, most, wanted.others)
    until = _horizon(wanted.workload, answer.obligations, case)
    if until.until - case.now < _SHORTEST_USEFUL:
        return _denial(name, Code.horizon_passed, "horizon", "an instant to come", until.cause)
    return Release(
        workload=name,
        models=wanted.newest,
        min_versions=wanted.min_versions,
        horizon=until,
        obligations=_terms(answer.obligations),
        max_instances=_least(wanted.workload.max_instances, most),
    )


def _least(a: int | None, b: int | None) -> int | None:
    stated = [number for number in (a, b) if number is not None]
    return min(stated) if stated else None


def _horizon(workload: Workload, obligations: Obligations, case: Case) -> Horizon:
    ttl, cause = workload.ttl, "ttl of the workload"
    if obligations.ttl_seconds is not None and timedelta(seconds=obligations.ttl_seconds) < ttl:
        ttl, cause = timedelta(seconds=obligations.ttl_seconds), "ttl of the release policy"
    return horizon(
        challenge_issued=case.challenge_issued,
        ttl=ttl,
        ttl_cause=cause,
        clock=case.appraised.clock,
        limits=case.limits,
    )


def _terms(obligations: Obligations) -> dict[str, Obligation]:
    found: dict[str, Obligation] = {}
    if obligations.ttl_seconds is not None:
        found["ttl_seconds"] = obligations.ttl_seconds
    if obligations.max_instances is not None:
        found["max_instances"] = obligations.max_instances
    if obligations.regions is not None:
        found["regions"] = tuple(sorted(obligations.regions))
    return found


def _document(wanted: WorkloadFacts, case: Case) -> bytes:
    workload = wanted.workload
    labels = dict(case.node.labels_attested) | dict(case.node.labels_assigned)
    return case.claims.beside(
        {
            "node": {
                "instance": case.node.node_id,
                "posture": case.appraised.posture.value,
                "labels": labels,
                "development": case.appraised.development,
                "trust_vector": tier_names(case.appraised.vector),
                **_devices(case.appraised),
            },
            "reference": list(case.reference.entries),
            "workload": {
                "name": workload.name,
                "data_class": workload.data_class,
                "production": workload.production,
                "max_instances": workload.max_instances,
                "ttl_seconds": int(workload.ttl.total_seconds()),
            },
            "request": {"models": [m.name for m in wanted.newest]},
            "now": rfc3339(case.now),
        }
    )


def _devices(appraised: Appraised) -> dict[str, json.Canonical]:
    """Return the vectors of a composite's devices, and no member where there are none."""
    vectors = {label: tier_names(vector) for label, vector in appraised.submods}
    return {SUBMODS: vectors} if vectors else {}


def _unknown(name: str) -> WorkloadDenial:
    return _denial(name, Code.workload_unknown, "workload", "a workload of this tenant", "none")


def unopened(name: str, refusal: Refused) -> WorkloadDenial:
    """Return the denial of a workload whose content key cannot be opened."""
    return _denial(name, refusal.code, "workload.models", "a key that opens", refusal.detail)


def _too_many(name: str, limit: int, others: int) -> WorkloadDenial:
    return _denial(
        name,
        Code.too_many_instances,
        "workload.max_instances",
        f"fewer than {limit} other instances",
        str(others),
    )


def _denial(name: str, code: Code, claim: str, expected: str, actual: str) -> WorkloadDenial:
    reason = {
        "code": code.value,
        "claim": claim,
        "expected": expected,
        "actual": actual,
        "hint": "this is a rule of the control plane; no policy can lift it",
        "layer": "controlplane",
        "rule": "controlplane",
        "workload": name,
    }
    return WorkloadDenial(workload=name, code=code.value, reasons=(reason,))
