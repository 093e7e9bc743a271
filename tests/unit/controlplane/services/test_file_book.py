"""Reference values of files: read strictly, asked once for a fleet, never believed for too long."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from fakes.admin_plane import START, AdminPlane

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.nodes import ReferenceMatch
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.services import reference_documents
from sealward.controlplane.services.file_book import FileBook, KnownFiles
from sealward.controlplane.services.ports import Transaction

A, B, C = "0a" * 32, "0b" * 48, "0c" * 64


def item(key: object = A, **value: object) -> dict[str, object]:
    return {"kind": "file", "key": key, "value": {"name": "/usr/bin/agent", **value}}


def document(*items: dict[str, object], name: str = "files", ends: str | None = None) -> bytes:
    return json.dumps({"name": name, "not_after": ends, "values": list(items)}).encode()


# Documents.


@pytest.mark.parametrize("key", [A, B, C])
def test_a_file_is_read_as_it_was_written(key: str) -> None:
    (read,) = reference_documents.read(document(item(key))).values
    assert (read.kind, read.key, read.value) == ("file", key, '{"name":"/usr/bin/agent"}')


@pytest.mark.parametrize(
    "wrong",
    [
        item("0a" * 20),
        item("0a" * 33),
        item("0A" * 32),
        item(f"sha256:{A}"),
        item(None),
        item(name=""),
        item(name="a\nb"),
        item(name=7),
        item(components=[]),
        {"kind": "file", "key": A, "value": {}},
    ],
)
def test_what_does_not_name_a_file_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Refused) as caught:
        reference_documents.read(document(wrong))
    assert caught.value.code is Code.reference_invalid


# The book.


@dataclass
class Asking:
    """A book on a plane, and how many digests reached the database."""

    plane: AdminPlane
    book: FileBook = field(default_factory=FileBook)
    asked: list[str] = field(default_factory=list)

    def known(self, *digests: str, now: datetime = START, epoch: int | None = None) -> KnownFiles:
        def read(tx: Transaction) -> KnownFiles:
            at = tx.epochs.read([fences.REFERENCE])[fences.REFERENCE] if epoch is None else epoch
            return self.book.known(Counting(tx, self.asked), digests, epoch=at, now=now)  # type: ignore[arg-type]  # what the book asks of it

        return self.plane.database.read(read)


class Counting:
    """A transaction whose references note what they are asked for."""

    def __init__(self, tx: Transaction, asked: list[str]) -> None:
        self.tenant, self._tx, self._asked = tx.tenant, tx, asked

    @property
    def references(self) -> Counting:
        return self

    def get_set(self, name: str) -> object:
        return self._tx.references.get_set(name)

    def standing(self, kind: str, keys: Iterable[str], now: datetime) -> object:
        wanted = tuple(keys)
        self._asked.extend(wanted)
        return self._tx.references.standing(kind, wanted, now)


@pytest.fixture
def alice(plane: AdminPlane) -> Principal:
    return plane.administrator().principal


def test_a_digest_is_asked_for_once_under_one_fence(plane: AdminPlane, alice: Principal) -> None:
    references = plane.services.references
    references.import_set(alice, document(item(A), item(B)), activate=True)
    asking = Asking(plane)
    for _ in range(2):
        assert asking.known(A, C).matches == (ReferenceMatch("file", A),)
    assert asking.known(B, A).digests == {A, B}
    assert asking.asked == [A, C, B]
    references.withdraw(alice, "files", "file", A, reason="a test")
    assert asking.known(A, B).digests == {B}
    references.reinstate(alice, "files", "file", A, reason="a test")
    references.import_set(alice, document(item(C), name="more"), activate=True)
    assert [one.name for one in asking.known(A, B, C).sets] == ["files", "more"]
    assert asking.known().matches == ()


def test_the_end_of_a_set_moves_no_fence_and_counts(plane: AdminPlane, alice: Principal) -> None:
    later = START + timedelta(hours=1)
    ends = later.strftime("%Y-%m-%dT%H:%M:%SZ")
    references = plane.services.references
    references.import_set(alice, document(item(A), item(B), ends=ends), activate=True)
    references.import_set(alice, document(item(B), name="more"), activate=True)
    asking = Asking(plane)
    before = asking.known(A, B, now=later - timedelta(milliseconds=1))
    assert before.digests == {A, B}
    assert len(before.sets) == 2
    after = asking.known(A, B, now=later)
    assert after.digests == {B}
    assert [one.name for one in after.sets] == ["more"]
    assert asking.asked == [A, B]


def test_an_answer_of_a_snapshot_that_is_over_is_not_kept(
    plane: AdminPlane, alice: Principal
) -> None:
    plane.services.references.import_set(alice, document(item(A)), activate=True)
    asking = Asking(plane)
    for epoch in (2, 1, 1, 2):
        assert asking.known(A, epoch=epoch).digests == {A}
    assert len(asking.asked) == 3, "of epoch 2 once, of the older one each time"


def test_a_full_book_begins_anew_and_answers_the_same(plane: AdminPlane, alice: Principal) -> None:
    plane.services.references.import_set(alice, document(item(A)), activate=True)
    many = tuple(f"{n:064x}" for n in range(10))
    asking = Asking(plane, FileBook(most=10))
    assert asking.known(*many).matches == ()
    assert asking.known(A).digests == {A}
    assert asking.known(A, *many[:9]).digests == {A}
    assert asking.asked == [*many, A, *many[:9]]
    assert asking.known(*many).matches == ()
