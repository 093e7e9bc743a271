"""The kernel's runtime measurement list (IMA), cut between two of its entries.

Only its framing is read here, to find where an entry begins: docs/specs/ima-claims.md says what the
entries are, and the verifier judges them. It is the list with SHA-1 template digests; those with
other hashes, which kernels from 6.10 on have beside it, hold the same entries.

The kernel appends an entry and extends PCR 10 afterwards: a list read after a quote has every entry
that the quote is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sealward.enclave_agent.attesters.port import AttesterUnavailable, RuntimeLogPart
from sealward.protos.tpm_node import MAX_RUNTIME_LOG
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.reader import Reader

PATH: Final = "/sys/kernel/security/ima/binary_runtime_measurements"
REGISTER: Final = 10  # the PCR that the kernel extends by each entry
# Of which MAX_RUNTIME_LOG may be unproven. The kernel keeps all of it in memory that is not paged,
# and a machine that is up for months comes to a quarter of this.
MAX_BYTES: Final = 64 << 20
_DIGEST: Final = 20
_FIRST_TEMPLATE: Final = b"ima"  # the only one without a size: a digest, and a sized name
_WHAT: Final = "entry"


@dataclass(frozen=True, slots=True)
class MeasurementList:
    """One reading of the list; a `RuntimeLog`."""

    path: Path
    data: bytes = field(repr=False)

    def behind(self, proven: int) -> RuntimeLogPart:
        """Return the entries behind the first `proven` ones, or all where there are not so many.

        Raises:
            AttesterUnavailable: they are more than is sent at once, or this is no such list.
        """
        reader = Reader(self.data)
        try:
            first = _skip(reader, proven)
        except MalformedEvidence as error:
            raise AttesterUnavailable(f"{self.path} is no list of measurements: {error}.") from None
        if first < proven:  # of another boot: nothing of this one is proven
            reader, first = Reader(self.data), 0
        if reader.remaining > MAX_RUNTIME_LOG:
            raise AttesterUnavailable(
                f"{self.path} has {reader.remaining} bytes to send, and at most {MAX_RUNTIME_LOG} "
                "are sent at once: measure less (dont_measure in the kernel's IMA policy)."
            )
        return RuntimeLogPart(first, reader.take(reader.remaining, _WHAT))


def read(path: Path) -> MeasurementList:
    """Read the list as it is now.

    Raises:
        AttesterUnavailable: it cannot be read, or there is nothing in it.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise AttesterUnavailable(_why(path, error)) from None
    if not data:
        raise AttesterUnavailable(f"{path} is empty: this kernel measures nothing.")
    if len(data) > MAX_BYTES:
        raise AttesterUnavailable(f"{path} is longer than the {MAX_BYTES} bytes that are read.")
    return MeasurementList(path, data)


def _skip(reader: Reader, entries: int) -> int:
    """Move behind so many entries; return how many there were."""
    for number in range(entries):
        if not reader.remaining:
            return number
        reader.take(4 + _DIGEST, _WHAT)
        template = reader.take(reader.le(4, _WHAT), _WHAT)
        if template == _FIRST_TEMPLATE:
            reader.take(_DIGEST, _WHAT)
        reader.take(reader.le(4, _WHAT), _WHAT)
    return entries


def _why(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"There is no {path}: this kernel has no IMA, or securityfs is not mounted."
    if isinstance(error, PermissionError):
        return f"This user may not read {path}: let its group be the agent's when it starts."
    return f"{path} gives an error: {error.strerror}."
