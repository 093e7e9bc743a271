"""What policies see of Nitro documents, CCA and PSA tokens is what the schema says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fakes import arm_tokens, arm_vectors, nitro_documents, nitro_vectors, policy_schemas

from sealward.verifier import registry
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats.claims import Claims, Scope
from sealward.verifier.wire import json as strict_json

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEMA = policy_schemas.read("claims")
ABOUT = {"verdicts", "provenance", "evidence_sha256", "signed_sha256"}


def claims_of(
    *files: bytes,
    anchors: TrustAnchors | None = None,
    now: datetime = NOW,
    keys: tuple[InstanceKey, ...] = (),
) -> Claims:
    context = registry.Context(anchors or TrustAnchors(), now, ChainCache(), keys=keys)
    items = [item for data in files for item in registry.recognise(data)]
    return registry.authenticate_items(items, context).claims


def minted() -> dict[str, Claims]:
    trusted = nitro_documents.standard().anchors()
    cca, psa = arm_tokens.anchor(Scheme.CCA), arm_tokens.anchor(Scheme.PSA)
    signer = arm_tokens.key("maker")
    profile_1 = arm_tokens.psa_claims_1({-75005: ..., -75010: ..., -75006: ..., -75007: 1})
    return {
        "nitro": claims_of(nitro_documents.document(), anchors=trusted),
        "nitro full": claims_of(
            nitro_documents.document(
                user_data=bytes(1024),
                nonce=bytes(1024),
                public_key=bytes(1024),
                pcrs=dict.fromkeys(range(32), b"\x01" * 64),
            ),
            anchors=trusted,
        ),
        "cca": claims_of(arm_tokens.cca(), keys=(cca,)),
        "cca legacy": claims_of(arm_tokens.cca(tag=399, legacy=True), keys=(cca,)),
        "psa": claims_of(arm_tokens.sign1(signer, arm_tokens.psa_claims()), keys=(psa,)),
        "psa debug": claims_of(
            arm_tokens.sign1(signer, arm_tokens.psa_claims({2395: 0x4000, 2397: ...})), keys=(psa,)
        ),
        "psa bare": claims_of(arm_tokens.sign1(signer, profile_1), keys=(psa,)),
    }


def published(folder: Path) -> dict[str, Claims]:
    found = {
        one.id: claims_of(one.document, now=one.verify_at)
        for one in nitro_vectors.load(folder)
        if one.verifies
    }
    for scheme in Scheme:
        for vector in arm_vectors.load(folder, scheme):
            found[vector.id] = claims_of(vector.token, keys=(vector.key,))
            found[f"{vector.id} beside"] = claims_of(vector.token, vector.pem)
    return found


def check(claims: Claims) -> None:
    shown: dict[str, Any] = claims.to_json()
    assert policy_schemas.violations(shown, SCHEMA, "claims") == []
    assert strict_json.canonical(shown)  # no floats, no integer beyond 2**53
    claimed = {name for name, value in shown.items() if value not in (None, {})} - ABOUT
    scoped = {path.partition(".")[0] for path in claims.provenance()}
    assert claimed <= scoped
    assert {name for name in scoped if name not in shown} == set()
    for path in claims.provenance():
        name, _, inner = path.partition(".")
        assert not inner or inner in shown[name]


def test_the_claims_of_minted_evidence_match_the_schema_and_have_a_scope() -> None:
    for claims in minted().values():
        check(claims)


def test_the_claims_of_published_evidence_match_the_schema_and_have_a_scope(
    vectors_dir: Path,
) -> None:
    found = published(vectors_dir)
    assert len(found) == 5 + 2 * (5 + 2)
    for claims in found.values():
        check(claims)


@pytest.mark.parametrize(
    ("kind", "launch", "boot"),
    [
        ("nitro", {"measurements", "instance_value"}, set()),
        ("cca", {"cca.realm", "instance_value"}, {"cca", "debug"}),
        ("psa", {"platform_id"}, {"psa", "measurements", "instance_value"}),
    ],
)
def test_scopes_say_since_when_a_claim_holds(kind: str, launch: set[str], boot: set[str]) -> None:
    held = {path: one.scope for path, one in minted()[kind].provenance().items()}
    assert {held[path] for path in launch} == {Scope.LAUNCH}
    assert {held[path] for path in boot} <= {Scope.BOOT}
    assert held["report_data"] is Scope.RUNTIME
