"""The published vectors of the binding, challenges, terms and wipe statements, through the code."""

from __future__ import annotations

import hashlib
import hmac
import runpy
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealward.controlplane.domain import challenge as challenges
from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.records import from_unix_ms
from sealward.protos import terms, wipe
from sealward.protos.terms import VerifiedTerms
from sealward.protos.wipe import WipeStatement
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats.binding import Binding, Purpose
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import json

_FOLDER: Final = Path(__file__).parents[2] / "docs" / "specs" / "vectors"
_NAMES: Final = ("evidence-binding", "challenge", "signed-terms", "wipe-statement")


def _load(name: str) -> dict[str, Any]:
    data = (_FOLDER / f"{name}.json").read_bytes()
    document = json.decode(data, what=name, max_bytes=1 << 20)
    assert isinstance(document, dict)
    return document


BINDING, CHALLENGE, TERMS, WIPE = map(_load, _NAMES)


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    """Run a test for each vector under its own name."""
    ids = [f"{n} {v.get('name', v.get('purpose', v.get('cause')))}" for n, v in enumerate(vectors)]
    return pytest.mark.parametrize("vector", vectors, ids=ids)


def raw(value: Any) -> bytes:  # noqa: ANN401 - out of JSON
    assert isinstance(value, str)
    return bytes.fromhex(value)


@pytest.mark.parametrize("name", _NAMES)
def test_the_generator_writes_these_bytes(name: str) -> None:
    made = runpy.run_path(str(_FOLDER / f"make_{name.replace('-', '_')}.py"))
    assert json.canonical(made["build"]()) == json.canonical(_load(name))


# Evidence binding.


@named(BINDING["bindings"])
def test_a_binding_is_read_hashed_and_written_the_same(vector: dict[str, Any]) -> None:
    encoded = raw(vector["binding"])
    binding = Binding.decode(encoded)
    assert binding.encode() == encoded
    assert binding.purpose == vector["purpose"]
    assert hashlib.sha512(encoded).hexdigest() == vector["carried_64"]
    assert vector["carried_64"].startswith(vector["carried_32"])
    assert hashlib.sha256(binding.tls_spki).hexdigest() == vector["node"]
    for field in ("carried_64", "carried_32"):
        carried = raw(vector[field])
        bindings.require_bound(encoded, carried)
        with pytest.raises(RefusedEvidence):
            bindings.require_bound(encoded, carried[:-1] + bytes([carried[-1] ^ 1]))
        with pytest.raises(RefusedEvidence):
            bindings.require_bound(encoded, carried[:-1])


@named(BINDING["malformed"])
def test_a_malformed_binding_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvidence):
        Binding.decode(raw(vector["binding"]))


def test_the_ratchet_proof() -> None:
    vector = BINDING["ratchet"]
    secret, nonce, spki = (raw(vector[name]) for name in ("secret", "nonce", "tls_spki"))
    message = b"sealward/ratchet/v1" + nonce + hashlib.sha256(spki).digest()
    assert hmac.digest(secret, message, "sha256") == raw(vector["mac"])
    assert bindings.ratchet_mac(secret, nonce, spki) == raw(vector["mac"])


# Challenges.


def _verify(key_id: str, data: bytes, tag: bytes) -> bool:
    expected = hmac.digest(raw(CHALLENGE["key"]), data, "sha256")
    return key_id == CHALLENGE["key_id"] and hmac.compare_digest(expected, tag)


@named(CHALLENGE["tickets"])
def test_a_ticket_says_what_was_sealed_in_it(vector: dict[str, Any]) -> None:
    opened = challenges.open_ticket(raw(vector["ticket"]), _verify)
    assert opened == Challenge(
        purpose=Purpose(vector["purpose"]),
        nonce=raw(vector["nonce"]),
        issued=from_unix_ms(vector["issued"]),
        expires=from_unix_ms(vector["expires"]),
        trust_domain=vector["trust_domain"],
        tenant=vector["tenant"],
        requester=raw(vector["requester"]),
    )
    assert opened.nonce_hash == hashlib.sha256(opened.nonce).hexdigest() == vector["nonce_hash"]


