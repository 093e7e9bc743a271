"""What the development kit mints verifies as AWS's would, and says what it is."""

from __future__ import annotations

import pytest
from fakes import nitro_fixtures

from sealward.verifier import registry
from sealward.verifier.formats.nitro import evidence
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.rats.evidence import NITRO_EVIDENCE, Record, encode
from sealward.verifier.rats.result import VerdictCode

NOW = nitro_fixtures.NOW


def context(*, trusted: bool) -> registry.Context:
    root = import_root(nitro_fixtures.hierarchy().root, now=NOW)
    anchors = TrustAnchors(development_roots=(root,) if trusted else ())
    return registry.Context(anchors, NOW, ChainCache())


def envelope() -> bytes:
    return encode(Record(NITRO_EVIDENCE, evidence.encode(nitro_fixtures.mint())))


def test_a_minted_document_verifies_under_its_imported_root_and_says_so() -> None:
    claims = registry.authenticate(envelope(), context(trusted=True)).claims
    assert claims.development is True
    assert claims.provider is None
    assert [one.code for one in claims.verdicts] == [VerdictCode.DEVELOPMENT_ROOT]
    assert (claims.platform_id or "").startswith("nitro:instance:i-")
    assert {"pcr0", "pcr1", "pcr2", "pcr4"} <= {one.name for one in claims.measurements}


def test_a_minted_document_is_refused_where_nobody_imported_its_root() -> None:
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate(envelope(), context(trusted=False))
    assert caught.value.code is Code.ROOT_NOT_PINNED
