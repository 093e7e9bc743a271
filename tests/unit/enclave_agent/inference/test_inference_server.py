"""The listener: TLS, binding rules, and an end that leaves nothing open."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from fakes.inference_gate import HandGate
from fakes.inference_models import TokenMint

from sealward.enclave_agent.inference.catalog import Catalog
from sealward.enclave_agent.inference.oip import Budgets, InferenceApp
from sealward.enclave_agent.inference.server import InferenceServer, TlsFiles


def app() -> InferenceApp:
    gate = HandGate(TokenMint(Ed25519PrivateKey.from_private_bytes(bytes(32))), "m")
    return InferenceApp(catalog=Catalog(), gate=gate, budgets=Budgets())


def tls_files(folder: Path) -> TlsFiles:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=36500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(folder / "node.pem", folder / "node.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def test_it_serves_over_tls_13_only_and_stops(tmp_path: Path):
    files = tls_files(tmp_path)

    async def story() -> None:
        server = InferenceServer(app(), host="127.0.0.1", port=0, tls=files)
        port = await server.start()
        trusting = ssl.create_default_context(cafile=str(files.certificate))
        async with httpx.AsyncClient(verify=trusting, trust_env=False) as client:
            answer = await client.get(f"https://127.0.0.1:{port}/v2/health/live")
            assert answer.json() == {"live": True}
            assert "server" not in answer.headers
        old = ssl.create_default_context(cafile=str(files.certificate))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with httpx.AsyncClient(verify=old, trust_env=False) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(f"https://127.0.0.1:{port}/v2/health/live")
        await server.stop()
        await server.stop()
        with pytest.raises(OSError, match=r"refused|failed"):
            await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(story())


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "::", "localhost", ""])  # noqa: S104 - refused here
def test_clear_text_is_for_loopback_addresses_only(host: str):
    with pytest.raises(ValueError, match=r"loopback|does not appear"):
        InferenceServer(app(), host=host, port=0, tls=None)


def test_a_taken_port_is_an_error_and_not_a_silent_second_listener():
    async def story() -> None:
        first = InferenceServer(app(), host="127.0.0.1", port=0, tls=None)
        port = await first.start()
        with pytest.raises(OSError, match="in use"):
            await InferenceServer(app(), host="127.0.0.1", port=port, tls=None).start()
        await first.stop()

    asyncio.run(story())


def test_a_certificate_that_cannot_be_read_stops_the_start(tmp_path: Path):
    async def story() -> None:
        missing = TlsFiles(tmp_path / "no.pem", tmp_path / "no.key")
        server = InferenceServer(app(), host="127.0.0.1", port=0, tls=missing)
        with pytest.raises(FileNotFoundError):
            await server.start()

    asyncio.run(story())
