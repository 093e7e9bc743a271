"""`arc` of github.com/veraison/ear verifies and reads the attestation results that we make."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import require_part
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fakes import arc_tool
from fakes.arc_tool import Arc
from fakes.ear_findings import GOOD, finding_of

from sealward.controlplane.adapters.keystore import file
from sealward.controlplane.adapters.keystore.file import FileKeystore
from sealward.controlplane.services.attestation_results import ResultIssuer, ResultRequest
from sealward.verifier.rats.result import Posture
from sealward.verifier.rats.result_keys import decode_set

pytestmark = pytest.mark.integration

REQUEST = ResultRequest("https://bank.example", bytes(range(32)))


@pytest.fixture(scope="session")
def arc() -> Arc:
    found = arc_tool.find()
    if found is None:
        require_part(arc_tool.missing())
    assert found is not None
    return found


@pytest.fixture
def keystore(tmp_path: Path) -> FileKeystore:
    file.create(tmp_path / "keys", secrets.token_bytes)
    return FileKeystore(tmp_path / "keys", secrets.token_bytes)


def today() -> datetime:
    """This tool asks the machine's clock."""
    return datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - as above


def spki() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def token(keystore: FileKeystore, now: datetime, **changes: object) -> str:
    issuer = ResultIssuer(keystore, "development.example")
    finding = finding_of(now, spki(), **changes)
    return issuer.issue(finding, REQUEST, result_id="0f" * 16, now=now).text


def key_of(keystore: FileKeystore, now: datetime) -> dict[str, object]:
    return dict(decode_set(ResultIssuer(keystore, "").key_set(now))[0].to_jwk())


def test_it_reads_what_we_say_of_a_machine_and_its_devices(
    arc: Arc, keystore: FileKeystore, tmp_path: Path
) -> None:
    now = today()
    bad = {**GOOD, "hardware": 96}
    vector = {**GOOD, "submods": {"gpu-0": GOOD, "gpu-1": bad}}
    text = token(
        keystore, now, vector=vector, devices=("gpu-0", "gpu-1"), posture=Posture.NONCOMPLIANT
    )
    read = arc.read(text, key_of(keystore, now), tmp_path)
    assert read["eat_profile"] == "tag:github.com,2023:veraison/ear"
    assert read["iat"] == int(now.timestamp())
    assert read["eat_nonce"] == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert read["ear.verifier-id"] == {"developer": "sealward", "build": "sealward 0 sha256:03"}
    submods = read["submods"]
    assert {label: one["ear.status"] for label, one in submods.items()} == {
        "snp": "affirming",
        "gpu-0": "affirming",
        "gpu-1": "contraindicated",
    }
    assert submods["snp"]["ear.trustworthiness-vector"] == GOOD
    assert submods["gpu-1"]["ear.trustworthiness-vector"] == bad
    assert submods["snp"]["ear.appraisal-policy-id"].startswith("sealward:appraisal:sha256:")


def test_it_refuses_another_key_and_a_changed_token(
    arc: Arc, keystore: FileKeystore, tmp_path: Path
) -> None:
    now = today()
    text, key = token(keystore, now), key_of(keystore, now)
    assert arc.verify(text, key, tmp_path)[0] == 0
    keystore.rotate_result_key(now, keep_previous=False)
    assert arc.verify(text, key_of(keystore, now), tmp_path)[0] != 0
    header, claims, signature = text.split(".")
    other = ("B" if signature[0] == "A" else "A") + signature[1:]
    assert arc.verify(f"{header}.{claims}.{other}", key, tmp_path)[0] != 0


def test_it_refuses_a_result_that_has_ended(
    arc: Arc, keystore: FileKeystore, tmp_path: Path
) -> None:
    then = datetime(2026, 1, 1, tzinfo=UTC)
    status, said = arc.verify(token(keystore, then), key_of(keystore, then), tmp_path)
    assert status != 0
    assert "exp" in said
