"""NV indices, whole: read in pieces that every TPM gives, written as a whole.

The owner's authority comes before the index's own wherever both may do it: the owner's
authorisation value is empty on the machines that the agent serves, and an index can have a value
that only its maker knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import errors
from sealward.enclave_agent.attesters.tpm.commands import OWNER
from sealward.enclave_agent.attesters.tpm.errors import TpmError

if TYPE_CHECKING:
    from sealward.enclave_agent.attesters.tpm.answers import NvPublic
    from sealward.enclave_agent.attesters.tpm.commands import Tpm

_OWNER_WRITE: Final = 1 << 1  # TPMA_NV (part 2, section 13.4)
_OWNER_READ: Final = 1 << 17
_CHUNK: Final = 512  # below TPM_PT_NV_BUFFER_MAX of every TPM known


def find(tpm: Tpm, index: int) -> NvPublic | None:
    """Return what an NV index is, or None where the TPM has none of that number.

    Raises:
        TpmError: the TPM fails.
    """
    try:
        return tpm.nv_read_public(index)
    except TpmError as error:
        if error.says(errors.HANDLE):
            return None
        raise


def read(tpm: Tpm, found: NvPublic, *, most: int) -> bytes:
    """Return the content of an index that `find` found, of at most `most` bytes.

    Raises:
        TpmError: it is larger, was never written, may not be read, or the TPM fails.
    """
    if found.size > most:
        raise TpmError(
            None, f"NV index {found.index:#010x} has {found.size} bytes; at most {most} are read."
        )
    return b"".join(
        read_part(tpm, found, offset=offset, size=min(_CHUNK, found.size - offset))
        for offset in range(0, found.size, _CHUNK)
    )


def read_part(tpm: Tpm, found: NvPublic, *, offset: int, size: int) -> bytes:
    """Return `size` bytes (at most 512) at `offset`.

    Raises:
        TpmError: as `read`.
    """
    authority = OWNER if found.attributes & _OWNER_READ else found.index
    return tpm.nv_read(found.index, authority=authority, size=size, offset=offset)


def write(tpm: Tpm, index: int, data: bytes) -> None:
    """Make `data` the whole content of an index, which the owner defines if there is none.

    Raises:
        TpmError: an index of another size is there, it may not be written, or the TPM fails.
    """
    found = find(tpm, index)
    if found is None:
        tpm.nv_define(index, attributes=_OWNER_READ | _OWNER_WRITE, size=len(data))
    elif found.size != len(data):
        raise TpmError(
            None,
            f"NV index {index:#010x} has {found.size} bytes where {len(data)} are needed "
            f"(whoever defined it can remove it: `tpm2_nvundefine {index:#x}`).",
        )
    owned = found is None or found.attributes & _OWNER_WRITE
    tpm.nv_write(index, data, authority=OWNER if owned else index)