@named(CHALLENGE["invalid"])
def test_a_ticket_that_is_not_ours_has_one_code(vector: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        challenges.open_ticket(raw(vector["ticket"]), _verify)
    assert caught.value.code is Code.challenge_invalid


@named(CHALLENGE["redemptions"])
def test_redeeming_a_ticket(vector: dict[str, Any]) -> None:
    opened = challenges.open_ticket(raw(vector["ticket"]), _verify)
    assert _redeemed(opened, vector) == vector["expect"]


def _redeemed(opened: Challenge, vector: dict[str, Any]) -> str:
    try:
        challenges.require(
            opened,
            purpose=Purpose(vector["purpose"]),
            trust_domain=vector["trust_domain"],
            tenant=vector["tenant"],
            requester=raw(vector["requester"]),
            now=from_unix_ms(vector["now"]),
        )
    except Refused as refused:
        return refused.code.value
    return "redeemed"


# Signed terms.


def _terms(data: bytes) -> VerifiedTerms:
    return terms.verify(
        data,
        keys=(bytes(32), raw(TERMS["public"])),
        trust_domain=TERMS["trust_domain"],
        tenant=TERMS["tenant"],
        node=raw(TERMS["node"]),
    )


@named(TERMS["terms"])
def test_terms_are_verified_and_signed_the_same(vector: dict[str, Any]) -> None:
    payload, cose = raw(vector["payload"]), raw(vector["cose"])
    verified = _terms(cose)
    assert verified.terms.encode() == payload
    assert verified.digest == hashlib.sha256(payload).digest() == raw(vector["digest"])
    private = Ed25519PrivateKey.from_private_bytes(raw(TERMS["seed"]))
    public = raw(TERMS["public"])
    assert terms.sign(payload, public=public, signer=private.sign) == cose
    assert hashlib.sha256(public).digest() == raw(TERMS["kid"])
    for label, field in ((b"content-key", "content_key_info"), (b"ratchet", "ratchet_info")):
        name = b"sealward/" + label + b"-grant/v1"
        assert len(name).to_bytes(2, "big") + name + verified.digest == raw(vector[field])
    assert terms.content_key_info(verified.digest) == raw(vector["content_key_info"])
    assert terms.ratchet_info(verified.digest) == raw(vector["ratchet_info"])


@named(TERMS["refused"])
def test_terms_that_are_not_for_this_node_or_not_of_version_1_are_refused(
    vector: dict[str, Any],
) -> None:
    with pytest.raises((MalformedEvidence, RefusedEvidence)):
        _terms(raw(vector["cose"]))


def test_what_travels_wrapped() -> None:
    vector = TERMS["wrapped"]
    lease, key_id, key = (raw(vector[name]) for name in ("lease", "content_key_id", "key"))
    assert terms.decode_content_key(raw(vector["content_key"])) == (lease, key_id, key)
    assert terms.encode_content_key(lease, key_id, key) == raw(vector["content_key"])
    index = vector["ratchet_index"]
    assert terms.decode_ratchet(raw(vector["ratchet"])) == (index, key)
    assert terms.encode_ratchet(index, key) == raw(vector["ratchet"])


# Wipe statements.


def _wiped(data: bytes) -> WipeStatement:
    return wipe.verify(data, public=raw(WIPE["public"]), node=raw(WIPE["node"]))


@named(WIPE["statements"])
def test_a_wipe_statement_is_verified_and_signed_the_same(vector: dict[str, Any]) -> None:
    said = _wiped(raw(vector["cose"]))
    assert (said.cause, said.sequence) == (vector["cause"], vector["sequence"])
    assert [lease.hex() for lease in said.leases] == vector["leases"]
    assert len(said.items) == vector["items"]
    private = Ed25519PrivateKey.from_private_bytes(raw(WIPE["seed"]))
    assert said.sign(raw(WIPE["public"]), private.sign) == raw(vector["cose"])


@named(WIPE["refused"])
def test_a_wipe_statement_by_or_about_somebody_else_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises((MalformedEvidence, RefusedEvidence)):
        _wiped(raw(vector["cose"]))
