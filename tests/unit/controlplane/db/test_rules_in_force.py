"""Reference values and policies are in force exactly when their records say so."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.state import (
    NOW,
    a_set,
    a_value,
    an_activation,
    code_of,
)
from sqlalchemy.dialects import sqlite

from sealward.controlplane.adapters.db import references
from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.domain.activations import ActivationMode, ActivationState
from sealward.controlplane.domain.errors import Code, Conflict, NotFound
from sealward.controlplane.domain.reference_values import ReferenceSetState, ReferenceValueState


@pytest.mark.parametrize(
    ("state", "not_after", "matches"),
    [
        (ReferenceSetState.staged, None, 0),
        (ReferenceSetState.active, None, 1),
        (ReferenceSetState.draining, None, 1),
        (ReferenceSetState.revoked, None, 0),
        (ReferenceSetState.active, NOW + timedelta(milliseconds=1), 1),
        (ReferenceSetState.active, NOW, 0),
    ],
)
def test_only_values_in_force_match(
    database: SqliteDatabase, state: ReferenceSetState, not_after: object, matches: int
) -> None:
    database.write(
        lambda tx: tx.references.add_set(a_set(state=state, not_after=not_after), [a_value()])
    )
    wanted = [("snp.measurement", "aa" * 48), ("snp.measurement", "bb"), ("other", "aa" * 48)]
    expected = (a_value(),) * matches
    assert database.read(lambda tx: tx.references.matching(wanted, NOW)) == expected
    assert database.read(lambda tx: tx.references.matching([], NOW)) == ()
    keys = ["aa" * 48, "bb", *map(str, range(600))]  # more than one statement asks for
    standing = database.read(lambda tx: tx.references.standing("snp.measurement", keys, NOW))
    assert standing == (("aa" * 48, "golden"),) * matches
    assert database.read(lambda tx: tx.references.standing("other", keys, NOW)) == ()
    assert database.read(lambda tx: tx.references.standing("snp.measurement", [], NOW)) == ()


def test_every_key_asked_for_is_found_in_every_set(database: SqliteDatabase) -> None:
    keys = [f"{n:064x}" for n in range(600)]
    for name in ("a", "b"):
        values = [a_value(key, name) for key in keys[:: 1 if name == "a" else 2]]
        database.write(lambda tx, n=name, v=values: tx.references.add_set(a_set(n), v))
    found = database.read(lambda tx: tx.references.standing("snp.measurement", keys[300:], NOW))
    expected = {(key, "a") for key in keys[300:]} | {(key, "b") for key in keys[300::2]}
    assert found == tuple(sorted(expected))


def test_a_withdrawn_value_matches_nothing_and_stays_on_record(database: SqliteDatabase) -> None:
    database.write(lambda tx: tx.references.add_set(a_set(), [a_value()]))
    gone = replace(
        a_value(), state=ReferenceValueState.withdrawn, withdrawn=NOW, withdraw_reason="cve"
    )
    database.write(
        lambda tx: tx.references.withdraw_value("snp.measurement", "aa" * 48, NOW, "cve")
    )
    wanted = [("snp.measurement", "aa" * 48)]
    assert database.read(lambda tx: tx.references.matching(wanted, NOW)) == ()
    assert (
        database.read(lambda tx: tx.references.standing("snp.measurement", ["aa" * 48], NOW)) == ()
    )
    stored = database.read(
        lambda tx: tx.references.get_value("golden", "snp.measurement", "aa" * 48)
    )
    assert stored == gone
    assert database.read(lambda tx: tx.references.of_kind("golden", "snp.measurement")) == (gone,)


def test_the_values_of_one_kind_in_a_set_are_listed_by_key(database: SqliteDatabase) -> None:
    values = [a_value("bb" * 48), a_value(), replace(a_value("cc" * 48), kind="tcb")]
    database.write(lambda tx: tx.references.add_set(a_set(), values))
    database.write(lambda tx: tx.references.add_set(a_set("other"), [a_value("dd" * 48, "other")]))
    found = database.read(lambda tx: tx.references.of_kind("golden", "snp.measurement"))
    assert found == (values[1], values[0])
    assert database.read(lambda tx: tx.references.of_kind("golden", "pcr")) == ()
    assert database.read(lambda tx: tx.references.of_kind("absent", "tcb")) == ()


def test_withdrawing_and_what_depends_on_it_are_answered_from_indexes(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    database.write(lambda tx: tx.references.add_set(a_set(), [a_value()]))
    dialect = sqlite.dialect(paramstyle="qmark")
    (file,) = tmp_path.glob("**/*.db")
    with closing(sqlite3.connect(file)) as connection:
        for name in ("_MATCHING", "_STANDING", "_WITHDRAWN_IN_SET", "_OF_KIND", "_MARK"):
            text = getattr(references, name)._for(dialect).text  # noqa: SLF001 - the text as it runs
            values = [None] * text.count("?")
            plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
            steps = [str(step[3]) for step in plan]
            assert any(step.startswith("SEARCH") for step in steps), text
            assert not any(step.startswith("SCAN") for step in steps), steps


def test_a_set_changes_state_and_is_listed_by_it(database: SqliteDatabase) -> None:
    database.write(lambda tx: tx.references.add_set(a_set(), ()))
    draining = a_set(state=ReferenceSetState.draining)
    database.write(lambda tx: tx.references.save_set(draining))
    listed = database.read(
        lambda tx: [tx.references.sets(limit=9, state=state).items for state in ReferenceSetState]
    )
    assert listed == [(), (), (draining,), ()]


def test_an_activation_replaces_exactly_the_one_it_names(peopled: SqliteDatabase) -> None:
    peopled.write(lambda tx: tx.policies.activate(an_activation("one")))
    for replaces in (None, "zero"):
        wrong = an_activation("two", replaces=replaces)
        code = code_of(lambda a=wrong: peopled.write(lambda tx: tx.policies.activate(a)), Conflict)
        assert code is Code.activation_replaced
    peopled.write(lambda tx: tx.policies.activate(an_activation("two", replaces="one")))
    shadow = replace(an_activation("shadow"), mode=ActivationMode.shadow)
    peopled.write(lambda tx: tx.policies.activate(shadow))
    active = peopled.read(lambda tx: tx.policies.active("appraisal"))
    assert [a.activation_id for a in active] == ["two", "shadow"]
    one = peopled.read(lambda tx: tx.policies.activations(limit=1)).items[0]
    assert (one.activation_id, one.state, one.ended) == ("one", ActivationState.ended, NOW)
    peopled.write(lambda tx: tx.policies.end("two", NOW))
    code = code_of(lambda: peopled.write(lambda tx: tx.policies.end("two", NOW)), Conflict)
    assert code is Code.state_changed
    assert peopled.read(lambda tx: tx.policies.active()) == (shadow,)
    assert len(peopled.read(lambda tx: tx.policies.activations(limit=9)).items) == 3


def test_an_activation_needs_its_revision(peopled: SqliteDatabase) -> None:
    unknown = an_activation("one", revision="absent")
    assert code_of(lambda: peopled.write(lambda tx: tx.policies.activate(unknown)), NotFound)
