"""What policies see of TDX and SGX quotes is what the schema says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes import dcap_fixtures, dcap_vectors, policy_schemas
from fakes.dcap_vectors import Held
from sealward_devkit.dcap.quote import Shape

from sealward.verifier.formats.dcap import claims as dcap_claims
from sealward.verifier.formats.dcap import verify
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.claims import Claims, Scope
from sealward.verifier.wire import json as strict_json

SCHEMA = policy_schemas.read("claims")
ABOUT = {"verdicts", "provenance", "evidence_sha256", "signed_sha256"}


def minted(shape: Shape, **changes: Any) -> Claims:  # noqa: ANN401 - any field of the report
    tdx = shape is not Shape.SGX_3
    made = (
        dcap_fixtures.mint_tdx(shape=shape, **changes) if tdx else dcap_fixtures.mint_sgx(**changes)
    )
    root = import_root(dcap_fixtures.hierarchy().root, now=dcap_fixtures.NOW)
    verified = verify.authenticate(
        made.quote,
        Held(dcap_vectors.pieces(made.collateral.to_json().encode())),
        anchors=TrustAnchors(development_roots=(root,)),
        now=dcap_fixtures.NOW,
        cache=ChainCache(),
    )
    return dcap_claims.normalise(verified, now=dcap_fixtures.NOW)


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


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_the_claims_of_minted_quotes_match_the_schema_and_have_a_scope(shape: Shape) -> None:
    check(minted(shape))


def test_the_claims_of_a_td_that_is_held_against_match_the_schema() -> None:
    check(minted(Shape.TDX_5_TD15, td_attributes=1 | 1 << 29, mr_service_td=b"\x01" * 48))


def test_the_claims_of_real_quotes_match_the_schema(vectors_dir: Path) -> None:
    checked = 0
    for vector in dcap_vectors.load(vectors_dir):
        if vector.bundle is None or vector.result != "verifies":
            continue
        verified = verify.authenticate(
            vector.quote,
            vector.source,
            anchors=TrustAnchors(),
            now=vector.verify_at,
            cache=ChainCache(),
        )
        check(dcap_claims.normalise(verified, now=vector.verify_at))
        checked += 1
    assert checked == 4


def test_scopes_say_since_when_a_claim_holds() -> None:
    held = {path: one.scope for path, one in minted(Shape.TDX_5_TD15).provenance().items()}
    launch = {"intel.td", "host_data", "instance_value", "debug", "migratable"}
    assert {held[path] for path in launch} == {Scope.LAUNCH}
    assert held["measurements"] is Scope.BOOT  # registers grow from boot on
    for path in ("report_data", "tcb_status", "tcb.reported", "tcb.current", "intel"):
        assert held[path] is Scope.RUNTIME
    enclave = {path: one.scope for path, one in minted(Shape.SGX_3).provenance().items()}
    assert enclave["measurements"] is Scope.LAUNCH
