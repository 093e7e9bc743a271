"""Client tokens: exactly one form is accepted, whatever is sent."""

from __future__ import annotations

import base64
import json
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.inference_models import ISSUER, NOW, TENANT, TokenMint, key_id
from hypothesis import given
from hypothesis import strategies as st

from sealward.enclave_agent.inference.client_tokens import (
    CLOCK_LEEWAY,
    MAX_CACHED,
    ClientIdentity,
    ClientTokenVerifier,
    InvalidClientToken,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
MINT = TokenMint(KEY)
AT = int(NOW.timestamp())
GOOD = MINT.token()


def verifier() -> ClientTokenVerifier:
    keys = (OTHER.public_key(), KEY.public_key())
    return ClientTokenVerifier(issuer=ISSUER, tenant=TENANT, keys=keys)


def test_a_good_token_names_its_client_and_workload():
    assert verifier().verify(GOOD, now=NOW) == ClientIdentity(
        client="client-1",
        tenant=TENANT,
        workload="files",
        token_id="0001",  # noqa: S106 - an id
        issued_at=AT,
        expires_at=AT + 300,
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"iss": "elsewhere"}, "InvalidIssuer"),
        ({"aud": "files"}, "not for a workload"),
        ({"aud": "workload:"}, "not for a workload"),
        ({"aud": ["workload:files"]}, "aud is not text"),
        ({"tenant": "other"}, "another tenant"),
        ({"sub": ""}, "sub is not text"),
        ({"jti": 5}, "InvalidJTIError|jti is not text"),
        ({"exp": AT + 0.5}, "exp is not an instant"),
        ({"exp": True}, "exp is not an instant"),
        ({"exp": 1 << 60}, "exp is not an instant"),
        ({"iat": -1}, "iat is not an instant"),
        ({"exp": AT}, "ends before"),
        ({"scope": "read"}, "members are not exactly"),
        ({"nbf": AT}, "members are not exactly"),
    ],
)
def test_a_signed_token_with_another_claim_is_refused(changes: dict[str, object], why: str):
    with pytest.raises(InvalidClientToken, match=why):
        verifier().verify(MINT.token(MINT.claims(**changes)), now=NOW)


@pytest.mark.parametrize("claim", sorted(MINT.claims()))
def test_every_claim_is_required(claim: str):
    claims = MINT.claims()
    del claims[claim]
    with pytest.raises(InvalidClientToken, match="members are not exactly"):
        verifier().verify(MINT.token(claims), now=NOW)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"typ": "JWT"}, "type is not"),
        ({"kid": key_id(KEY).upper()}, "not accepted here"),
        ({"kid": key_id(OTHER)}, "InvalidSignature"),
        ({"crit": ["exp"]}, "members are not exactly"),
        ({"jwk": {}}, "members are not exactly"),
    ],
)
def test_another_header_is_refused(header: dict[str, object], why: str):
    with pytest.raises(InvalidClientToken, match=why):
        verifier().verify(MINT.token(None, **header), now=NOW)


def test_a_key_that_is_not_accepted_signs_nothing():
    stranger = TokenMint(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    with pytest.raises(InvalidClientToken, match="not accepted here"):
        verifier().verify(stranger.token(), now=NOW)


def part(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256", "Ed25519"])
def test_the_algorithm_is_fixed_whatever_the_header_says(algorithm: str):
    header = {"alg": algorithm, **MINT.header()}
    for signature in ("", GOOD.rsplit(".", 1)[1]):
        with pytest.raises(InvalidClientToken):
            verifier().verify(f"{part(header)}.{part(MINT.claims())}.{signature}", now=NOW)


def test_the_public_key_is_no_hmac_secret():
    token = jwt.encode(
        MINT.claims(), KEY.public_key().public_bytes_raw(), "HS256", headers=MINT.header()
    )
    with pytest.raises(InvalidClientToken):
        verifier().verify(token, now=NOW)


def test_duplicate_claims_are_refused_although_signed():
    body = json.dumps(MINT.claims())[:-1] + ', "sub": "admin"}'
    signed = f"{GOOD.split('.')[0]}.{part(body.encode())}"
    token = f"{signed}.{part(KEY.sign(signed.encode()))}"
    with pytest.raises(InvalidClientToken, match="duplicate"):
        verifier().verify(token, now=NOW)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b", GOOD + ".", GOOD + "=", "ü" + GOOD, " " + GOOD, GOOD * 10]
)
def test_what_is_no_token_is_refused(token: str):
    with pytest.raises(InvalidClientToken):
        verifier().verify(token, now=NOW)


@given(st.text(max_size=60) | st.integers(0, len(GOOD) - 1))
def test_any_text_and_any_changed_token_is_refused_with_the_one_error(text: str | int):
    if isinstance(text, int):
        other = "A" if GOOD[text] != "A" else "B"
        text = GOOD[:text] + other + GOOD[text + 1 :]
    with pytest.raises(InvalidClientToken) as refusal:
        verifier().verify(text, now=NOW)
    assert GOOD.split(".")[1] not in str(refusal.value)


def test_time_is_asked_again_for_a_remembered_token():
    tokens = verifier()
    tokens.verify(GOOD, now=NOW)
    last = NOW + timedelta(seconds=300) + CLOCK_LEEWAY
    tokens.verify(GOOD, now=last - timedelta(seconds=1))
    with pytest.raises(InvalidClientToken, match="expired"):
        tokens.verify(GOOD, now=last)
    with pytest.raises(InvalidClientToken, match="future"):
        tokens.verify(GOOD, now=NOW - CLOCK_LEEWAY - timedelta(seconds=1))


def test_remembered_tokens_are_bounded_and_stay_right():
    tokens = verifier()
    for number in range(MAX_CACHED + 5):  # one more than is kept, and some
        token = MINT.token(MINT.claims(sub=f"client-{number}"))
        assert tokens.verify(token, now=NOW).client == f"client-{number}"
    assert len(tokens._verified) == MAX_CACHED  # noqa: SLF001 - the budget is the point
    assert tokens.verify(GOOD, now=NOW).client == "client-1"
