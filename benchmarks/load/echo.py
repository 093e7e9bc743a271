"""The least that gRPC costs: a grpc.aio server over mutual TLS that answers without thinking.

    python -m benchmarks.load.echo --answer BYTES --identity FILE

serves on loopback, prints its port and pid, and ends when its input closes. `measure` starts it as
a process of its own and calls it over as many connections as there would be agents.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from benchmarks.load.processes import cpu_seconds
from sealward.controlplane.adapters.system_clock import SystemClock

_METHOD: Final = "/bench.Echo/Call"
_WARM_UP: Final = 20
_ROOT: Final = Path(__file__).resolve().parents[2]


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


async def _serve(answer: bytes, key: bytes, certificate: bytes) -> None:
    async def echo(_request: bytes, _context: object) -> bytes:
        return answer

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "bench.Echo", {"Call": grpc.unary_unary_rpc_method_handler(echo)}
            ),
        )
    )
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=certificate, require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(json.dumps({"port": port, "pid": os.getpid()}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """What was measured.

    Attributes:
        latencies: seconds of each call.
        wall_seconds: of all of them together.
        server_cpu_seconds: of the serving process.
    """

    latencies: list[float]
    wall_seconds: float
    server_cpu_seconds: float


def measure(folder: Path, *, request: int, answer: int, connections: int, calls: int) -> Echo:
    """Call the echo `calls` times over each connection, all at once."""
    identity = folder / "echo.pem"
    process = subprocess.Popen(
        (
            *(sys.executable, "-m", "benchmarks.load.echo"),
            *("--answer", str(answer), "--identity", str(identity)),
        ),
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both were asked for")
    try:
        serving = json.loads(process.stdout.readline())  # noqa: TID251 - our own process's answer
        pem = identity.read_bytes()
        return asyncio.run(_call(serving, pem, bytes(request), connections, calls))
    finally:
        process.stdin.close()
        process.wait()


async def _call(
    serving: dict[str, int], pem: bytes, request: bytes, connections: int, calls: int
) -> Echo:
    key, mark, certificate = pem.partition(b"-----BEGIN CERTIFICATE-----")
    chain = mark + certificate
    credentials = grpc.ssl_channel_credentials(chain, key, chain)
    options = (("grpc.use_local_subchannel_pool", 1),)  # a connection for each channel
    latencies: list[float] = []
    async with AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(
                grpc.aio.secure_channel(f"localhost:{serving['port']}", credentials, options)
            )
            for _ in range(connections)
        ]

        async def loop(channel: grpc.aio.Channel, times: int) -> None:
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
            for _ in range(times):
                began = time.perf_counter()
                await call(request)
                latencies.append(time.perf_counter() - began)

        await asyncio.gather(*(loop(channel, _WARM_UP) for channel in channels))
        latencies.clear()
        cpu, began = cpu_seconds([serving["pid"]]), time.perf_counter()
        await asyncio.gather(*(loop(channel, calls) for channel in channels))
        return Echo(
            latencies=latencies,
            wall_seconds=time.perf_counter() - began,
            server_cpu_seconds=cpu_seconds([serving["pid"]]) - cpu,
        )


def main() -> None:
    """Serve until the input closes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answer", type=int, required=True, help="bytes of an answer")
    parser.add_argument("--identity", type=Path, required=True, help="where to put key and chain")
    options = parser.parse_args()
    key, certificate = self_signed()
    options.identity.write_bytes(key + certificate)
    uvloop.run(_serve(bytes(options.answer), key, certificate))


if __name__ == "__main__":
    main()
