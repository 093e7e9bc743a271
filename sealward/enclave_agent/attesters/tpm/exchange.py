"""One command to a TPM and its response, as part 1, section 18 of TPM 2.0 frames them.

    command   tag u16, size u32, code u32, handles, [size u32, authorisations], parameters
    response  tag u16, size u32, code u32, [handle u32], [size u32], parameters, [authorisations]

The parts in brackets are there with authorisations (tag 8002) only; the handle is there after
commands that make something.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, unique
from typing import TYPE_CHECKING, Final, TypeVar

from sealward.enclave_agent.attesters.tpm import errors
from sealward.enclave_agent.attesters.tpm.codec import be, sized
from sealward.enclave_agent.attesters.tpm.transport import MAX_RESPONSE
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader, check_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.enclave_agent.attesters.tpm.transport import TpmTransport

PASSWORD: Final = (
    0x40000009  # TPM_RS_PW: the authorisation value in the clear, always the empty one
)
ATTEMPTS: Final = 11
FIRST_PAUSE_S: Final = 0.01  # doubled each time: ten pauses of ten seconds together
_NO_SESSIONS: Final = 0x8001
_SESSIONS: Final = 0x8002
_HEADER: Final = 10
_CONTINUE: Final = 0x01  # the session outlives the command, so that it is we who end it

Value = TypeVar("Value")


@unique
class CommandCode(IntEnum):
    """TPM_CC (part 2, section 6.5)."""

    NV_DEFINE_SPACE = 0x12A
    CREATE_PRIMARY = 0x131
    NV_WRITE = 0x137
    ACTIVATE_CREDENTIAL = 0x147
    NV_READ = 0x14E
    POLICY_SECRET = 0x151
    CREATE = 0x153
    LOAD = 0x157
    QUOTE = 0x158
    FLUSH_CONTEXT = 0x165
    NV_READ_PUBLIC = 0x169
    POLICY_COMMAND_CODE = 0x16C
    READ_PUBLIC = 0x173
    START_AUTH_SESSION = 0x176
    PCR_READ = 0x17E
    POLICY_PCR = 0x17F

    @property
    def label(self) -> str:
        """The name for people, as "TPM2_CREATE_PRIMARY"."""
        return f"TPM2_{self.name}"


_GIVE_A_HANDLE: Final = frozenset(
    {CommandCode.CREATE_PRIMARY, CommandCode.LOAD, CommandCode.START_AUTH_SESSION}
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        code: which.
        handles: what it is about, in order.
        parameters: already in bytes; secrets to be sealed are among them.
        authorisations: a policy session or PASSWORD for each handle that needs one, in order.
    """

    code: CommandCode
    handles: tuple[int, ...] = ()
    parameters: bytes = field(default=b"", repr=False)
    authorisations: tuple[int, ...] = ()

    def encode(self) -> bytes:
        """Return the bytes to send."""
        tag, area = _NO_SESSIONS, b""
        if self.authorisations:
            tag = _SESSIONS
            area = b"".join(_authorisation(session) for session in self.authorisations)
            area = be(len(area), 4) + area
        body = b"".join(be(handle, 4) for handle in self.handles) + area + self.parameters
        return be(tag, 2) + be(_HEADER + len(body), 4) + be(self.code, 4) + body


@dataclass(frozen=True, slots=True)
class Response:
    """A successful response; `handle` is 0 where the command makes nothing."""

    code: CommandCode
    handle: int
    parameters: bytes = field(repr=False)

    def read(self, reading: Callable[[Reader], Value]) -> Value:
        """Return what `reading` makes of all the parameters.

        Raises:
            TpmError: they are not what the command answers with.
        """
        reader = Reader(self.parameters)
        try:
            value = reading(reader)
            reader.finish()
        except MalformedEvidence as error:
            raise errors.unreadable(self.code.label, error) from error
        return value


def exchange(
    transport: TpmTransport, command: Command, *, sleep: Callable[[float], None]
) -> Response:
    """Have a command executed.

    A TPM that is busy has done nothing and asks for the same command again; the kernel does that
    by itself, other transports do not.

    Args:
        transport: where the TPM is.
        command: what it shall do.
        sleep: waits for that many seconds.

    Raises:
        TpmError: the TPM cannot be reached, refused, stayed busy, or answered what cannot be read.
    """
    encoded, pause = command.encode(), FIRST_PAUSE_S
    for _ in range(ATTEMPTS - 1):
        status, response = _ask(transport, encoded, command)
        if status not in errors.BUSY:
            break
        sleep(pause)
        pause *= 2
    else:
        status, response = _ask(transport, encoded, command)
    if response is None:
        raise errors.refused(command.code.label, status)
    return response


def _ask(transport: TpmTransport, encoded: bytes, command: Command) -> tuple[int, Response | None]:
    answer = transport.execute(encoded)
    try:
        return _decode(answer, command)
    except MalformedEvidence as error:
        raise errors.unreadable(command.code.label, error) from error


def _authorisation(session: int) -> bytes:
    nonce, authorisation_value = b"\0\0", b"\0\0"
    attributes = 0 if session == PASSWORD else _CONTINUE
    return be(session, 4) + nonce + be(attributes, 1) + authorisation_value


def _decode(answer: bytes, command: Command) -> tuple[int, Response | None]:
    """Return the response code, and the response unless it is a refusal."""
    check_budget(answer, MAX_RESPONSE, "response")
    reader = Reader(answer)
    tag, size, status = reader.be(2, "tag"), reader.be(4, "size"), reader.be(4, "response code")
    if size != len(answer):
        raise reader.malformed(f"size says {size}, and {len(answer)} bytes came")
    if status:
        reader.finish()
        return status, None
    if tag != (_SESSIONS if command.authorisations else _NO_SESSIONS):
        raise reader.malformed(f"tag {tag:#06x} does not fit the command")
    handle = reader.be(4, "handle") if command.code in _GIVE_A_HANDLE else 0
    if not command.authorisations:
        return 0, Response(command.code, handle, reader.take(reader.remaining, "parameters"))
    parameters = reader.take(reader.be(4, "parameter size"), "parameters")
    for _ in command.authorisations:
        sized(reader, "session nonce")
        reader.u8("session attributes")
        sized(reader, "session HMAC")  # of a key that all may know: it would prove nothing
    reader.finish()
    return 0, Response(command.code, handle, parameters)
