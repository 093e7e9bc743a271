"""Client tokens as an agent checks them, join tokens, platforms."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fakes.admin_plane import START, AdminPlane
from fakes.admin_requests import PLATFORM

from sealward.controlplane.domain.errors import Code, NotFound, Refused
from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.platforms import PlatformState
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.services import client_tokens, join_tokens


def workload(plane: AdminPlane) -> Principal:
    alice = plane.administrator().principal
    plane.services.workloads.create(
        alice,
        name="scoring",
        data_class="internal",
        production=False,
        ttl=timedelta(minutes=5),
        max_instances=None,
    )
    return alice


def test_a_client_token_is_what_an_independent_library_verifies(plane: AdminPlane) -> None:
    alice = workload(plane)
    token = plane.services.client_tokens.create(alice, workload="scoring", subject="bob")
    raw = plane.keystore.public(KeyPurpose.client_token)
    assert jwt.get_unverified_header(token.text) == {
        "alg": "EdDSA",
        "typ": "sealward-client+jwt",
        "kid": hashlib.sha256(raw).hexdigest(),
    }
    claims = jwt.decode(
        token.text,
        Ed25519PublicKey.from_public_bytes(raw),
        algorithms=["EdDSA"],
        audience="workload:scoring",
        issuer="development.example",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims == {
        "iss": "development.example",
        "aud": "workload:scoring",
        "tenant": "default",
        "sub": "bob",
        "jti": token.token_id,
        "iat": int(START.timestamp()),
        "exp": int((START + client_tokens.DEFAULT_LIFETIME).timestamp()),
    }


def test_a_client_token_is_in_the_log_without_its_text(plane: AdminPlane) -> None:
    alice = workload(plane)
    token = plane.services.client_tokens.create(alice, workload="scoring", subject="bob")
    stored = plane.everything_stored()
    assert token.token_id in stored
    assert token.text.rpartition(".")[2] not in stored
    assert token.text not in repr(token)


@pytest.mark.parametrize(
    ("subject", "lifetime"),
    [
        ("", timedelta(hours=1)),
        ("Bob Smith", timedelta(hours=1)),
        ("bob", timedelta(0)),
        ("bob", client_tokens.MAX_LIFETIME + timedelta(seconds=1)),
    ],
)
def test_a_client_token_outside_its_budget_is_refused(
    plane: AdminPlane, subject: str, lifetime: timedelta
) -> None:
    alice = workload(plane)
    before = plane.row_counts()
    with pytest.raises(Refused):
        plane.services.client_tokens.create(
            alice, workload="scoring", subject=subject, lifetime=lifetime
        )
    assert plane.row_counts() == before


def test_a_client_token_for_no_workload_is_refused(plane: AdminPlane) -> None:
    alice = workload(plane)
    with pytest.raises(NotFound):
        plane.services.client_tokens.create(alice, workload="other", subject="bob")


def test_join_tokens_carry_sorted_labels_and_a_budget(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    create = plane.services.join_tokens.create
    issued = create(alice, labels=(("site", "berlin"), ("class", "gpu")))
    assert issued.token.labels == (("class", "gpu"), ("site", "berlin"))
    assert issued.token.expires == START + join_tokens.DEFAULT_LIFETIME
    many = tuple((f"l{n}", "x") for n in range(join_tokens.MAX_LABELS + 1))
    for labels in (many, (("a", "1"), ("a", "2")), (("A", "1"),), (("a", "\x1b"),)):
        with pytest.raises(Refused) as caught:
            create(alice, labels=labels)
        assert caught.value.code is Code.invalid_request
    with pytest.raises(Refused):
        create(alice, lifetime=join_tokens.MAX_LIFETIME + timedelta(seconds=1))


def test_denying_a_platform_sweeps_and_allowing_it_only_moves_the_fence(plane: AdminPlane) -> None:
    alice = plane.administrator().principal

    def epoch() -> int:
        return plane.database.read(lambda tx: tx.epochs.read(["platform"])["platform"])

    plane.services.platforms.allow(alice, PLATFORM, note="rack 4")
    assert (epoch(), plane.wake.calls) == (1, 0)
    denied = plane.services.platforms.deny(alice, PLATFORM, note="stolen")
    assert denied.state is PlatformState.denied
    assert (epoch(), plane.wake.calls) == (2, 1)
    assert plane.database.read(lambda tx: tx.platforms.find(PLATFORM)) == denied


@pytest.mark.parametrize(
    "platform_id",
    [
        *("snp:chip:" + "ab" * 64, "tpm:ek:" + "cd" * 32, "intel:piid:" + "01" * 16),
        *("nitro:instance:i-0123456789abcdef0", "nitro:instance:i-01234567"),
        *("google:instance:18446744073709551615", "google:instance:7"),
    ],
)
def test_a_platform_is_named_as_the_verifier_names_it(plane: AdminPlane, platform_id: str) -> None:
    alice = plane.administrator().principal
    assert plane.services.platforms.allow(alice, platform_id).platform_id == platform_id


@pytest.mark.parametrize(
    "platform_id",
    [
        *("", "0", "02" * 64, "snp:chip:" + "ZZ" * 32, "snp:chip:" + "00" * 7),
        *("snp:chip:" + "00" * 65, "snp:instance:i-0123456789abcdef0", "nitro:instance:i-"),
        *("nitro:instance:i-0123456789ABCDEF0", "google:instance:" + "1" * 21, "google:instance:"),
    ],
)
def test_what_is_no_platform_id_is_refused(plane: AdminPlane, platform_id: str) -> None:
    alice = plane.administrator().principal
    with pytest.raises(Refused):
        plane.services.platforms.allow(alice, platform_id)
