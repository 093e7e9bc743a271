"""What policies see is what the schema says, for every kind of claim there is."""

from __future__ import annotations

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fakes import snp_fixtures, snp_vectors

import sealward.policies
from sealward.verifier import registry
from sealward.verifier.formats.snp import claims as snp_claims
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats import distrust
from sealward.verifier.rats.claims import Claims, Scope
from sealward.verifier.rats.distrust import DistrustEntry
from sealward.verifier.rats.result import VerdictCode
from sealward.verifier.wire import json as strict_json

_FOLDER = Path(next(iter(sealward.policies.__path__)))
SCHEMA = json.loads((_FOLDER / "schemas" / "claims.json").read_text())  # noqa: TID251 - our file

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "boolean": bool,
    "null": type(None),
}
# Every keyword this check knows: one it does not know would go unchecked.
_KEYWORDS = {
    *("$schema", "$defs", "$ref", "title", "description", "type", "enum", "pattern", "format"),
    *("properties", "required", "additionalProperties", "items", "minItems", "minimum", "maximum"),
}


def check(value: Any, schema: dict[str, Any], path: str = "claims") -> None:  # noqa: ANN401 - JSON
    """A structural check of the JSON Schema keywords that the schema uses."""
    assert schema.keys() <= _KEYWORDS, path
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#").removeprefix("/$defs/")
        return check(value, SCHEMA["$defs"][name] if name else SCHEMA, path)
    if "enum" in schema:
        assert value in schema["enum"], path
        return None
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert type(value) in [_TYPES[name] for name in names], path
    if isinstance(value, dict):
        assert set(schema["required"]) <= value.keys() <= schema["properties"].keys(), path
        assert schema["additionalProperties"] is False, path
        for name, item in value.items():
            check(item, schema["properties"][name], f"{path}.{name}")
    elif isinstance(value, list):
        assert len(value) >= schema.get("minItems", 0), path
        for item in value:
            check(item, schema["items"], f"{path}[]")
    elif isinstance(value, str):
        assert re.search(schema.get("pattern", ""), value), path
        if schema.get("format") == "date-time":
            assert datetime.fromisoformat(value).tzinfo is not None, path
    elif isinstance(value, int):
        assert schema.get("minimum", 0) <= value <= schema.get("maximum", 1), path
    return None


def verified(evidence: snp_fixtures.Minted) -> registry.Verified:
    root = import_root(evidence.root, now=snp_fixtures.NOW)
    context = registry.Context(
        TrustAnchors(development_roots=(root,)), snp_fixtures.NOW, ChainCache()
    )
    items = [item for part in (evidence.report, *evidence.certificates) for item in _items(part)]
    return registry.authenticate_items(items, context)


def _items(part: bytes) -> tuple[registry.Item, ...]:
    return registry.recognise(part)


def minted(**changes: Any) -> Claims:  # noqa: ANN401 - any field of the report
    return verified(snp_fixtures.mint(**changes)).claims


def test_the_claims_of_every_vector_match_the_schema(vectors_dir: Path) -> None:
    for vector in snp_vectors.load(vectors_dir):
        if not vector.verifies:
            continue
        context = registry.Context(TrustAnchors(), vector.verify_at, ChainCache())
        check(registry.authenticate(vector.envelope(), context).claims.to_json(), SCHEMA)


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_the_claims_of_minted_evidence_match_the_schema(version: int) -> None:
    claims = minted(version=version)
    shown = claims.to_json()
    check(shown, SCHEMA)
    assert shown["development"] is True
    assert (shown["mitigations"] == {}) is (version < 5)
    assert strict_json.canonical(shown)  # no floats, no integer beyond 2**53


def test_a_64_bit_vector_is_text() -> None:
    claims = minted(current_mit_vector=2**64 - 1)
    shown = claims.to_json()
    check(shown, SCHEMA)
    assert shown["mitigations"] == {"launch": "0", "current": "18446744073709551615"}


def test_every_claim_has_a_scope_and_the_instant_it_was_attested_for() -> None:
    claims = minted()
    shown = claims.to_json()
    about = {"verdicts", "provenance", "evidence_sha256", "signed_sha256"}
    claimed = {
        path
        for name, value in shown.items()
        if name not in about
        for path in (
            [f"{name}.{key}" for key in value]
            if name in ("tcb", "mitigations") and isinstance(value, dict)
            else [name]
        )
    }
    assert claims.provenance().keys() == claimed
    assert {item.as_of for item in claims.provenance().values()} == {snp_fixtures.NOW}
    scopes = {path: item.scope for path, item in claims.provenance().items()}
    assert scopes["measurements"] is Scope.LAUNCH
    assert scopes["report_data"] is Scope.RUNTIME
    groups = shown["provenance"]
    assert isinstance(groups, list)
    listed = [
        (path, Scope(group["scope"]), group["as_of"])
        for group in groups
        if isinstance(group, dict)
        for path in group["claims"]
    ]
    assert sorted(listed) == sorted(
        (path, scope, snp_fixtures.NOW.isoformat().replace("+00:00", "Z"))
        for path, scope in scopes.items()
    )


def test_levels_outside_the_expected_set_are_held_against_a_report() -> None:
    native = verified(snp_fixtures.mint(vmpl=1)).native
    usual = snp_claims.normalise(native, now=snp_fixtures.NOW)
    narrow = snp_claims.normalise(native, now=snp_fixtures.NOW, expected_vmpl=frozenset({0}))
    assert [item.code for item in usual.verdicts] == [VerdictCode.DEVELOPMENT_ROOT]
    held = narrow.verdicts[0]
    assert (held.code, held.claim) == (VerdictCode.VMPL_UNEXPECTED, "vmpl")
    assert (held.expected, held.actual) == ("0", "1")
    assert usual.provider_in_tcb is True


def test_a_host_requested_report_is_in_no_set_of_levels() -> None:
    native = verified(snp_fixtures.mint(vmpl=0xFFFFFFFF)).native
    lax = snp_claims.normalise(
        native, now=snp_fixtures.NOW, expected_vmpl=frozenset({0, 0xFFFFFFFF})
    )
    assert VerdictCode.VMPL_UNEXPECTED in [item.code for item in lax.verdicts]


def test_a_distrusted_platform_is_held_against_its_evidence_and_no_other() -> None:
    claims = minted()
    for matching in (
        DistrustEntry(reason="seed extracted", platform_id=claims.platform_id),
        DistrustEntry(reason="seed extracted", product="Milan"),
        DistrustEntry(reason="seed extracted", product="Milan", platform_id=claims.platform_id),
    ):
        held = distrust.apply(claims, [matching]).verdicts[-1]
        assert (held.code, held.actual) == (VerdictCode.DISTRUSTED, "seed extracted")
    for other in (
        DistrustEntry(reason="r", platform_id="snp:chip:00"),
        DistrustEntry(reason="r", product="Turin"),
        DistrustEntry(reason="r", provider="CN=x"),
        DistrustEntry(reason="r", product="Turin", platform_id=claims.platform_id),
    ):
        assert distrust.apply(claims, [other]) is claims


def test_a_provider_can_be_distrusted() -> None:
    claims = verified(snp_fixtures.mint(snp_fixtures.provider_platform())).claims
    entry = DistrustEntry(reason="signing key leaked", provider=snp_fixtures.CSP_ID)
    assert distrust.apply(claims, [entry]).verdicts[-1].claim == "provider"


def test_an_entry_that_would_match_everything_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="match everything"):
        DistrustEntry(reason="r")
