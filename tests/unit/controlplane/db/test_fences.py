"""A challenge counts once, and a decision only under the epochs that it was made under."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.state import NOW, database_url

from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.services.ports import Transaction

NONCE = "ab" * 32


def test_a_challenge_answered_50_times_at_once_counts_once(
    database: SqliteDatabase, tmp_path: Path
) -> None:
    """Even on two processes' writers, as two handles on one file stand for."""
    second = SqliteDatabase(database_url(tmp_path))

    def answer(number: int) -> Code | None:
        handle = (database, second)[number % 2]
        try:
            handle.write(lambda tx: tx.challenges.spend(NONCE, NOW))
        except Refused as error:
            return error.code
        return None

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(answer, range(50)))
    second.close()
    assert answers.count(None) == 1
    assert answers.count(Code.challenge_spent) == 49


def test_a_challenge_is_spent_also_when_another_unit_of_the_commit_fails(
    database: SqliteDatabase,
) -> None:
    def fail(tx: Transaction) -> None:
        tx.challenges.spend(NONCE, NOW)
        raise LookupError

    with pytest.raises(LookupError):
        database.write(fail)
    database.write(lambda tx: tx.challenges.spend(NONCE, NOW))


def test_spent_challenges_are_kept_until_they_expire(database: SqliteDatabase) -> None:
    def spend(tx: Transaction) -> None:
        for number in range(5):
            tx.challenges.spend(f"{number:064x}", NOW + timedelta(seconds=number))

    database.write(spend)
    now = NOW + timedelta(seconds=3)
    assert database.write(lambda tx: tx.challenges.purge(now, limit=2)) == 2
    assert database.write(lambda tx: tx.challenges.purge(now, limit=2)) == 1
    assert database.write(lambda tx: tx.challenges.purge(now, limit=2)) == 0
    with pytest.raises(Refused):
        database.write(lambda tx: tx.challenges.spend(f"{3:064x}", now))


def test_a_decision_under_an_epoch_that_moved_does_not_commit(database: SqliteDatabase) -> None:
    seen = database.read(lambda tx: tx.epochs.read(["policy", "node:1"]))
    assert seen == {"policy": 0, "node:1": 0}
    database.write(lambda tx: tx.epochs.require(seen))
    assert database.write(lambda tx: tx.epochs.bump("node:1")) == 1

    def decide(tx: Transaction) -> None:
        tx.challenges.spend(NONCE, NOW)
        tx.epochs.require(seen)

    with pytest.raises(Conflict) as caught:
        database.write(decide)
    assert caught.value.code is Code.epoch_moved
    assert database.write(lambda tx: tx.epochs.bump("node:1")) == 2
    database.write(lambda tx: tx.challenges.spend(NONCE, NOW))


def test_of_a_grant_and_a_fence_at_once_no_grant_survives_unseen(
    database: SqliteDatabase,
) -> None:
    """F16: every grant that committed did so before the bump, whatever the interleaving."""
    seen = database.read(lambda tx: tx.epochs.read(["policy"]))

    def grant(number: int) -> bool:
        def unit(tx: Transaction) -> None:
            tx.epochs.require(seen)
            tx.epochs.bump("grants")

        if number == 20:
            database.write(lambda tx: (tx.epochs.bump("policy"), tx.epochs.bump("fence")))
            return False
        try:
            database.write(unit)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        granted = sum(pool.map(grant, range(60)))
    after = database.read(lambda tx: tx.epochs.read(["grants", "fence"]))
    assert after == {"grants": granted, "fence": 1}
    assert not grant(99)
