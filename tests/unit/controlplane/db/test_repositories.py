"""Records come back as they went in, once, and in pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.state import (
    NOW,
    a_creator,
    a_decision,
    a_join_token,
    a_lease,
    a_model,
    a_node,
    a_platform,
    a_principal,
    a_revision,
    a_runtime_log,
    a_set,
    a_sweep,
    a_token,
    a_trust_anchor,
    a_value,
    a_wipe,
    a_workload,
    a_workload_key,
    an_evidence,
    code_of,
    hex_id,
    some_terms,
)

from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused
from sealward.controlplane.domain.leases import (
    Bounded,
    Closed,
    Exposure,
    LeasedModel,
    LeaseState,
    Open,
)
from sealward.controlplane.domain.nodes import FailureClass, NodeState, ReferenceMatch
from sealward.controlplane.domain.platforms import PlatformState
from sealward.controlplane.domain.principals import Role
from sealward.controlplane.domain.records import MAX_PAGE, Page
from sealward.controlplane.domain.sweeps import SweepState
from sealward.controlplane.domain.system import SystemKind, SystemMarker
from sealward.controlplane.domain.trust_anchors import AnchorKind
from sealward.controlplane.domain.workloads import ModelState
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.result import Posture

ADD: dict[str, tuple[Callable[[Transaction], None], Callable[[Transaction], object], object]] = {
    "node": (
        lambda tx: tx.nodes.add(a_node("second")),
        lambda tx: tx.nodes.get(hex_id("second")),
        a_node("second"),
    ),
    "lease": (
        lambda tx: tx.leases.add(a_lease(), ()),
        lambda tx: tx.leases.get("lease-1"),
        a_lease(),
    ),
    "terms": (
        lambda tx: tx.terms.add(some_terms()),
        lambda tx: tx.terms.latest(hex_id("node")),
        some_terms(),
    ),
    "wipe": (
        lambda tx: tx.terms.add_wipe(a_wipe()),
        lambda tx: tx.terms.wipes(hex_id("node"))[0],
        a_wipe(),
    ),
    "reference set": (
        lambda tx: tx.references.add_set(a_set(), [a_value()]),
        lambda tx: (tx.references.get_set("golden"), tx.references.values("golden", limit=9)),
        (a_set(), Page((a_value(),), None)),
    ),
    "revision": (
        lambda tx: tx.policies.add_revision(a_revision("second")),
        lambda tx: tx.policies.get_revision(hex_id("second")),
        a_revision("second"),
    ),
    "workload": (
        lambda tx: tx.workloads.add(a_workload("other")),
        lambda tx: tx.workloads.get("other"),
        a_workload("other"),
    ),
    "workload key": (
        lambda tx: tx.workloads.add_key(a_workload_key()),
        lambda tx: tx.workloads.key("classify", 1),
        a_workload_key(),
    ),
    "creator": (
        lambda tx: tx.workloads.add_creator(a_creator()),
        lambda tx: tx.workloads.find_creator("classify", a_creator().key_id),
        a_creator(),
    ),
    "model": (
        lambda tx: tx.models.add(a_model()),
        lambda tx: tx.models.get("classify", "magika", 1),
        a_model(),
    ),
    "principal": (
        lambda tx: tx.principals.add(a_principal("bob")),
        lambda tx: tx.principals.get("p-bob"),
        a_principal("bob"),
    ),
    "token": (
        lambda tx: tx.tokens.add(a_token()),
        lambda tx: tx.tokens.find("token-1"),
        a_token(),
    ),
    "join token": (
        lambda tx: tx.join_tokens.add(a_join_token()),
        lambda tx: tx.join_tokens.find("join-1"),
        a_join_token(),
    ),
    "decision": (
        lambda tx: tx.decisions.add(a_decision()),
        lambda tx: tx.decisions.get("decision-1"),
        a_decision(),
    ),
    "sweep": (
        lambda tx: tx.sweeps.add(a_sweep()),
        lambda tx: tx.sweeps.get("sweep-1"),
        a_sweep(),
    ),
}


@pytest.mark.parametrize("name", ADD)
def test_a_record_comes_back_equal_and_its_key_is_taken(peopled: SqliteDatabase, name: str) -> None:
    add, read, expected = ADD[name]
    peopled.write(add)
    assert peopled.read(read) == expected
    assert code_of(lambda: peopled.write(add), Conflict) is Code.already_exists
    assert peopled.read(read) == expected


@pytest.mark.parametrize(
    ("read", "code"),
    [
        (lambda tx: tx.nodes.get("x"), Code.node_unknown),
        (lambda tx: tx.nodes.save(a_node("x")), Code.node_unknown),
        (lambda tx: tx.nodes.next_terms_sequence("x"), Code.node_unknown),
        (lambda tx: tx.leases.get("x"), Code.not_found),
        (lambda tx: tx.references.get_set("x"), Code.not_found),
        (lambda tx: tx.references.get_value("x", "y", "z"), Code.not_found),
        (lambda tx: tx.policies.get_revision("x"), Code.not_found),
        (lambda tx: tx.policies.end("x", NOW), Code.not_found),
        (lambda tx: tx.workloads.get("x"), Code.workload_unknown),
        (lambda tx: tx.workloads.key("x", 1), Code.not_found),
        (lambda tx: tx.workloads.latest_key("x"), Code.not_found),
        (lambda tx: tx.workloads.remove_creator("x", "y"), Code.not_found),
        (lambda tx: tx.models.get("x", "y", 1), Code.model_unknown),
        (lambda tx: tx.principals.get("x"), Code.not_found),
        (lambda tx: tx.tokens.revoke("x", NOW), Code.not_found),
        (lambda tx: tx.decisions.get("x"), Code.not_found),
        (lambda tx: tx.sweeps.get("x"), Code.not_found),
        (lambda tx: tx.audit.get("x"), Code.not_found),
        (lambda tx: tx.system.raise_generation(), Code.not_found),
    ],
    ids=range(19),
)
def test_what_is_not_there_is_said_with_its_code(
    database: SqliteDatabase, read: Callable[[Transaction], object], code: Code
) -> None:
    assert code_of(lambda: database.write(read), NotFound) is code


def test_saving_a_node_overwrites_all_but_its_terms_sequence(peopled: SqliteDatabase) -> None:
    assert peopled.write(lambda tx: tx.nodes.next_terms_sequence(hex_id("node"))) == 1
    assert peopled.write(lambda tx: tx.nodes.next_terms_sequence(hex_id("node"))) == 2
    changed = a_node(
        state=NodeState.retired,
        posture=Posture.QUARANTINED,
        failure_class=FailureClass.clone,
        labels_assigned=(),
        quarantined=NOW,
        terms_sequence=99,
    )
    peopled.write(lambda tx: tx.nodes.save(changed))
    stored = peopled.read(lambda tx: tx.nodes.get(hex_id("node")))
    assert stored == replace(changed, terms_sequence=2)


def test_nodes_are_found_by_platform_state_and_posture(database: SqliteDatabase) -> None:
    def fill(tx: Transaction) -> None:
        tx.nodes.add(a_node("a"))
        tx.nodes.add(a_node("b", posture=Posture.STALE))
        tx.nodes.add(a_node("masked", platform_id=None, state=NodeState.pending))

    database.write(fill)
    with_stale = database.read(lambda tx: tx.nodes.page(limit=9, posture=Posture.STALE))
    assert [node.node_id for node in with_stale.items] == [hex_id("b")]
    on_chip = database.read(lambda tx: tx.nodes.on_platform(hex_id("chip"), limit=9))
    assert on_chip == Page(tuple(sorted([hex_id("a"), hex_id("b")])), None)
    counts = database.read(
        lambda tx: (
            tx.nodes.count(),
            tx.nodes.count(state=NodeState.admitted),
            tx.nodes.count(state=NodeState.admitted, posture=Posture.STALE),
        )
    )
    assert counts == (3, 2, 1)


def test_a_list_reads_whole_in_pages_of_any_size(database: SqliteDatabase) -> None:
    def fill(tx: Transaction) -> None:
        for number in range(7):
            tx.nodes.add(a_node(str(number)))
            tx.models.add(a_model(name=f"m{number % 2}", version=number))

    database.write(lambda tx: tx.workloads.add(a_workload()))
    database.write(fill)

    def nodes(tx: Transaction, limit: int, after: str | None) -> Page[object]:
        page = tx.nodes.on_platform(hex_id("chip"), limit=limit, after=after)
        return Page(page.items, page.after)

    def models(tx: Transaction, limit: int, after: str | None) -> Page[object]:
        page = tx.models.page("classify", limit=limit, after=after)
        return Page(tuple((model.name, model.version) for model in page.items), page.after)

    for listing in (nodes, models):
        whole = database.read(lambda tx, of=listing: of(tx, MAX_PAGE, None)).items
        assert len(whole) == 7
        assert list(whole) == sorted(whole, key=repr)
        for limit in range(1, 9):
            found: list[object] = []
            after: str | None = None
            while True:
                page = database.read(lambda tx, o=listing, n=limit, a=after: o(tx, n, a))
                found += page.items
                after = page.after
                if after is None:
                    break
                assert len(page.items) == limit
            assert tuple(found) == whole


@pytest.mark.parametrize(
    "after", ["", "x", "{}", "[]", "[1]", '["a","b"]', "[true]", '["a"', "[" * 5000, '["\ud800"]']
)
def test_a_foreign_cursor_is_refused(database: SqliteDatabase, after: str) -> None:
    for limit in (1, 5):
        code = code_of(
            lambda n=limit: database.read(lambda tx: tx.nodes.page(limit=n, after=after)), Refused
        )
        assert code is Code.invalid_request


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1, 10**30])
def test_a_cursor_beyond_the_numbers_of_a_column_is_refused(
    database: SqliteDatabase, number: int
) -> None:
    after = f'["magika",{number}]'
    code = code_of(
        lambda: database.read(lambda tx: tx.models.page("classify", limit=1, after=after)), Refused
    )
    assert code is Code.invalid_request


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
def test_a_page_has_a_sensible_size(database: SqliteDatabase, limit: int) -> None:
    code = code_of(lambda: database.read(lambda tx: tx.nodes.page(limit=limit)), Refused)
    assert code is Code.invalid_request


def test_evidence_is_replaced_together_with_its_matches(peopled: SqliteDatabase) -> None:
    peopled.write(lambda tx: tx.evidence.put(an_evidence()))
    assert peopled.read(lambda tx: tx.evidence.find(hex_id("node"))) == an_evidence()
    later = an_evidence(
        as_of=NOW + timedelta(seconds=5),
        matches=(ReferenceMatch("snp.measurement", "bb"), ReferenceMatch("tcb", "milan")),
    )
    peopled.write(lambda tx: tx.evidence.put(later))
    assert peopled.read(lambda tx: tx.evidence.find(hex_id("node"))) == later

    def matching(kind: str, key: str) -> tuple[str, ...]:
        return peopled.read(lambda tx: tx.evidence.matching(kind, key, limit=9)).items

    assert matching("snp.measurement", "aa" * 48) == ()
    assert matching("snp.measurement", "bb") == matching("tcb", "milan") == (hex_id("node"),)


def test_matches_that_stay_are_kept_and_those_of_other_nodes_are_left_alone(
    peopled: SqliteDatabase,
) -> None:
    peopled.write(lambda tx: tx.nodes.add(a_node("other")))
    peopled.write(lambda tx: tx.evidence.put(an_evidence("other")))
    many = tuple(ReferenceMatch("file", f"{n:064x}") for n in range(50))
    for matches in (many[:40], many[10:], many[10:], ()):
        later = an_evidence(matches=matches)
        peopled.write(lambda tx, e=later: tx.evidence.put(e))
        assert peopled.read(lambda tx: tx.evidence.find(hex_id("node"))) == later
    assert peopled.read(lambda tx: tx.evidence.find(hex_id("other"))) == an_evidence("other")


def test_what_is_kept_of_a_runtime_log_is_replaced(peopled: SqliteDatabase) -> None:
    node_id = hex_id("node")
    assert peopled.read(lambda tx: tx.runtime_logs.find(node_id)) is None
    assert peopled.read(lambda tx: tx.runtime_logs.digest(node_id)) is None
    for kept in (a_runtime_log(), a_runtime_log(state=b"later")):
        peopled.write(lambda tx, k=kept: tx.runtime_logs.put(k))
        assert peopled.read(lambda tx: tx.runtime_logs.find(node_id)) == kept
        assert peopled.read(lambda tx: tx.runtime_logs.digest(node_id)) == kept.digest
    assert "later" not in repr(kept)


@pytest.mark.parametrize("exposure", [Closed(), Bounded(NOW), Open("integrity failure")])
def test_every_exposure_comes_back(peopled: SqliteDatabase, exposure: Exposure) -> None:
    lease = a_lease(exposure=exposure)
    peopled.write(lambda tx: tx.leases.add(lease, ()))
    assert peopled.read(lambda tx: tx.leases.get("lease-1")) == lease
    ended = replace(lease, state=LeaseState.ended, ended=NOW, end_cause="revoked")
    for changed in (Open("chip broken"), Closed(), Bounded(NOW)):
        saved = replace(ended, exposure=changed)
        peopled.write(lambda tx, record=saved: tx.leases.save(record))
        assert peopled.read(lambda tx: tx.leases.get("lease-1")) == saved


def test_a_node_holds_one_active_lease_of_a_workload(peopled: SqliteDatabase) -> None:
    peopled.write(lambda tx: tx.leases.add(a_lease(), ()))
    second = a_lease("lease-2")
    assert code_of(lambda: peopled.write(lambda tx: tx.leases.add(second, ())), Conflict)
    ended = replace(a_lease(), state=LeaseState.ended, ended=NOW)

    def succeed(tx: Transaction) -> None:
        tx.leases.save(ended)
        tx.leases.add(second, ())

    peopled.write(succeed)
    assert peopled.read(lambda tx: tx.leases.active_of_node(hex_id("node"))) == (second,)
    assert peopled.read(lambda tx: tx.leases.count_active("classify")) == 1
    assert peopled.read(lambda tx: tx.leases.page(limit=9, active=False)).items == (ended,)
    found = peopled.read(lambda tx: tx.leases.page(limit=9, node_id=hex_id("node")))
    assert found.items == (ended, second)


def test_leases_lapse_at_their_horizon_and_not_before(peopled: SqliteDatabase) -> None:
    lease = a_lease()
    peopled.write(lambda tx: tx.leases.add(lease, ()))

    def lapsed(after_ms: int) -> tuple[object, ...]:
        instant = lease.not_after + timedelta(milliseconds=after_ms)
        return peopled.read(lambda tx: tx.leases.lapsed(instant, limit=9))

    assert lapsed(-1) == ()
    assert lapsed(0) == (lease,)
    peopled.write(lambda tx: tx.leases.save(replace(lease, state=LeaseState.ended)))
    assert lapsed(0) == ()


def test_the_ledger_names_every_lease_that_held_a_version(peopled: SqliteDatabase) -> None:
    def line(version: int) -> LeasedModel:
        return LeasedModel("lease-1", "magika", version, hex_id(str(version))[:32])

    peopled.write(lambda tx: tx.leases.add(a_lease(), [line(1)]))
    peopled.write(lambda tx: tx.leases.add_models([line(1), line(2)]))
    assert peopled.read(lambda tx: tx.leases.models("lease-1")) == (line(1), line(2))

    def held(workload: str, version: int) -> tuple[str, ...]:
        page = peopled.read(lambda tx: tx.leases.exposures(workload, "magika", version, limit=9))
        return tuple(lease.lease_id for lease in page.items)

    assert held("classify", 2) == ("lease-1",)
    assert held("classify", 3) == held("other", 2) == ()


def test_terms_are_read_in_sequence(peopled: SqliteDatabase) -> None:
    for sequence in (3, 1, 2):
        peopled.write(lambda tx, n=sequence: tx.terms.add(some_terms(n)))
    above = peopled.read(lambda tx: tx.terms.after(hex_id("node"), 1, limit=9))
    assert [terms.sequence for terms in above] == [2, 3]
    assert peopled.read(lambda tx: tx.terms.latest(hex_id("node"))) == some_terms(3)
    assert peopled.read(lambda tx: tx.terms.latest("other")) is None


def test_a_platform_is_unknown_until_it_is_put(database: SqliteDatabase) -> None:
    assert database.read(lambda tx: tx.platforms.find(hex_id("chip"))) is None
    for state in PlatformState:
        platform = replace(a_platform(), state=state)
        database.write(lambda tx, p=platform: tx.platforms.put(p))
        assert database.read(lambda tx: tx.platforms.page(limit=9)).items == (platform,)


def test_an_anchor_is_in_force_until_it_is_removed(database: SqliteDatabase) -> None:
    kept, gone = a_trust_anchor("kept"), a_trust_anchor("gone")
    kind = AnchorKind.tpm_ek
    assert database.read(lambda tx: tx.trust_anchors.find(kind, gone.fingerprint)) is None
    for anchor in (kept, gone):
        database.write(lambda tx, a=anchor: tx.trust_anchors.put(a))
    removed = replace(gone, removed=NOW + timedelta(days=1))
    database.write(lambda tx: tx.trust_anchors.put(removed))
    assert database.read(lambda tx: tx.trust_anchors.in_force(kind)) == (kept,)
    assert database.read(lambda tx: tx.trust_anchors.find(kind, gone.fingerprint)) == removed
    whole = database.read(lambda tx: tx.trust_anchors.page(limit=9)).items
    assert whole == tuple(sorted((kept, removed), key=lambda anchor: anchor.fingerprint))


def test_nodes_are_found_by_the_beginning_of_their_platform(database: SqliteDatabase) -> None:
    def fill(tx: Transaction) -> None:
        for name, platform in (
            ("a", "tpm:ek:00"),
            ("b", "tpm:ek:ff"),
            ("c", "tpm:ek:00"),
            ("snp", "snp:chip:00"),
            ("before", "tpm:ek"),
            ("after", "tpm:ek;"),
            ("masked", None),
        ):
            tx.nodes.add(a_node(name, platform_id=platform))

    database.write(fill)
    wanted = [*sorted((hex_id("a"), hex_id("c"))), hex_id("b")]
    for limit in (1, 2, 3, 9):
        found: list[str] = []
        after: str | None = None
        while True:
            page = database.read(
                lambda tx, n=limit, a=after: tx.nodes.on_platforms("tpm:ek:", limit=n, after=a)
            )
            found += page.items
            after = page.after
            if after is None:
                break
        assert found == wanted


def test_the_newest_workload_key_is_the_one_of_the_highest_version(
    peopled: SqliteDatabase,
) -> None:
    for version in (1, 10, 2):
        peopled.write(lambda tx, v=version: tx.workloads.add_key(a_workload_key(version=v)))
    assert peopled.read(lambda tx: tx.workloads.latest_key("classify")).version == 10


def test_workloads_and_models_are_saved_whole(peopled: SqliteDatabase) -> None:
    peopled.write(lambda tx: tx.models.add(a_model()))
    workload = replace(a_workload(), max_instances=None, ttl=timedelta(milliseconds=1500))
    model = replace(a_model(), state=ModelState.withdrawn)
    peopled.write(lambda tx: (tx.workloads.save(workload), tx.models.save(model)))
    assert peopled.read(lambda tx: tx.workloads.page(limit=9)).items == (workload,)
    listed = peopled.read(
        lambda tx: [tx.models.page("classify", limit=9, state=state).items for state in ModelState]
    )
    assert listed == [(), (model,)]


def test_roles_are_replaced_whole(peopled: SqliteDatabase) -> None:
    changed = replace(a_principal(), roles=(Role.viewer,), disabled=NOW)
    peopled.write(lambda tx: tx.principals.save(changed))
    assert peopled.read(lambda tx: tx.principals.page(limit=9)).items == (changed,)
    same_name = replace(a_principal(), principal_id="p-2")
    assert code_of(lambda: peopled.write(lambda tx: tx.principals.add(same_name)), Conflict)


def test_a_single_use_token_is_spent_once(peopled: SqliteDatabase) -> None:
    peopled.write(lambda tx: tx.tokens.add(a_token()))
    peopled.write(lambda tx: tx.tokens.use("token-1", NOW))
    again = code_of(lambda: peopled.write(lambda tx: tx.tokens.use("token-1", NOW)), Refused)
    assert again is Code.token_spent
    peopled.write(lambda tx: tx.tokens.revoke("token-1", NOW))
    peopled.write(lambda tx: tx.tokens.revoke("token-1", NOW + timedelta(hours=1)))
    stored = peopled.read(lambda tx: tx.tokens.page(limit=9)).items
    assert stored == (replace(a_token(), used=NOW, revoked=NOW),)


def test_a_join_token_admits_one_node(database: SqliteDatabase) -> None:
    database.write(lambda tx: tx.join_tokens.add(a_join_token()))
    database.write(lambda tx: tx.join_tokens.use("join-1", "node-a", NOW))
    spent = code_of(
        lambda: database.write(lambda tx: tx.join_tokens.use("join-1", "node-b", NOW)), Refused
    )
    unknown = code_of(
        lambda: database.write(lambda tx: tx.join_tokens.use("join-2", "node-b", NOW)), Refused
    )
    assert (spent, unknown) == (Code.join_token_spent, Code.join_token_invalid)
    stored = database.read(lambda tx: tx.join_tokens.page(limit=9)).items
    assert stored == (replace(a_join_token(), used=NOW, used_by="node-a"),)


def test_decisions_are_listed_by_node_both_ways(database: SqliteDatabase) -> None:
    for number in range(3):
        database.write(lambda tx, n=number: tx.decisions.add(a_decision(f"d{n}")))
    database.write(lambda tx: tx.decisions.add(a_decision("d9", node="other")))
    page = database.read(lambda tx: tx.decisions.page(limit=9, node_id=hex_id("node")))
    assert [d.decision_id for d in page.items] == ["d0", "d1", "d2"]
    newest = database.read(lambda tx: tx.decisions.latest(hex_id("node"), limit=2))
    assert [d.decision_id for d in newest] == ["d2", "d1"]


def test_a_sweep_goes_on_where_it_stopped(database: SqliteDatabase) -> None:
    database.write(lambda tx: tx.sweeps.add(a_sweep()))
    half = replace(a_sweep(), cursor="node-5", affected=5)
    database.write(lambda tx: tx.sweeps.save(half))
    assert database.read(lambda tx: tx.sweeps.running()) == (half,)
    done = replace(half, state=SweepState.done, done=NOW)
    database.write(lambda tx: tx.sweeps.save(done))
    assert database.read(lambda tx: tx.sweeps.running()) == ()
    assert database.read(lambda tx: tx.sweeps.page(limit=9)).items == (done,)


def test_a_database_is_marked_once(database: SqliteDatabase) -> None:
    marker = SystemMarker(
        kind=SystemKind.development, trust_domain="dev.invalid", generation=1, created=NOW
    )
    assert database.read(lambda tx: tx.system.find()) is None
    database.write(lambda tx: tx.system.initialise(marker))
    other = replace(marker, kind=SystemKind.production)
    code = code_of(lambda: database.write(lambda tx: tx.system.initialise(other)), Conflict)
    assert code is Code.already_exists
    assert database.write(lambda tx: tx.system.raise_generation()) == 2
    assert database.read(lambda tx: tx.system.find()) == replace(marker, generation=2)


def test_a_label_name_cannot_occur_twice(database: SqliteDatabase) -> None:
    twice = a_node(labels_assigned=(("a", "1"), ("a", "2")))
    with pytest.raises(Exception, match="occurs twice"):
        database.write(lambda tx: tx.nodes.add(twice))
