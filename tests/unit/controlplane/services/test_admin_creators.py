"""Creator keys: only models of a creator whom an administrator pinned are ever registered."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.admin_models import CREATOR, registration
from fakes.admin_plane import AdminPlane
from fakes.hooked_database import HookedDatabase
from fakes.sealed_models import seeded

from sealward.controlplane.adapters.db.unit_of_work import SqliteDatabase
from sealward.controlplane.domain.errors import Code, Conflict, DomainError, NotFound, Refused
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.domain.workloads import ModelState
from sealward.controlplane.services.administration import Dependencies
from sealward.controlplane.services.creators import MAX_CREATORS
from sealward.controlplane.services.models import Models
from sealward.controlplane.services.workloads import Workloads
from sealward.sealing.header import SealedHeader
from sealward.sealing.signing import UNSIGNED, CreatorPrivateKey, Signatures
from sealward.sealing.workload_key import WorkloadKey

OPERATORS_OWN = CreatorPrivateKey.generate(seeded("an operator"))
KEY_ID = CREATOR.public.key_id.hex()


def create(
    plane: AdminPlane, alice: Principal, *creators: CreatorPrivateKey, name: str = "scoring"
) -> WorkloadKey:
    plane.services.workloads.create(
        alice,
        name=name,
        data_class="internal",
        production=False,
        ttl=timedelta(minutes=5),
        max_instances=None,
        creators=tuple(each.public.encoded for each in creators),
    )
    return WorkloadKey.parse(plane.services.workloads.public_key_file(alice, name))


def refused(plane: AdminPlane, by: Principal, data: bytes) -> Code:
    before = plane.row_counts()
    with pytest.raises(DomainError) as caught:
        plane.services.models.register(by, "scoring", data)
    assert plane.row_counts() == before
    return caught.value.code


def signed_anew(data: bytes, signatures: Signatures) -> bytes:
    return replace(SealedHeader.parse(data), signatures=signatures).encode()


def test_an_operator_cannot_bring_a_model_of_his_own(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    key = create(plane, alice, CREATOR)
    operator = plane.services.principals.create(
        alice, name="oscar", roles=(Role.operator,), lifetime=timedelta(days=1)
    ).principal
    own = registration(key, creator=OPERATORS_OWN)
    assert refused(plane, operator, own) is Code.model_refused
    assert refused(plane, operator, signed_anew(own, UNSIGNED)) is Code.model_refused
    with pytest.raises(Refused) as caught:
        plane.services.creators.add(operator, "scoring", OPERATORS_OWN.public.encoded)
    assert caught.value.code is Code.forbidden
    with pytest.raises(Refused) as caught:
        plane.services.creators.remove(operator, "scoring", KEY_ID, reason="mine is better")
    assert caught.value.code is Code.forbidden
    plane.services.models.register(operator, "scoring", registration(key))


def test_both_signatures_are_demanded(plane: AdminPlane) -> None:
    """A header that names the pinned creator is worth nothing without both of its signatures."""
    alice = plane.administrator().principal
    data = registration(create(plane, alice, CREATOR))
    good = SealedHeader.parse(data).signatures
    for wrong in (
        UNSIGNED,
        Signatures(good.ed25519, UNSIGNED.mldsa65),
        Signatures(UNSIGNED.ed25519, good.mldsa65),
        OPERATORS_OWN.sign(b"something else"),
    ):
        assert refused(plane, alice, signed_anew(data, wrong)) is Code.model_refused


def test_without_a_pin_nothing_is_registered(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    data = registration(create(plane, alice))
    create(plane, alice, CREATOR, name="other")  # a pin is for one workload
    assert refused(plane, alice, data) is Code.model_refused
    added = plane.services.creators.add(alice, "scoring", CREATOR.public.encoded)
    assert (added.key_id, added.public, added.by) == (KEY_ID, CREATOR.public.encoded, "alice")
    made = plane.services.models.register(alice, "scoring", data)
    assert made.creator_key_id == KEY_ID
    page = plane.services.creators.page(alice, "scoring", limit=10, after=None)
    assert page.items == (added,)


def test_removing_a_creator_withdraws_its_models_and_fences_the_workload(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    key = create(plane, alice, CREATOR, OPERATORS_OWN)
    models = plane.services.models
    models.register(alice, "scoring", registration(key, version=1))
    models.register(alice, "scoring", registration(key, version=2))
    models.register(alice, "scoring", registration(key, model="kept", creator=OPERATORS_OWN))
    models.withdraw(alice, "scoring", "demo", 1, reason="old")
    woken = plane.wake.calls
    scope = "workload/scoring"
    (before,) = plane.database.read(lambda tx: tx.epochs.read([scope])).values()
    plane.services.creators.remove(alice, "scoring", KEY_ID, reason="key lost")
    assert plane.database.read(lambda tx: tx.epochs.read([scope])) == {scope: before + 1}
    assert plane.wake.calls == woken + 1
    states = {
        (model.name, model.version): model.state
        for model in models.page(alice, "scoring", limit=10, after=None).items
    }
    assert states == {
        ("demo", 1): ModelState.withdrawn,
        ("demo", 2): ModelState.withdrawn,
        ("kept", 1): ModelState.active,
    }
    assert refused(plane, alice, registration(key, version=3)) is Code.model_refused
    with pytest.raises(NotFound):
        plane.services.creators.remove(alice, "scoring", KEY_ID, reason="again")


def test_every_change_of_a_pin_is_in_the_audit_log(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    key = create(plane, alice, CREATOR)
    plane.services.models.register(alice, "scoring", registration(key))
    plane.services.creators.remove(alice, "scoring", KEY_ID, reason="key lost")
    entries = plane.database.read(lambda tx: tx.audit.page(limit=100)).items
    said = [
        (str(entry.kind), json.loads(entry.body))  # noqa: TID251 - our own entries
        for entry in entries
    ]
    kinds = [kind for kind, _ in said]
    for kind in ("workload_creator.added", "workload_creator.removed", "model.withdrawn"):
        assert kinds.count(kind) == 1
    about = [body["creator"] for kind, body in said if kind.startswith("workload_creator.")]
    assert about == [KEY_ID, KEY_ID]
    (made,) = (body for kind, body in said if kind == "model.registered")
    assert made["creator"] == KEY_ID


def test_a_creator_removed_while_his_model_is_checked_comes_too_late(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    data = registration(create(plane, alice, CREATOR))

    def remove() -> None:
        plane.services.creators.remove(alice, "scoring", KEY_ID, reason="key lost")

    on = replace(
        plane.services.models.on, database=HookedDatabase(plane.database, before_write=remove)
    )
    with pytest.raises(Refused) as caught:
        Models(on).register(alice, "scoring", data)
    assert caught.value.code is Code.model_refused
    assert not plane.services.models.page(alice, "scoring", limit=1, after=None).items


def test_what_is_not_a_creator_key_is_refused(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    create(plane, alice, CREATOR)
    before = plane.row_counts()
    whole = OPERATORS_OWN.public.encoded
    for wrong in (b"", whole[:-1], whole + b"\0", b"\0\2" + whole[2:], bytes(len(whole))[:32]):
        with pytest.raises(Refused) as caught:
            plane.services.creators.add(alice, "scoring", wrong)
        assert caught.value.code is Code.invalid_request
    with pytest.raises(Conflict):
        plane.services.creators.add(alice, "scoring", CREATOR.public.encoded)
    with pytest.raises(NotFound):
        plane.services.creators.add(alice, "missing", whole)
    with pytest.raises(Refused):
        create(plane, alice, CREATOR, CREATOR, name="twice")
    many = [CreatorPrivateKey.generate(seeded(f"{n}")) for n in range(MAX_CREATORS + 1)]
    with pytest.raises(Refused):
        create(plane, alice, *many, name="many")
    assert plane.row_counts() == before


def test_keys_and_models_are_those_of_the_tenant_that_the_database_works_for(
    plane: AdminPlane,
) -> None:
    alice = plane.administrator().principal
    database = SqliteDatabase(f"sqlite:///{plane.file}", tenant="acme")
    try:
        on: Dependencies = replace(plane.services.models.on, database=database)
        Workloads(on).create(
            alice,
            name="scoring",
            data_class="internal",
            production=False,
            ttl=timedelta(minutes=5),
            max_instances=None,
            creators=(CREATOR.public.encoded,),
        )
        key = WorkloadKey.parse(Workloads(on).public_key_file(alice, "scoring"))
        assert key.tenant == "acme"
        made = Models(on).register(alice, "scoring", registration(key))
        assert made.name == "demo"
        other = registration(replace(key, tenant="default"), version=2)
        with pytest.raises(Refused) as caught:
            Models(on).register(alice, "scoring", other)
        assert caught.value.code is Code.model_refused
    finally:
        database.close()
