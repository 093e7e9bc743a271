"""Trust anchors over HTTP: words that go together, and bodies that are what they say."""

from __future__ import annotations

import hashlib

import pytest
from fakes import arm_tokens
from fakes.admin_plane import START, AdminPlane, bearer
from fakes.tpm_cas import ROOT

from sealward.controlplane.domain.trust_anchors import AnchorKind, VouchedInstance

PATH = "/v1/trust-anchors"
KEY = arm_tokens.spki("maker")
ID = arm_tokens.INSTANCE_ID.hex()
IMPLEMENTATION = arm_tokens.IMPLEMENTATION_ID.hex()
BYTES = {"content-type": "application/octet-stream"}


@pytest.mark.parametrize("kind", ["cca-key", "psa-key"])
def test_a_key_is_shown_as_it_was_given_until_it_is_removed(plane: AdminPlane, kind: str) -> None:
    header = bearer(plane.administrator().text)
    words = {"kind": kind, "instance_id": ID, "implementation_id": IMPLEMENTATION, "name": "rack"}
    answer = plane.client.post(PATH, params=words, content=KEY, headers={**header, **BYTES})
    instance = VouchedInstance(AnchorKind(kind), ID, IMPLEMENTATION)
    shown = {
        "kind": kind,
        "fingerprint": instance.fingerprint,
        "sha256": hashlib.sha256(KEY).hexdigest(),
        "role": "root",
        "name": "rack",
        "subject": f"{kind[:3]}:instance:{ID} of {IMPLEMENTATION}",
        "not_after": "9999-12-31T23:59:59Z",
        "development": False,
        "added_by": "alice",
        "added": "2026-11-23T12:00:00Z",
        "removed": None,
    }
    assert (answer.status_code, answer.json()) == (201, shown)
    assert plane.client.get(PATH, headers=header).json() == {"items": [shown], "after": None}
    path = f"{PATH}/{instance.fingerprint}/remove"
    removed = plane.client.post(path, json={"reason": "sold"}, headers=header)
    assert removed.json() == {**shown, "removed": "2026-11-23T12:00:00Z"}
    assert plane.client.post(path, json={"reason": "sold"}, headers=header).status_code == 404


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"kind": "cca-key"}, "invalid_request"),
        ({"kind": "cca-key", "instance_id": ""}, "invalid_request"),
        ({"kind": "cca-key", "instance_id": ID, "development": "true"}, "invalid_request"),
        ({"kind": "cca-key", "instance_id": ID, "implementation_id": "00"}, "invalid_request"),
        ({"kind": "cca-key", "instance_id": ID, "secret": "00"}, "invalid_request"),
        ({"kind": "tpm-ek", "instance_id": ID}, "invalid_request"),
        ({"implementation_id": IMPLEMENTATION}, "invalid_request"),
        ({"kind": "another", "instance_id": ID}, "invalid_request"),
        ({}, "trust_anchor_invalid"),
    ],
    ids=str,
)
def test_words_that_do_not_go_together_are_refused(
    plane: AdminPlane, words: dict[str, str], code: str
) -> None:
    header = bearer(plane.administrator().text)
    before = plane.row_counts()
    answer = plane.client.post(PATH, params=words, content=KEY, headers={**header, **BYTES})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert plane.row_counts() == before


@pytest.mark.parametrize(
    "body", [arm_tokens.SECRET, ROOT.certificate(START)], ids=["secret", "certificate"]
)
def test_a_body_that_is_no_public_key_is_refused_and_not_echoed(
    plane: AdminPlane, body: bytes
) -> None:
    header = bearer(plane.administrator().text)
    words = {"kind": "psa-key", "instance_id": ID}
    answer = plane.client.post(PATH, params=words, content=body, headers={**header, **BYTES})
    assert (answer.status_code, answer.json()["code"]) == (422, "trust_anchor_invalid")
    assert body.hex() not in answer.text
    assert "never kept here" in answer.json()["hint"]
