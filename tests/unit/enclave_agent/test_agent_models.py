"""The keeper of content keys: opens what is leased, takes back what is not, wipes every key."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

from fakes.agent_models import WEIGHTS, MemoryHost
from fakes.agent_terms import model

from sealward.enclave_agent.grants import GrantedKey
from sealward.enclave_agent.inference.catalog import Catalog, ModelState
from sealward.enclave_agent.models import STILL_ENDING, ModelKeeper
from sealward.protos.terms import ModelTerms

A, B = model("a"), model("b")


class Shelf:
    """A keeper over a host in memory."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.catalog = Catalog()
        self.host = MemoryHost({m.content_key_id: os.urandom(32) for m in (A, B)})
        self.keeper = ModelKeeper(
            self.host, self.catalog, clock=lambda: self.now_ns, random_bytes=bytes
        )

    def give(self, granted: ModelTerms) -> bytearray:
        key = bytearray(self.host.keys[granted.content_key_id])
        self.keeper.take_key(GrantedKey(granted, key))
        return key

    async def opened(self) -> None:
        await self.keeper.open_kept()
        for _ in range(20):
            await asyncio.sleep(0)

    def state(self, name: str) -> ModelState | None:
        entry = self.catalog.find(name, None)
        return None if entry is None else entry.state


def on_shelf(scene: Callable[[Shelf], Awaitable[None]]) -> None:
    async def body() -> None:
        await scene(Shelf())

    asyncio.run(body())


def test_takes_back_only_what_no_lease_covers() -> None:
    async def scene(shelf: Shelf) -> None:
        keys = [shelf.give(A), shelf.give(B)]
        await shelf.opened()
        wiped = await shelf.keeper.keep_only([B], "revoked")
        assert [item.model for item in wiped.items] == ["a"]
        assert wiped.unknown == ("copies that nobody wrote down",)
        assert not any(keys[0])
        assert any(keys[1])
        assert [m.identity.name for m in shelf.host.alive()] == ["b"]
        assert shelf.state("a") is ModelState.UNAVAILABLE
        assert shelf.state("b") is ModelState.READY
        assert shelf.keeper.missing([A, B]) == (A,)

    on_shelf(scene)


def test_a_key_granted_again_is_wiped_and_the_model_runs_on() -> None:
    async def scene(shelf: Shelf) -> None:
        shelf.give(A)
        await shelf.opened()
        again = shelf.give(A)
        await shelf.opened()
        assert not any(again)
        assert len(shelf.host.opened) == 1

    on_shelf(scene)


def test_a_model_that_does_not_open_is_tried_again_later() -> None:
    """Its reason is shown; the key is kept for the next try."""

    async def scene(shelf: Shelf) -> None:
        shelf.host.broken.add("a")
        shelf.give(A)
        await shelf.opened()
        entry = shelf.catalog.find("a", None)
        assert entry is not None
        assert entry.reason == "a does not open"
        shelf.host.broken.clear()
        await shelf.opened()
        assert shelf.host.opened == []  # too early
        shelf.now_ns += 10**9
        await shelf.opened()
        assert shelf.state("a") is ModelState.READY

    on_shelf(scene)


def test_an_unexpected_failure_is_not_shown_to_clients() -> None:
    async def scene(shelf: Shelf) -> None:
        shelf.keeper.take_key(GrantedKey(model("c"), bytearray(b"\x01" * 32)))  # host: KeyError
        await shelf.opened()
        entry = shelf.catalog.find("c", None)
        assert entry is not None
        assert entry.reason == "it could not be opened; see the agent's log"

    on_shelf(scene)


def test_a_model_that_arrives_while_it_is_taken_back_is_wiped() -> None:
    """Revoked between the end of opening and its being noticed: it never serves."""

    async def scene(shelf: Shelf) -> None:
        shelf.give(A)
        await shelf.keeper.open_kept()
        while not shelf.host.opened:  # noqa: ASYNC110 - turns of the loop are what is counted
            await asyncio.sleep(0)
        assert shelf.state("a") is ModelState.LOADING  # the keeper has not been told yet
        wiped = await shelf.keeper.keep_only([], "revoked")
        assert [item.weight_bytes for item in wiped.items] == [WEIGHTS]
        assert shelf.host.alive() == []
        await asyncio.sleep(0)
        assert shelf.state("a") is ModelState.UNAVAILABLE

    on_shelf(scene)


def test_keys_are_wiped_before_anything_is_awaited() -> None:
    """A content key ends with its lease, not with the worker that is slow to die."""

    async def scene(shelf: Shelf) -> None:
        key = shelf.give(A)
        await shelf.opened()
        wiping = shelf.keeper.keep_only([], "revoked")
        assert not any(key)
        assert shelf.keeper.missing([A]) == (A,)
        assert [item.weight_bytes for item in (await wiping).items] == [WEIGHTS]

    on_shelf(scene)


def test_another_workloads_model_of_the_same_name_and_version_stays_shown() -> None:
    """The catalog knows no workloads; what runs is not hidden by what ended."""

    async def scene(shelf: Shelf) -> None:
        other = replace(A, content_key_id=bytes(32), core_digest=bytes(32))
        shelf.host.keys[other.content_key_id] = os.urandom(32)
        shelf.give(A)
        await shelf.opened()
        shelf.give(other)
        await shelf.opened()
        await shelf.keeper.keep_only([A], "revoked")
        assert shelf.state("a") is ModelState.READY
        entry = shelf.catalog.find("a", None)
        assert entry is not None
        assert entry.model is shelf.host.alive()[0]

    on_shelf(scene)


def test_a_wipe_that_fails_hides_no_other_wipe() -> None:
    """The statement names every key, and says which wipe is unknown."""

    async def scene(shelf: Shelf) -> None:
        shelf.give(A)
        shelf.give(B)
        await shelf.opened()
        shelf.host.opened[0].fails_to_wipe = True
        wiped = await shelf.keeper.keep_only([], "revoked")
        assert [(item.model, item.exit_status) for item in wiped.items] == [
            ("a", STILL_ENDING),
            ("b", -9),
        ]
        assert "whether a 1 was wiped: it failed" in wiped.unknown

    on_shelf(scene)


def test_a_dead_worker_that_is_taken_back_while_it_is_cleared_is_stated() -> None:
    async def scene(shelf: Shelf) -> None:
        shelf.give(A)
        await shelf.opened()
        shelf.host.opened[0].ended = "worker ended with status -11"
        clearing = asyncio.create_task(shelf.keeper.open_kept())
        await asyncio.sleep(0)
        (item,) = (await shelf.keeper.keep_only([], "revoked")).items
        assert (item.worker_pid, item.weight_bytes) == (4242, WEIGHTS)
        await clearing

    on_shelf(scene)
