"""Everything that is hashed, signed or authenticated reads back to exactly the bytes it was."""

from __future__ import annotations

import copy
import hashlib
from datetime import timedelta
from typing import Any, Final

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from fakes.snp_fixtures import hierarchy
from fakes.state import NOW
from hypothesis import example, given
from hypothesis import strategies as st

from sealward.controlplane.domain import challenge as challenges
from sealward.controlplane.domain.challenge import Challenge
from sealward.controlplane.domain.errors import Code, Refused
from sealward.protos import terms, wipe
from sealward.protos.terms import LeaseTerms, LeaseTermsState, ModelTerms, Terms, TermsKind
from sealward.protos.trust import TrustConfiguration
from sealward.protos.wipe import WipeCause, WipedItem, WipeStatement
from sealward.verifier.rats.binding import AgentStatement, Audience, Binding, Purpose
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import cbor, cose

KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC: Final = KEY.public_key().public_bytes_raw()
ONE: Final = bytes(31) + b"\1"
TAG: Final = bytes(32)

BINDING: Final = Binding(
    purpose=Purpose.ATTEST,
    nonce=ONE,
    audience=Audience(trust_domain="a.invalid", pin=ONE),
    tenant="default",
    tls_spki=b"key",
    hpke_suite=1,
    hpke_public=ONE,
    signing_public=ONE,
    statement=AgentStatement(
        agent_version="1", clock_source="tsc", held_leases=(bytes(16),), open_models=(ONE,)
    ),
    inference_config=ONE,
    ratchet=(1, ONE),
    sub_evidence=(ONE,),
    logs=(ONE,),
    further_keys=(("a", ONE),),
)
TERMS: Final = Terms(
    kind=TermsKind.GRANT,
    trust_domain="a.invalid",
    tenant="default",
    node=ONE,
    sequence=1,
    challenge=ONE,
    issued_ms=1,
    leases=(
        LeaseTerms(
            lease_id=bytes(16),
            workload="scoring",
            state=LeaseTermsState.GRANTED,
            ttl_ms=1,
            not_after_ms=1,
            cause="ttl",
            models=(
                ModelTerms(
                    name="m",
                    version=1,
                    core_digest=ONE,
                    header_digest=ONE,
                    content_key_id=ONE,
                    min_version=1,
                ),
            ),
            obligations={"a": 1, "b": ("c",)},
        ),
    ),
    policies={"release/builtin": ONE},
    log_leaf=ONE,
    client_token_keys=(ONE,),
)
WIPE: Final = WipeStatement(
    node=ONE,
    sequence=1,
    cause=WipeCause.REVOKED,
    leases=(bytes(16),),
    items=(
        WipedItem(
            content_key_id=ONE,
            model="m",
            version=1,
            worker_pid=1,
            exit_status=1,
            weight_bytes=1,
        ),
    ),
    elapsed_ms=1,
    unknown=("a",),
)
CHALLENGE: Final = Challenge(
    purpose=Purpose.ATTEST,
    nonce=ONE,
    issued=NOW,
    expires=NOW + timedelta(seconds=30),
    trust_domain="a.invalid",
    tenant="default",
    requester=ONE,
)


def read_binding(payload: bytes) -> bytes:
    return Binding.decode(payload).encode()


def read_terms(payload: bytes) -> bytes:
    return terms.decode(payload).encode()


def read_wipe(payload: bytes) -> bytes:
    kid = hashlib.sha256(PUBLIC).digest()
    aad = b"sealward/wipe-statement/v1"
    signed = cose.sign1(payload, alg=cose.EDDSA, kid=kid, sign=KEY.sign, external_aad=aad)
    said = wipe.verify(signed, public=PUBLIC, node=ONE)
    again = cose.parse_sign1(said.sign(PUBLIC, KEY.sign), what="again", max_bytes=wipe.MAX_BYTES)
    return again.payload


def read_ticket(payload: bytes) -> bytes:
    """As with a stolen challenge key: the payload is all that is left to judge."""
    ticket = bytes(8) + payload + TAG
    opened = challenges.open_ticket(ticket, lambda _key, _data, _tag: True)
    return challenges.seal(opened, lambda _data: (bytes(8).hex(), TAG))[8:-32]


