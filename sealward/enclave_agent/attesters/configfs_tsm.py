"""Reports through configfs-tsm, the kernel's common interface to SEV-SNP and TDX (Linux 6.7).

A directory made under /sys/kernel/config/tsm/report is one report entry with files as attributes
(kernel: Documentation/ABI/testing/configfs-tsm-report):

    provider         names the format of `outblob`: sev_guest or tdx_guest
    inblob           what the report shall carry; committed when the file is closed, and the result
                     of that commit is lost, so only the two checks below tell whether it was taken
    outblob          the report; reading it makes one where there is none for the present options
    auxblob          what the host adds (SEV-SNP: its certificate table), of the same report
    privlevel        where the provider has levels: the level to ask for, at least privlevel_floor
    generation       counts the writes to this entry

Whoever may write here may write into an entry of ours. Each report therefore has an entry of its
own with a name nobody can guess, and counts only when (1) the generation went from 0 to the number
of our writes, and (2) the report carries what was asked for; otherwise it is made again.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from sealward.enclave_agent.attesters.port import AttesterUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path("/sys/kernel/config/tsm/report")
MAX_BLOB: Final = 64 * 1024  # the kernel gave at most 32 KiB to Linux 6.15; quotes take 8 KiB
ATTEMPTS: Final = 6
FIRST_PAUSE_S: Final = 0.25  # doubles: 7.75 s in all, well inside the 30 s that a challenge lives

_NAME_BYTES: Final = 16
# Another may be using the module (EAGAIN, EBUSY), have changed our entry's options (EINVAL) or have
# removed it (ENOENT); with a fresh entry a moment later none of this need happen again.
_TRANSIENT: Final = frozenset({errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.EINVAL, errno.ENOENT})


class ReportEntry(Protocol):
    """One entry; each method raises OSError as the kernel would, ENOENT once it is removed."""

    def read(self, attribute: str) -> bytes:
        """Read an attribute to its end; EFBIG beyond MAX_BLOB."""
        ...

    def write(self, attribute: str, data: bytes) -> None:
        """Write an attribute at once and close it."""
        ...

    def open_for_writing(self, attribute: str) -> None:
        """Open an attribute and close it again; nothing is written, so nothing is counted."""
        ...

    def remove(self) -> None:
        """Remove the entry; call it once, and nothing after it."""
        ...


class ReportEntries(Protocol):
    """The directory of entries."""

    def make(self, name: str) -> ReportEntry:
        """Make an entry; raises OSError as the kernel would."""
        ...


class ConfigfsEntry:
    """`ReportEntry` of this machine's kernel.

    It holds the directory itself and not its name: where another removes the entry and makes one of
    the same name, this one is gone rather than silently another.
    """

    def __init__(self, path: Path) -> None:
        self._path: Final = path
        self._directory: Final = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def read(self, attribute: str) -> bytes:
        """Read until the end of the file, which comes when the kernel says so."""
        data = b""
        with self._open(attribute, os.O_RDONLY) as descriptor:
            while piece := os.read(descriptor, MAX_BLOB + 1 - len(data)):
                data += piece
        if len(data) > MAX_BLOB:
            raise OSError(errno.EFBIG, f"{attribute} is longer than {MAX_BLOB} bytes")
        return data

    def write(self, attribute: str, data: bytes) -> None:
        """Write in one call: a second one would be another value of a text attribute."""
        with self._open(attribute, os.O_WRONLY) as descriptor:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.EIO, f"{attribute} was not taken whole")

    def open_for_writing(self, attribute: str) -> None:
        """Open and close."""
        with self._open(attribute, os.O_WRONLY):
            pass

    def remove(self) -> None:
        """Remove the directory; its attributes go with it."""
        os.close(self._directory)
        self._path.rmdir()

    @contextmanager
    def _open(self, attribute: str, flags: int) -> Iterator[int]:
        descriptor = os.open(attribute, flags | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class Configfs:
    """`ReportEntries` of this machine's kernel."""

    def __init__(self, root: Path = ROOT) -> None:
        self._root: Final = root

    def make(self, name: str) -> ConfigfsEntry:
        """Make the entry's directory and hold it."""
        path = self._root / name
        path.mkdir()
        return ConfigfsEntry(path)


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of report: the kernel's name of it, and what makes it appear.

    Attributes:
        name: what the attribute `provider` says.
        guest: the kind of machine.
        module: the driver to load.
        option: the kernel option that builds it.
    """

    name: str
    guest: str
    module: str
    option: str


SEV_GUEST: Final = Provider("sev_guest", "SEV-SNP guest", "sev-guest", "CONFIG_SEV_GUEST")
TDX_GUEST: Final = Provider("tdx_guest", "TDX guest", "tdx-guest", "CONFIG_TDX_GUEST_DRIVER")


@dataclass(frozen=True, slots=True)
class TsmReport:
    """What one entry gave; `auxblob` is empty where it was not asked for or there is none."""

    outblob: bytes = field(repr=False)
    auxblob: bytes = field(repr=False)


class ConfigfsTsm:
    """Makes reports of one provider."""

    def __init__(
        self,
        provider: Provider,
        entries: ReportEntries,
        *,
        random_bytes: Callable[[int], bytes],
        sleep: Callable[[float], None],
    ) -> None:
        self._provider: Final = provider
        self._entries: Final = entries
        self._random_bytes: Final = random_bytes
        self._sleep: Final = sleep

    def obstacle(self) -> str | None:
        """Return a clause that says what keeps reports from being made here, or None.

        An entry is made and removed again; no report is asked for.
        """
        try:
            entry = self._make()
        except OSError as error:
            return self._why_not_made(error)
        try:
            if (found := _text(entry, "provider")) != self._provider.name:
                return self._other(found)
            entry.open_for_writing("inblob")
        except OSError as error:
            return _why_not_used(error)
        finally:
            with suppress(OSError):
                entry.remove()
        return None

    def report(self, inblob: bytes, *, auxiliary: bool) -> TsmReport:
        """Make a report that carries `inblob`; `auxiliary` asks for the auxblob as well.

        Raises:
            AttesterUnavailable: the kernel makes none, or others kept writing into our entries.
        """
        pause = FIRST_PAUSE_S
        last = "another process wrote into our report entries, or reports were over something else"
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(pause)
                pause *= 2
            try:
                entry = self._make()
            except OSError as error:
                raise AttesterUnavailable(_sentence(self._why_not_made(error))) from error
            try:
                made = self._from_entry(entry, inblob, auxiliary=auxiliary)
            except OSError as error:
                last = _why_not_used(error)
                if error.errno not in _TRANSIENT:
                    raise AttesterUnavailable(_sentence(last)) from error
                continue
            finally:
                with suppress(OSError):
                    entry.remove()
            if made is not None:
                return made
        raise AttesterUnavailable(_sentence(f"{last} ({ATTEMPTS} attempts)"))

    def _from_entry(
        self, entry: ReportEntry, inblob: bytes, *, auxiliary: bool
    ) -> TsmReport | None:
        """Make the report of a fresh entry, or return None where another wrote into it."""
        if (found := _text(entry, "provider")) != self._provider.name:
            raise AttesterUnavailable(_sentence(self._other(found)))
        if _text(entry, "generation") != "0":
            return None
        writes = _choose_level(entry)
        entry.write("inblob", inblob)
        writes += 1
        outblob = entry.read("outblob")
        auxblob = entry.read("auxblob") if auxiliary else b""
        if _text(entry, "generation") != str(writes) or inblob not in outblob:
            return None
        return TsmReport(outblob, auxblob)

    def _make(self) -> ReportEntry:
        return self._entries.make(f"sealward-{self._random_bytes(_NAME_BYTES).hex()}")

    def _other(self, found: str) -> str:
        return f"configfs-tsm of this machine is of {found!a}, not {self._provider.name}"

    def _why_not_made(self, error: OSError) -> str:
        provider = self._provider
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                return (
                    f"there is no {ROOT} (in a {provider.guest}: Linux 6.7 or later with "
                    f"CONFIG_TSM_REPORTS and {provider.option}, configfs mounted on "
                    f"/sys/kernel/config, and `modprobe {provider.module}`)"
                )
            case errno.ENXIO:
                return (
                    f"configfs-tsm has no provider: this is no {provider.guest}, or its driver is "
                    f"not loaded ({provider.option}, `modprobe {provider.module}`)"
                )
            case errno.EROFS:
                return f"{ROOT} is read-only here (systemd: ReadWritePaths={ROOT})"
            case _:
                return _why_not_used(error)


def _choose_level(entry: ReportEntry) -> int:
    """Ask for the level this guest runs at, where that is not level 0; return the writes."""
    try:
        floor = _text(entry, "privlevel_floor")
    except FileNotFoundError:  # this provider has no levels
        return 0
    if floor == "0":
        return 0
    entry.write("privlevel", floor.encode())
    return 1


def _text(entry: ReportEntry, attribute: str) -> str:
    return entry.read(attribute).decode("ascii", "replace").strip()


def _why_not_used(error: OSError) -> str:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return (
                f"this user may not make reports in {ROOT}, whose entries belong to root "
                "(run the agent with CAP_DAC_OVERRIDE: deploy/systemd/configfs-tsm.conf)"
            )
        case errno.EBUSY | errno.EAGAIN:
            return "configfs-tsm is busy with requests of others"
        case errno.ETIMEDOUT:
            return "the host did not answer the kernel's request for a report in time"
        case errno.EFBIG:
            return f"the host answers with more than the {MAX_BLOB} bytes that are read"
        case errno.ENOTTY:
            return (
                "the kernel has closed its channel to the security processor after an earlier "
                "error (only a new start of this guest opens it again)"
            )
        case _:
            return f"configfs-tsm refuses to make a report ({error.strerror})"


def _sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."
