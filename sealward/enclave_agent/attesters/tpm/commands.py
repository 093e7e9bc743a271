"""The commands of TPM 2.0 part 3 that the agent needs, one method each.

What occupies the TPM (objects and policy sessions) is held in a `with` block and flushed at its
end, so three slots for objects are enough: a parent, a key and nothing else at one time. Every
authorisation value is the empty one: the keys are protected by what may be done with them, and the
hierarchies of a machine whose owner has set passwords are refused by its TPM with a sentence.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import answers, codec
from sealward.enclave_agent.attesters.tpm.answers import Created, Loaded
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, be, pack
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.exchange import (
    PASSWORD,
    Command,
    CommandCode,
    exchange,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealward.enclave_agent.attesters.tpm.answers import NvPublic, PcrReading, SignedQuote
    from sealward.enclave_agent.attesters.tpm.codec import PcrSelection, Public
    from sealward.enclave_agent.attesters.tpm.exchange import Response
    from sealward.enclave_agent.attesters.tpm.transport import TpmTransport
    from sealward.verifier.wire.reader import Reader

OWNER: Final = 0x40000001
ENDORSEMENT: Final = 0x4000000B
_NULL_HANDLE: Final = 0x40000007
_NULL_ALGORITHM: Final = be(0x0010, 2)
_NONCE_SIZE: Final = 16  # the least a TPM takes
_POLICY_SESSION: Final = b"\x01"
_EMPTY: Final = b"\0\0"


class Tpm:
    """A TPM 2.0. Every method raises TpmError, and for answers nothing else."""

    def __init__(
        self,
        transport: TpmTransport,
        *,
        random_bytes: Callable[[int], bytes],
        sleep: Callable[[float], None],
    ) -> None:
        """Speak over `transport`; `random_bytes` gives nonces, `sleep` waits for a busy TPM."""
        self._transport: Final = transport
        self._random_bytes: Final = random_bytes
        self._sleep: Final = sleep

    @contextmanager
    def create_primary(self, hierarchy: int, template: bytes) -> Iterator[Loaded]:
        """Derive the primary of `template` (a TPMT_PUBLIC) and hold it.

        The same hierarchy and template give the same key until the hierarchy is cleared.
        """
        parameters = _creation(b"", template)
        response = self._ask(CommandCode.CREATE_PRIMARY, (hierarchy,), parameters, (PASSWORD,))
        with self._held(response.handle):
            public = response.read(answers.primary)
            yield Loaded(response.handle, public)

    def create(self, parent: int, template: bytes, *, data: bytes = b"") -> Created:
        """Make an object below `parent`: a new key, or one that holds `data`."""
        parameters = _creation(data, template)
        return self._ask(CommandCode.CREATE, (parent,), parameters, (PASSWORD,)).read(
            answers.created
        )

    @contextmanager
    def load(self, parent: int, created: Created) -> Iterator[Loaded]:
        """Load what `create` made below the same parent, and hold it."""
        parameters = pack(created.private) + pack(created.public.area)
        response = self._ask(CommandCode.LOAD, (parent,), parameters, (PASSWORD,))
        with self._held(response.handle):
            response.read(lambda reader: answers.name_of(reader, created.public))
            yield Loaded(response.handle, created.public)

    def read_public(self, handle: int) -> Public:
        """Return the public area of an object in the TPM."""
        return self._ask(CommandCode.READ_PUBLIC, (handle,)).read(answers.read_public)

    def nv_read_public(self, index: int) -> NvPublic:
        """Return what an NV index is."""
        return self._ask(CommandCode.NV_READ_PUBLIC, (index,)).read(
            lambda reader: answers.nv_public(reader, index)
        )

    def nv_read(self, index: int, *, authority: int, size: int, offset: int) -> bytes:
        """Return `size` bytes at `offset`; `authority` is the index itself or a hierarchy."""
        parameters = be(size, 2) + be(offset, 2)
        response = self._ask(CommandCode.NV_READ, (authority, index), parameters, (PASSWORD,))
        data = response.read(lambda reader: codec.sized(reader, "data"))
        if len(data) != size:
            raise TpmError(None, f"The TPM gave {len(data)} bytes of NV memory for {size}.")
        return data

    def nv_define(self, index: int, *, attributes: int, size: int) -> None:
        """Have the owner define an NV index of `size` bytes, named by SHA-256, without policy."""
        policy = _EMPTY
        area = be(index, 4) + be(HashAlg.SHA256, 2) + be(attributes, 4) + policy + be(size, 2)
        authorisation_value = _EMPTY
        parameters = authorisation_value + pack(area)
        self._ask(CommandCode.NV_DEFINE_SPACE, (OWNER,), parameters, (PASSWORD,)).read(_nothing)

    def nv_write(self, index: int, data: bytes, *, authority: int) -> None:
        """Write an NV index from its start; `authority` is the index itself or a hierarchy."""
        parameters = pack(data) + be(0, 2)
        self._ask(CommandCode.NV_WRITE, (authority, index), parameters, (PASSWORD,)).read(_nothing)

    @contextmanager
    def policy_session(self, algorithm: HashAlg) -> Iterator[int]:
        """Start a policy session of this hash, which is the name algorithm of what it is for.

        It is neither salted nor bound: no secret of ours could keep the bus from using it.
        """
        nonce = pack(self._random_bytes(_NONCE_SIZE))
        salt, symmetric = _EMPTY, _NULL_ALGORITHM
        parameters = nonce + salt + _POLICY_SESSION + symmetric + be(algorithm, 2)
        handles = (_NULL_HANDLE, _NULL_HANDLE)
        response = self._ask(CommandCode.START_AUTH_SESSION, handles, parameters)
        with self._held(response.handle):
            response.read(lambda reader: codec.sized(reader, "nonceTPM"))
            yield response.handle

    def policy_secret(self, session: int, authority: int) -> None:
        """Tell a policy session that the (empty) authorisation of `authority` was shown."""
        nonce, cp_hash, policy_ref, expiration = _EMPTY, _EMPTY, _EMPTY, be(0, 4)
        parameters = nonce + cp_hash + policy_ref + expiration
        handles = (authority, session)
        self._ask(CommandCode.POLICY_SECRET, handles, parameters, (PASSWORD,)).read(
            answers.authorised
        )

    def policy_pcr(self, session: int, selections: tuple[PcrSelection, ...]) -> None:
        """Tell a policy session to look at these PCRs now."""
        parameters = _EMPTY + codec.pack_selections(selections)
        self._ask(CommandCode.POLICY_PCR, (session,), parameters).read(_nothing)

    def policy_command_code(self, session: int, code: CommandCode) -> None:
        """Tell a policy session that it is for this one command."""
        self._ask(CommandCode.POLICY_COMMAND_CODE, (session,), be(code, 4)).read(_nothing)

    def activate_credential(
        self,
        key: int,
        endorsement: int,
        id_object: bytes,
        secret: bytes,
        *,
        authorisation: int,
        key_authorisation: int = PASSWORD,
    ) -> bytes:
        """Return what a credential for `key`, made for `endorsement`, holds.

        Args:
            key: the object that the credential names.
            endorsement: the key that decrypts.
            id_object: inside of the TPM2B_ID_OBJECT.
            secret: inside of the TPM2B_ENCRYPTED_SECRET.
            authorisation: for `endorsement`: a policy session, or PASSWORD for the empty one.
            key_authorisation: for `key`, likewise.
        """
        return self._ask(
            CommandCode.ACTIVATE_CREDENTIAL,
            (key, endorsement),
            pack(id_object) + pack(secret),
            (key_authorisation, authorisation),
        ).read(lambda reader: codec.sized(reader, "certInfo"))

    def quote(self, key: int, nonce: bytes, selections: tuple[PcrSelection, ...]) -> SignedQuote:
        """Sign the digest of these PCRs and `nonce` with `key`, by the key's own scheme."""
        parameters = pack(nonce) + _NULL_ALGORITHM + codec.pack_selections(selections)
        return self._ask(CommandCode.QUOTE, (key,), parameters, (PASSWORD,)).read(
            answers.signed_quote
        )

    def pcr_read(self, selections: tuple[PcrSelection, ...]) -> PcrReading:
        """Read as many of these PCRs as fit one response (eight)."""
        parameters = codec.pack_selections(selections)
        return self._ask(CommandCode.PCR_READ, (), parameters).read(answers.pcr_reading)

    def flush(self, handle: int) -> None:
        """Forget a transient object or a session."""
        self._ask(CommandCode.FLUSH_CONTEXT, (), be(handle, 4)).read(_nothing)

    @contextmanager
    def _held(self, handle: int) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(TpmError):  # what went wrong first is what matters
                self.flush(handle)
            raise
        self.flush(handle)

    def _ask(
        self,
        code: CommandCode,
        handles: tuple[int, ...],
        parameters: bytes = b"",
        sessions: tuple[int, ...] = (),
    ) -> Response:
        command = Command(code, handles, parameters, sessions)
        return exchange(self._transport, command, sleep=self._sleep)


def _nothing(_: Reader) -> None:
    """Read the parameters of a command that answers with none."""


def _creation(data: bytes, template: bytes) -> bytes:
    """Return the parameters of Create and CreatePrimary."""
    authorisation, outside_info, creation_pcrs = _EMPTY, _EMPTY, be(0, 4)
    return pack(authorisation + pack(data)) + pack(template) + outside_info + creation_pcrs
