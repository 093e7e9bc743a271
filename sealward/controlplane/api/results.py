"""Attestation results over HTTP: the tokens for administrators, the keys for everybody."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from sealward.controlplane.api.route import (
    Caller,
    GuardedRoute,
    OpenRoute,
    Services,
    Strict,
    View,
)
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.services.attestation_results import ResultRequest
from sealward.verifier.rats.attestation_result import MAX_NONCE
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64

router = APIRouter(route_class=GuardedRoute, tags=["attestation results"])
public = APIRouter(route_class=OpenRoute, tags=["attestation results"])

_KEY_SET: Final = "application/jwk-set+json"


class NewResult(Strict):
    """Whom a result is for."""

    audience: str
    nonce: str = Field(default="", description="base64url, 8 to 64 bytes; empty when none was sent")


class ResultView(View):
    """A result that was just signed."""

    result_id: str
    audience: str
    expires: datetime
    token: str


class Rotation(Strict):
    """How the key that signs results is replaced."""

    revoke: bool = False


@public.get("/result-keys", response_class=Response)
def key_set(services: Services) -> Response:
    """Return the keys that sign attestation results: a JWK set, open to anybody."""
    return Response(services.node_results.key_set(), media_type=_KEY_SET)


@router.post("/nodes/{node_id}/results", status_code=201)
def issue(node_id: str, body: NewResult, caller: Caller, services: Services) -> ResultView:
    """Sign an attestation result about a node for one relying party."""
    try:
        nonce = base64.decode_url(body.nonce, what="the nonce", max_bytes=MAX_NONCE)
    except MalformedEvidence as error:
        raise Refused(
            Code.invalid_request, error.detail, "send base64url without padding"
        ) from None
    issued = services.node_results.issue(caller, node_id, ResultRequest(body.audience, nonce))
    return ResultView(
        result_id=issued.result_id,
        audience=issued.audience,
        expires=issued.expires,
        token=issued.text,
    )


@router.post("/result-keys/rotate", response_class=Response)
def rotate(body: Rotation, caller: Caller, services: Services) -> Response:
    """Begin to sign with a fresh key; return the key set."""
    keys = services.node_results.rotate(caller, revoke=body.revoke)
    return Response(keys, media_type=_KEY_SET)
