"""Workloads and sealed models: keys stay inside, and only what can be released is registered."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.admin_models import CREATOR, registration
from fakes.admin_plane import AdminPlane
from fakes.sealed_models import Owner

from sealward.controlplane.domain.errors import Code, Conflict, DomainError, NotFound, Refused
from sealward.controlplane.domain.keys import KeyContext, WrapPurpose
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.workloads import ModelState
from sealward.controlplane.services.release_core import ReleaseCore
from sealward.sealing.header import PREFIX_BYTES
from sealward.sealing.workload_key import WorkloadKey


def create(plane: AdminPlane, alice: Principal, name: str = "scoring") -> WorkloadKey:
    """Create a workload and return its public key file, as an owner reads it."""
    plane.services.workloads.create(
        alice,
        name=name,
        data_class="internal",
        production=False,
        ttl=timedelta(minutes=5),
        max_instances=None,
        creators=(CREATOR.public.encoded,),
    )
    return WorkloadKey.parse(plane.services.workloads.public_key_file(alice, name))


def code_of(plane: AdminPlane, alice: Principal, data: bytes, workload: str = "scoring") -> Code:
    before = plane.row_counts()
    with pytest.raises(DomainError) as caught:
        plane.services.models.register(alice, workload, data)
    assert plane.row_counts() == before
    return caught.value.code


def test_a_sealed_model_of_the_workload_is_registered(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    key = create(plane, alice)
    made = plane.services.models.register(alice, "scoring", registration(key))
    assert (made.name, made.version, made.state) == ("demo", 1, ModelState.active)
    stored = plane.database.read(lambda tx: tx.models.get("scoring", "demo", 1))
    assert stored == made


def test_versions_only_go_up_withdrawn_ones_included(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    key = create(plane, alice)
    models = plane.services.models
    models.register(alice, "scoring", registration(key, version=2))
    models.withdraw(alice, "scoring", "demo", 2, reason="wrong")
    assert code_of(plane, alice, registration(key, version=2)) is Code.already_exists
    assert code_of(plane, alice, registration(key, version=1)) is Code.state_changed
    models.register(alice, "scoring", registration(key, version=3))
    models.register(alice, "scoring", registration(key, version=1, model="other"))


def test_a_withdrawn_version_fences_its_workload_once(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    scope = "workload/scoring"

    def epoch() -> int:
        return plane.database.read(lambda tx: tx.epochs.read([scope])[scope])

    key = create(plane, alice)
    created = epoch()
    plane.services.models.register(alice, "scoring", registration(key))
    registered = epoch()
    assert registered > created  # what decisions have read of the workload holds no more
    assert plane.wake.calls == 0  # and no lease has to end for it
    plane.services.models.withdraw(alice, "scoring", "demo", 1, reason="wrong")
    assert epoch() == registered + 1
    assert plane.wake.calls == 1
    with pytest.raises(Conflict):
        plane.services.models.withdraw(alice, "scoring", "demo", 1, reason="wrong")
    with pytest.raises(NotFound):
        plane.services.models.withdraw(alice, "scoring", "demo", 9, reason="wrong")


def test_a_model_for_others_is_refused(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    key, other = create(plane, alice), create(plane, alice, "other")
    assert code_of(plane, alice, registration(other)) is Code.model_refused
    foreign_tenant = replace(key, tenant="acme")
    assert code_of(plane, alice, registration(foreign_tenant)) is Code.model_refused
    stranger = replace(key, public=Owner.from_seed("stranger").workload.public)
    assert code_of(plane, alice, registration(stranger)) is Code.model_refused
    missing = replace(key, workload="missing")
    assert code_of(plane, alice, registration(missing), "missing") is Code.workload_unknown


def test_every_damage_to_a_registration_is_refused(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    data = registration(create(plane, alice))
    for size in (0, 7, PREFIX_BYTES, len(data) - 1):
        assert code_of(plane, alice, data[:size]) is Code.model_refused
    assert code_of(plane, alice, data + b"\0") is Code.model_refused
    core = data.index(b'"core"')
    for at in range(core, core + 200, 11):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert code_of(plane, alice, damaged) in {Code.model_refused, Code.key_unusable}
    for signature in (b'"ed25519":"', b'"ml-dsa-65":"'):
        at = data.index(signature) + len(signature)
        damaged = data[:at] + (b"A" if data[at : at + 1] != b"A" else b"B") + data[at + 1 :]
        assert code_of(plane, alice, damaged) is Code.model_refused
    wrap = data.index(b'"ct":"') + 100
    damaged = data[:wrap] + (b"A" if data[wrap : wrap + 1] != b"A" else b"B") + data[wrap + 1 :]
    assert code_of(plane, alice, damaged) is Code.key_unusable


def test_a_wrapped_private_key_moved_to_another_workload_opens_nothing(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    create(plane, alice)
    create(plane, alice, "other")
    stolen = plane.database.read(lambda tx: tx.workloads.latest_key("scoring"))
    context = KeyContext(
        purpose=WrapPurpose.workload_private, tenant="default", workload="other", version=1
    )
    with pytest.raises(Refused) as caught:
        plane.keystore.unwrap(stolen.wrapped_private, context)
    assert caught.value.code is Code.key_unusable


def test_no_key_is_stored_in_clear(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    plane.services.models.register(alice, "scoring", registration(create(plane, alice)))
    key = plane.database.read(lambda tx: tx.workloads.latest_key("scoring"))
    model = plane.database.read(lambda tx: tx.models.get("scoring", "demo", 1))
    context = KeyContext(
        purpose=WrapPurpose.workload_private, tenant="default", workload="scoring", version=1
    )
    private = plane.keystore.unwrap(key.wrapped_private, context)
    content_key = bytes(ReleaseCore(plane.keystore, "default").content_key(model, key))
    stored = plane.everything_stored()
    for secret in (private[2:34], private[-32:], content_key):
        for form in (repr(secret)[2:-1], secret.hex(), base64.b64encode(secret).decode()[:40]):
            assert form not in stored
    assert private.hex() not in repr(key)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Scoring"},
        {"name": ""},
        {"name": "../x"},
        {"data_class": "top secret"},
        {"ttl": timedelta(0)},
        {"ttl": timedelta(hours=1, seconds=1)},
        {"max_instances": 0},
        {"max_instances": 1_000_001},
    ],
)
def test_what_is_not_a_workload_is_refused(plane: AdminPlane, changes: dict[str, object]) -> None:
    alice = plane.administrator().principal
    before = plane.row_counts()
    right = {
        "name": "scoring",
        "data_class": "internal",
        "production": True,
        "ttl": timedelta(minutes=5),
        "max_instances": 3,
    }
    with pytest.raises(Refused) as caught:
        plane.services.workloads.create(alice, **{**right, **changes})
    assert caught.value.code is Code.invalid_request
    assert plane.row_counts() == before