def wipe_payload() -> bytes:
    signed = WIPE.sign(PUBLIC, KEY.sign)
    return cose.parse_sign1(signed, what="a statement", max_bytes=wipe.MAX_BYTES).payload


CASES: Final = {
    "binding": (BINDING.encode(), read_binding),
    "terms": (TERMS.encode(), read_terms),
    "wipe": (wipe_payload(), read_wipe),
    "ticket": (challenges.seal(CHALLENGE, lambda _d: (bytes(8).hex(), TAG))[8:-32], read_ticket),
}
OTHERS: Final = (True, False, None, 0, 1, 1.0, -1, 1 << 63, (1 << 64) - 1, "", b"", [], {}, "1")
EVERY = pytest.mark.parametrize("kind", CASES)


def decoded(payload: bytes) -> cbor.Value:
    return cbor.decode(payload, what="a statement", max_bytes=len(payload))


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - CBOR
    """The paths of every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for name, item in inner:
        found.append((*at, name))
        if isinstance(item, dict | list):
            found += places(item, (*at, name))
    return found


def with_value(value: Any, at: tuple[Any, ...], put: Any) -> bytes:  # noqa: ANN401 - CBOR
    changed = copy.deepcopy(value)
    holder = changed
    for name in at[:-1]:
        holder = holder[name]
    holder[at[-1]] = put
    return cbor2.dumps(changed, canonical=True)


def same_or_refused(kind: str, payload: bytes) -> bool:
    """Whether it was read; then it has read back to the same bytes."""
    _, read = CASES[kind]
    try:
        again = read(payload)
    except MalformedEvidence:
        return False
    except Refused as error:
        if error.code is not Code.challenge_invalid:
            raise
        return False
    assert again == payload
    return True


@EVERY
def test_what_is_written_reads_back(kind: str) -> None:
    payload, _ = CASES[kind]
    assert same_or_refused(kind, payload)


@EVERY
def test_no_value_is_taken_for_another(kind: str) -> None:
    """Not true for 1, not 1.0 for 1, not null for nothing: at every place of the statement."""
    payload, _ = CASES[kind]
    value = decoded(payload)
    for at in places(value):
        for other in OTHERS:
            if not (kind == "wipe" and at == (2,)):  # another node is another refusal
                same_or_refused(kind, with_value(value, at, other))


@EVERY
def test_no_version_but_the_integer_is_known(kind: str) -> None:
    payload, _ = CASES[kind]
    value = decoded(payload)
    at = {"binding": (1, 1), "ticket": (0,)}.get(kind, (1,))
    for version in (True, 1.0, 0, 2, "1", None):
        assert not same_or_refused(kind, with_value(value, at, version))


@EVERY
@given(flips=st.lists(st.tuples(st.integers(0, 4095), st.integers(1, 255)), max_size=3))
@example(flips=[])
def test_damaged_bytes_are_refused_or_read_back(kind: str, flips: list[tuple[int, int]]) -> None:
    payload = bytearray(CASES[kind][0])
    for at, mask in flips:
        payload[at % len(payload)] ^= mask
    try:
        same_or_refused(kind, bytes(payload))
    except Exception as error:
        if kind != "wipe" or "another node" not in str(error):
            raise


def test_a_wipe_statement_counts_terms_as_the_database_does() -> None:
    value = decoded(wipe_payload())
    assert same_or_refused("wipe", with_value(value, (3,), (1 << 63) - 1))
    assert not same_or_refused("wipe", with_value(value, (3,), 1 << 63))
    assert not same_or_refused("wipe", with_value(value, (3,), True))  # noqa: FBT003 - the value


def test_a_trust_configuration_of_version_true_is_refused() -> None:
    root = x509.load_der_x509_certificate(hierarchy().ark).public_bytes(Encoding.PEM).decode()
    trust = TrustConfiguration(
        trust_domain="a.invalid",
        tenant="default",
        development=False,
        server_roots=(root,),
        terms_keys=(ONE,),
        log_keys=(ONE,),
    )
    good = trust.encode()
    assert TrustConfiguration.decode(good) == trust
    changed = good.replace(b'"v":1', b'"v":true')
    assert changed != good
    with pytest.raises(MalformedEvidence, match="version 1"):
        TrustConfiguration.decode(changed)
