"""Bytes to a TPM and back: a stream on loopback, and a terminal in raw mode as the device."""

from __future__ import annotations

import os
import socket
import threading
import tty
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.transport import CharacterDevice, Socket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMAND = bytes.fromhex("8001 0000000e 00000165 80000000")
RESPONSE = bytes.fromhex("8001 0000000e 00000000 01020304")


@contextmanager
def answering(*parts: bytes) -> Iterator[int]:
    """A TPM's port that reads one command, sends these parts and hangs up."""

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(len(COMMAND), socket.MSG_WAITALL)
            for part in parts:
                client.sendall(part)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        yield listener.getsockname()[1]
        server.join(10)
        assert not server.is_alive()


def test_a_response_in_pieces_is_put_together() -> None:
    with (
        answering(RESPONSE[:3], RESPONSE[3:11], RESPONSE[11:]) as port,
        Socket("127.0.0.1", port) as tpm,
    ):
        assert tpm.execute(COMMAND) == RESPONSE


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (RESPONSE[:6], "ended the connection"),
        (RESPONSE[:-1], "ended the connection"),
        (bytes.fromhex("8001 00000009 00000000"), "9 bytes"),
        (bytes.fromhex("8001 ffffffff 00000000"), "4294967295 bytes"),
    ],
)
def test_a_broken_response_ends_the_connection(sent: bytes, told: str) -> None:
    with answering(sent) as port, Socket("127.0.0.1", port) as tpm:
        with pytest.raises(TpmError, match=told):
            tpm.execute(COMMAND)
        with pytest.raises(TpmError, match="lost"):
            tpm.execute(COMMAND)


def test_silence_is_an_error_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with (
            Socket("127.0.0.1", port, timeout_s=0.05) as tpm,
            pytest.raises(TpmError, match="lost"),
        ):
            tpm.execute(COMMAND)


def test_a_port_where_nobody_listens_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(TpmError, match=f"No TPM at 127.0.0.1:{port}"):
            Socket("127.0.0.1", port)


def test_a_device_is_written_whole_and_read_whole() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    asked: list[bytes] = []

    def serve() -> None:
        asked.append(os.read(master, 4096))
        os.write(master, RESPONSE)

    server = threading.Thread(target=serve)
    try:
        with CharacterDevice(os.ttyname(slave)) as tpm:
            server.start()
            assert tpm.execute(COMMAND) == RESPONSE
        server.join(10)
        assert asked == [COMMAND]
    finally:
        os.close(master)
        os.close(slave)


def test_a_machine_without_a_device_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(TpmError, match="CONFIG_TCG_TPM") as caught:
        CharacterDevice(str(tmp_path / "tpmrm0"))
    assert caught.value.code is None
    assert caught.value.sentence.endswith(".")


def test_a_device_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(TpmError, match="gives an error"):
        CharacterDevice(str(tmp_path))  # a directory


def test_a_device_that_is_gone_is_an_error() -> None:
    master, slave = os.openpty()
    with CharacterDevice(os.ttyname(slave)) as tpm:
        os.close(slave)
        os.close(master)
        with pytest.raises(TpmError, match="cannot be used"):
            tpm.execute(COMMAND)
