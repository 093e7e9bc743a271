"""The secret walk: whatever is asked, no answer and no log line holds a key (F2)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.admin_models import CREATOR, registration
from fakes.admin_plane import AdminPlane, bearer
from fakes.admin_requests import CALLS, POLICY, REFERENCE_SET

from sealward.controlplane.domain.keys import KeyContext, KeyPurpose, WrapPurpose
from sealward.controlplane.services.release_core import ReleaseCore
from sealward.sealing.workload_key import WorkloadKey


class Walker:
    """Asks, and keeps every byte that came back."""

    def __init__(self, plane: AdminPlane, token: str) -> None:
        self._plane, self._token = plane, token
        self.seen: list[str] = []

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:  # noqa: ANN401 - passed on
        headers = {**bearer(self._token), **how.pop("headers", {})}
        answer = self._plane.client.request(method, path, headers=headers, **how)
        self.seen.append(f"{dict(answer.headers)}\n{answer.text}")
        return answer


def forms(secret: bytes) -> Iterator[str]:
    """Return the ways in which a secret could be written down, at any alignment of base64."""
    yield secret.hex()
    yield repr(secret)[2:-1]
    for lead in range(3):
        text = base64.b64encode(bytes(lead) + secret).decode()
        inner = text[4:-4]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


def test_no_answer_and_no_log_holds_a_key_or_a_secret_twice(
    plane: AdminPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = plane.administrator()
    walk = Walker(plane, alice.text)
    creators = [base64.b64encode(CREATOR.public.encoded).decode()]
    walk.ask("POST", "/v1/workloads", json={"name": "scoring", "creators": creators})
    document = walk.ask("GET", "/v1/workloads/scoring/key").content
    header = {"Content-Type": "application/octet-stream"}
    models = "/v1/workloads/scoring/models"
    parsed = WorkloadKey.parse(document)
    made = walk.ask("POST", models, content=registration(parsed), headers=header)
    assert made.status_code == 201, made.text
    walk.ask("POST", "/v1/reference-sets?activate=true", json=REFERENCE_SET)
    digest = walk.ask("POST", "/v1/policies", json=POLICY).json()["digest"]
    walk.ask("POST", "/v1/activations", json={"digest": digest, "replaces": None})
    plane.add_node()
    plane.add_decision()
    issued = [
        walk.ask("POST", "/v1/join-tokens", json={}),
        walk.ask("POST", "/v1/client-tokens", json={"workload": "scoring", "subject": "bob"}),
        walk.ask(
            "POST",
            "/v1/principals",
            json={"name": "bob", "roles": ["admin"], "lifetime_seconds": 60},
        ),
    ]
    for call in CALLS:
        walk.ask(call.method, call.path, content=call.content, headers=call.headers)
    for path in (f"/v1/policies/{digest}", f"{models}/demo/versions/1/exposure", "/healthz"):
        walk.ask("GET", path)
    logged = capsys.readouterr()
    everywhere = "\n".join([*walk.seen, logged.out, logged.err])

    key = plane.database.read(lambda tx: tx.workloads.latest_key("scoring"))
    model = plane.database.read(lambda tx: tx.models.get("scoring", "demo", 1))
    context = KeyContext(
        purpose=WrapPurpose.workload_private, tenant="default", workload="scoring", version=1
    )
    private = plane.keystore.unwrap(key.wrapped_private, context)
    content_key = bytes(ReleaseCore(plane.keystore, "default").content_key(model, key))
    keys = [private[2:66], private[-32:], content_key, key.wrapped_private[-48:]]
    files = [file for file in (plane.file.parent / "keys").rglob("*") if file.is_file()]
    assert len(files) == len(KeyPurpose)
    keys += [_secret_of(file.read_bytes()) for file in files]
    for secret in keys:
        assert len(secret) >= 16
        for form in forms(secret):
            assert form not in everywhere
    for answer in issued:
        secret = answer.json()["credential"].rpartition(".")[2]
        assert everywhere.count(secret) == 1
    assert alice.text.rpartition(".")[2] not in everywhere


def _secret_of(file: bytes) -> bytes:
    """Return the secret of a key file: 32 bytes in hex, or the private value of a PEM."""
    if file.startswith(b"made "):
        file = file.partition(b"\n")[2]
    if not file.startswith(b"-----"):
        return bytes.fromhex(file.split()[0].decode())
    key = serialization.load_pem_private_key(file, None)
    if isinstance(key, EllipticCurvePrivateKey):
        return key.private_numbers().private_value.to_bytes(32, "big")
    assert isinstance(key, Ed25519PrivateKey)
    return key.private_bytes_raw()
