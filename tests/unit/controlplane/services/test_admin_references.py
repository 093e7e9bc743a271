"""Reference sets: what a document must be, and what each change of force leaves behind."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from fakes.admin_plane import START, AdminPlane
from fakes.admin_requests import MEASUREMENT, REFERENCE_SET
from hypothesis import given, settings
from hypothesis import strategies as st

from sealward.controlplane.domain.errors import Code, Conflict, NotFound, Refused
from sealward.controlplane.domain.principals import Role
from sealward.controlplane.domain.reference_values import (
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_VALUES,
    ReferenceSetState,
    ReferenceValueState,
)
from sealward.controlplane.services import reference_documents
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.references import TRANSITIONS

DOCUMENT = json.dumps(REFERENCE_SET).encode()


def changed(path: tuple[str | int, ...], value: object) -> bytes:
    """Return the document with one member replaced."""
    document: Any = copy.deepcopy(REFERENCE_SET)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(document).encode()


def epoch(plane: AdminPlane) -> int:
    return plane.database.read(lambda tx: tx.epochs.read(["reference"])["reference"])


def kinds(plane: AdminPlane) -> list[str]:
    entries = plane.database.read(lambda tx: tx.audit.page(limit=1000)).items
    return sorted(entry.kind for entry in entries)


def test_a_document_is_read_with_the_digest_of_its_bytes() -> None:
    read = reference_documents.read(DOCUMENT)
    assert read.digest == hashlib.sha256(DOCUMENT).hexdigest()
    assert [(v.kind, v.key) for v in read.values] == [
        ("measurement", MEASUREMENT),
        ("tcb_floor", "snp/Milan"),
    ]
    assert read.values[1].value == '{"bootloader":3,"snp":22}'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "Not A Name"),
        (("name",), ""),
        (("not_after",), "2027-01-01"),
        (("not_after",), "2027-01-01T00:00:00+00:00"),
        (("not_after",), "2027-13-01T00:00:00Z"),
        (("not_after",), 1),
        (("values",), []),
        (("values",), {}),
        (("values", 0, "kind"), "anything"),
        (("values", 0, "key"), "0A" * 48),
        (("values", 0, "key"), "0a" * 47),
        (("values", 0, "key"), "zz" * 48),
        (("values", 0, "key"), 7),
        (("values", 0, "value"), {}),
        (("values", 0, "value", "name"), ""),
        (("values", 0, "value", "name"), "a\u202eb"),
        (("values", 0, "value", "name"), "a" * 501),
        (("values", 0, "value", "components"), []),
        (("values", 0, "value", "components"), ["kernel", "kernel"]),
        (("values", 0, "value", "components"), ["kernel", "moon"]),
        (("values", 0, "value", "components"), ["kernel", 1]),
        (("values", 0, "value", "components"), [["kernel"]]),
        (("values", 0, "value", "clock"), "host"),
        (("values", 0, "value", "clock"), False),
        (("values", 0, "value", "trust_config"), None),
        (("values", 0, "value", "trust_config"), ["image"]),
        (("values", 0, "value", "not_after"), None),
        (("values", 1, "key"), "Milan"),
        (("values", 1, "key"), "snp/"),
        (("values", 1, "value"), {}),
        (("values", 1, "value", "snp"), -1),
        (("values", 1, "value", "snp"), 65536),
        (("values", 1, "value", "snp"), 1.0),
        (("values", 1, "value", "snp"), True),
        (("values", 1, "value", "SNP"), 1),
        (("values", 1), REFERENCE_SET["values"][0]),
        (("extra",), 1),
    ],
)
def test_what_is_not_a_reference_set_is_refused_with_a_reason(
    path: tuple[str | int, ...], value: object
) -> None:
    with pytest.raises(Refused) as caught:
        reference_documents.read(changed(path, value))
    assert caught.value.code is Code.reference_invalid
    assert caught.value.detail
    assert caught.value.hint


def test_beyond_its_budgets_nothing_is_read() -> None:
    with pytest.raises(Refused):
        reference_documents.read(b" " * (MAX_DOCUMENT_BYTES + 1))
    value = REFERENCE_SET["values"][1]
    many = [value] * (MAX_DOCUMENT_VALUES + 1)
    with pytest.raises(Refused, match="list of 1 to"):
        reference_documents.read(changed(("values",), many))


@settings(max_examples=150, deadline=None)
@given(
    at=st.integers(0, len(DOCUMENT) - 1),
    new=st.binary(max_size=4),
    drop=st.integers(0, 6),
)
def test_any_change_of_bytes_is_a_document_or_one_refusal(at: int, new: bytes, drop: int) -> None:
    mutated = DOCUMENT[:at] + new + DOCUMENT[at + drop :]
    try:
        code, digest = None, reference_documents.read(mutated).digest
    except Refused as error:
        code, digest = error.code, None
    assert (code, digest) in {
        (Code.reference_invalid, None),
        (None, hashlib.sha256(mutated).hexdigest()),
    }


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "not_after", "values", "kind", "key", "value"]), inner
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_a_document_or_one_refusal(value: object) -> None:
    with pytest.raises(Refused) as caught:
        reference_documents.read(json.dumps(value).encode())
    assert caught.value.code is Code.reference_invalid


def test_import_in_force_fences_and_wakes(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    before = epoch(plane)
    made = plane.services.references.import_set(alice, DOCUMENT, activate=True)
    assert made.state is ReferenceSetState.active
    assert epoch(plane) == before + 1
    assert plane.wake.calls == 1
    matching = plane.database.read(
        lambda tx: tx.references.matching([("measurement", MEASUREMENT)], START)
    )
    assert [value.key for value in matching] == [MEASUREMENT]


def test_a_staged_set_matches_nothing_until_it_is_activated(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    plane.services.references.import_set(alice, DOCUMENT, activate=False)
    wanted = [("measurement", MEASUREMENT)]
    assert not plane.database.read(lambda tx: tx.references.matching(wanted, START))
    assert (epoch(plane), plane.wake.calls) == (0, 0)
    plane.services.references.activate(alice, "agents")
    assert plane.database.read(lambda tx: tx.references.matching(wanted, START))
    assert (epoch(plane), plane.wake.calls) == (1, 1)


def test_a_withdrawn_value_matches_nothing_and_stays_on_record(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    references = plane.services.references
    references.import_set(alice, DOCUMENT, activate=True)
    withdrawn = references.withdraw(alice, "agents", "measurement", MEASUREMENT, reason="leaked")
    assert withdrawn.withdraw_reason == "leaked"
    wanted = [("measurement", MEASUREMENT)]
    assert not plane.database.read(lambda tx: tx.references.matching(wanted, START))
    assert epoch(plane) == 2
    sweeps = plane.database.read(lambda tx: tx.sweeps.running())
    assert sum(MEASUREMENT in sweep.cause for sweep in sweeps) == 1
    assert "reference_value.withdrawn" in kinds(plane)
    with pytest.raises(Conflict):
        references.withdraw(alice, "agents", "measurement", MEASUREMENT, reason="again")
    assert epoch(plane) == 2
    with pytest.raises(NotFound):
        references.withdraw(alice, "agents", "measurement", "00" * 48, reason="unknown")


WANTED = [("measurement", MEASUREMENT)]


@pytest.mark.parametrize("other", ["active", "staged", "imported later", "revoked"])
def test_a_withdrawn_value_is_in_force_in_no_other_set(plane: AdminPlane, other: str) -> None:
    alice = plane.administrator().principal
    references = plane.services.references
    again = changed(("name",), "again")
    references.import_set(alice, DOCUMENT, activate=True)
    if other != "imported later":
        references.import_set(alice, again, activate=other != "staged")
    references.withdraw(alice, "agents", "measurement", MEASUREMENT, reason="rootkit")
    if other == "imported later":
        before = plane.row_counts()
        with pytest.raises(Refused) as caught:
            references.import_set(alice, again, activate=True)
        assert caught.value.code is Code.reference_withdrawn
        assert MEASUREMENT in caught.value.detail
        assert "reinstate" in caught.value.hint
        assert plane.row_counts() == before
    elif other == "staged":
        references.activate(alice, "again")
    elif other == "revoked":
        # That the set it was withdrawn from goes away gives nothing back.
        references.revoke(alice, "agents", reason="replaced")
    assert not plane.database.read(lambda tx: tx.references.matching(WANTED, START))
    if other != "imported later":
        shown = references.values(alice, "again", limit=9, after=None).items[0]
        assert (shown.key, shown.state, shown.withdraw_reason) == (
            MEASUREMENT,
            ReferenceValueState.withdrawn,
            "rootkit",
        )


def test_an_import_that_a_withdrawal_could_not_see_is_in_force_nowhere(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    references = plane.services.references
    references.import_set(alice, DOCUMENT, activate=True)
    references.withdraw(alice, "agents", "measurement", MEASUREMENT, reason="rootkit")
    unseen = reference_documents.read(changed(("name",), "unseen"))

    def add(tx: Transaction) -> None:
        agents = tx.references.get_set("agents")
        tx.references.add_set(replace(agents, name="unseen"), unseen.values)

    plane.database.write(add)
    assert not plane.database.read(lambda tx: tx.references.matching(WANTED, START))


def test_only_a_reinstatement_on_record_takes_a_withdrawal_back(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    references = plane.services.references
    references.import_set(alice, DOCUMENT, activate=True)
    references.import_set(alice, changed(("name",), "again"), activate=True)
    with pytest.raises(Conflict):
        references.reinstate(alice, "agents", "measurement", MEASUREMENT, reason="never withdrawn")
    references.withdraw(alice, "agents", "measurement", MEASUREMENT, reason="leaked")
    operator = replace(alice, roles=frozenset({Role.operator}))
    before = (epoch(plane), kinds(plane))
    for who, reason in ((operator, "a slip"), (alice, "")):
        with pytest.raises(Refused):
            references.reinstate(who, "agents", "measurement", MEASUREMENT, reason=reason)
    with pytest.raises(NotFound):
        references.reinstate(alice, "agents", "measurement", "00" * 48, reason="unknown")
    assert (epoch(plane), kinds(plane)) == before
    back = references.reinstate(alice, "again", "measurement", MEASUREMENT, reason="false alarm")
    assert (back.state, back.withdrawn, back.withdraw_reason) == (
        ReferenceValueState.active,
        None,
        "",
    )
    found = plane.database.read(lambda tx: tx.references.matching(WANTED, START))
    assert [value.set_name for value in found] == ["again", "agents"]
    assert epoch(plane) == before[0] + 1
    entries = plane.database.read(lambda tx: tx.audit.page(limit=100)).items
    (told,) = [e for e in entries if e.kind == "reference_value.reinstated"]
    assert "false alarm" in str(told.body)
    # From here on everything goes again, a new withdrawal included.
    references.import_set(alice, changed(("name",), "third"), activate=True)
    references.withdraw(alice, "third", "measurement", MEASUREMENT, reason="leaked after all")
    assert not plane.database.read(lambda tx: tx.references.matching(WANTED, START))


def test_an_end_that_has_passed_is_refused_and_a_new_one_fences(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    past = changed(("not_after",), "2026-11-23T11:59:59Z")
    with pytest.raises(Refused):
        plane.services.references.import_set(alice, past, activate=True)
    plane.services.references.import_set(alice, DOCUMENT, activate=True)
    plane.services.references.expire(alice, "agents", START)
    wanted = [("measurement", MEASUREMENT)]
    assert not plane.database.read(lambda tx: tx.references.matching(wanted, START))
    assert epoch(plane) == 2


@pytest.mark.parametrize("state", ReferenceSetState)
@pytest.mark.parametrize("to", [ReferenceSetState.active, ReferenceSetState.revoked])
def test_every_move_of_a_set_is_in_the_table_or_a_refusal(
    plane: AdminPlane, state: ReferenceSetState, to: ReferenceSetState
) -> None:
    alice = plane.administrator().principal
    references = plane.services.references
    references.import_set(alice, DOCUMENT, activate=False)
    plane.database.write(
        lambda tx: tx.references.save_set(replace(tx.references.get_set("agents"), state=state))
    )
    before = (epoch(plane), kinds(plane))

    def move() -> ReferenceSetState:
        if to is ReferenceSetState.active:
            return references.activate(alice, "agents").state
        return references.revoke(alice, "agents", reason="because").state

    if to in TRANSITIONS[state]:
        assert move() is to
        assert epoch(plane) == before[0] + 1
    else:
        with pytest.raises(Conflict):
            move()
        assert (epoch(plane), kinds(plane)) == before
