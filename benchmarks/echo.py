"""The least that gRPC costs: a grpc.aio server over mutual TLS that answers without thinking.

    python -m benchmarks.echo --request BYTES --answer BYTES

serves on loopback, prints its port and pid, and ends when its input closes. One call takes
`--request` bytes and gives `--answer` bytes back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sealward.controlplane.adapters.system_clock import SystemClock

METHOD = "/bench.Echo/Call"


def self_signed() -> tuple[bytes, bytes]:
    """Return key and certificate (PEM) of a P-256 identity for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem, certificate.public_bytes(Encoding.PEM)


async def _serve(answer: bytes, identity: Path) -> None:
    async def echo(_request: bytes, _context: object) -> bytes:  # noqa: RUF029 - gRPC awaits it
        return answer

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "bench.Echo", {"Call": grpc.unary_unary_rpc_method_handler(echo)}
            ),
        )
    )
    key, certificate = self_signed()
    identity.write_bytes(key + certificate)
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=certificate, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(json.dumps({"port": port, "pid": os.getpid()}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


def main() -> None:
    """Serve until the input closes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answer", type=int, required=True, help="bytes of an answer")
    parser.add_argument("--identity", type=Path, required=True, help="where to put key and chain")
    options = parser.parse_args()
    try:
        import uvloop  # noqa: PLC0415 - as `sealward serve` does where it is there

        uvloop.run(_serve(bytes(options.answer), options.identity))
    except ImportError:
        asyncio.run(_serve(bytes(options.answer), options.identity))


if __name__ == "__main__":
    main()
