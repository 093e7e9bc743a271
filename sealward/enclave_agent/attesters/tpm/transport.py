"""Command bytes to a TPM and response bytes back; nothing here knows what they mean.

A transport stays open as long as what was loaded through it is in use: the kernel's resource
manager forgets all objects and sessions of a descriptor that is closed.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final, Protocol

from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from typing import Self

PATH: Final = "/dev/tpmrm0"
MAX_RESPONSE: Final = 4096  # TPM_BUFSIZE of the kernel; what the agent asks for stays below 2 KiB
TIMEOUT_S: Final = 120.0  # an RSA key on a slow discrete TPM can take the better part of a minute
_HEADER: Final = 10
_SIZE_AT: Final = 2


class TpmTransport(Protocol):
    """Where a TPM can be asked."""

    def execute(self, command: bytes) -> bytes:
        """Send one command and return its response, header included.

        Raises:
            TpmError: the TPM cannot be reached; `code` is None.
        """
        ...


class CharacterDevice:
    """A TPM device of the kernel, preferably one behind its resource manager (/dev/tpmrm0)."""

    def __init__(self, path: str = PATH) -> None:
        """Open the device; raises TpmError where it cannot be opened."""
        self._path: Final = path
        try:
            self._descriptor: Final = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise TpmError(None, f"The TPM cannot be used: {_why(path, error)}.") from error

    def execute(self, command: bytes) -> bytes:
        """Write the command whole and read the response whole, as the kernel demands."""
        try:
            written = os.write(self._descriptor, command)
            if written != len(command):
                raise TpmError(None, f"{self._path} took {written} of {len(command)} bytes.")
            return os.read(self._descriptor, MAX_RESPONSE)
        except OSError as error:
            raise TpmError(None, f"The TPM cannot be used: {_why(self._path, error)}.") from error

    def close(self) -> None:
        """Close the device; the kernel then forgets what was loaded through it."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Socket:
    """A TPM behind a stream that carries bare commands: the data port of swtpm."""

    def __init__(self, host: str, port: int, *, timeout_s: float = TIMEOUT_S) -> None:
        """Connect; raises TpmError where nobody answers."""
        self._where: Final = f"{host}:{port}"
        try:
            self._socket: Final = socket.create_connection((host, port), timeout=timeout_s)
        except OSError as error:
            raise TpmError(None, f"No TPM at {self._where} ({_text(error)}).") from error

    def execute(self, command: bytes) -> bytes:
        """Send the command and read as much as the response's header says.

        A connection that failed half-way is closed: the next response could be the last one's.
        """
        try:
            self._socket.sendall(command)
            header = self._read(_HEADER)
            return header + self._read(_size(header) - _HEADER)
        except OSError as error:
            self.close()
            raise TpmError(None, f"The TPM at {self._where} is lost ({_text(error)}).") from error
        except TpmError:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._socket.recv(size - len(parts))
            if not part:
                raise TpmError(None, f"The TPM at {self._where} ended the connection.")
            parts += part
        return bytes(parts)


def _size(header: bytes) -> int:
    reader = Reader(header)
    try:
        reader.seek(_SIZE_AT, "response size")
        size = reader.be(4, "response size")
    except MalformedEvidence as error:  # ten bytes are never too short
        raise TpmError(None, f"The TPM's response cannot be read: {error}.") from error
    if not _HEADER <= size <= MAX_RESPONSE:
        raise TpmError(
            None, f"The TPM announces a response of {size} bytes; {MAX_RESPONSE} is most."
        )
    return size


def _why(path: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return (
                f"there is no {path} (a TPM 2.0 in the firmware's settings or of the hypervisor, "
                "and Linux 4.12 or later with CONFIG_TCG_TPM)"
            )
        case errno.EACCES | errno.EPERM:
            return f"this user may not open {path} (put the agent's user into the device's group)"
        case errno.EBUSY:
            return f"another process holds {path} (use {PATH}, which is shared)"
        case _:
            return f"{path} gives an error ({_text(error)})"


def _text(error: OSError) -> str:
    return error.strerror or type(error).__name__
