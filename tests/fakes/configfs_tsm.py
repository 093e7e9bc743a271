"""configfs-tsm with the kernel's semantics, behind the agent's port `ReportEntries`.

Written from drivers/virt/coco/guest/report.c, sev-guest.c, tdx-guest.c and fs/configfs/file.c:

- entries cannot be made without a provider (ENXIO), and attributes are those the provider shows;
- `inblob` is buffered until the file is closed; the result of that commit is lost;
- every write counts one generation, unless that would make it look like the one last read (EBUSY);
- reading a blob asks for its size first and then for its bytes, and each makes the report anew
  where there is none for the options of the moment; without an inblob that is EINVAL;
- SEV-SNP wants 64 bytes of inblob exactly, and a level between its own and 3.

`step` is called wherever another process could run in between, so tests can be that process.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

GENERATIONS = 1 << 64
MAX_INBLOB = 64
MAX_LEVEL = 3
_COMMON = frozenset({"generation", "provider", "inblob", "outblob"})
_LEVELS = frozenset({"privlevel", "privlevel_floor"})
_SVSM = frozenset({"service_provider", "service_guid", "service_manifest_version", "manifestblob"})
_WRITE_ONLY = frozenset(
    {"inblob", "privlevel", "service_provider", "service_guid", "service_manifest_version"}
)


@dataclass
class Request:
    """The options of one entry."""

    inblob: bytes = b""
    level: int = 0
    service_provider: str = ""


Make = Callable[[Request], tuple[bytes, bytes]]
"""A provider's report_new: (outblob, auxblob); raises OSError."""


@dataclass
class Provider:
    """What a driver registers."""

    name: str
    make: Make
    floor: int = 0
    visible: frozenset[str] = _COMMON

    def check(self, request: Request) -> None:
        """Refuse what the driver would."""
        if len(request.inblob) != MAX_INBLOB:
            raise OSError(errno.EINVAL, "inblob")
        if request.service_provider not in ("", "svsm"):
            raise OSError(errno.EINVAL, "service_provider")


def sev_guest(make: Make, *, floor: int = 0) -> Provider:
    """The provider of an SEV-SNP guest at privilege level `floor`."""
    svsm = _SVSM if floor else frozenset()
    return Provider("sev_guest", make, floor, _COMMON | _LEVELS | {"auxblob"} | svsm)


def tdx_guest(make: Make) -> Provider:
    """The provider of a TDX guest: no levels, nothing auxiliary."""
    return Provider("tdx_guest", make)


def plain_report(request: Request) -> tuple[bytes, bytes]:
    """Blobs that tell what they were made of, for tests without any format."""
    body = b"report|" + request.inblob + b"|" + bytes((request.level,))
    return body, b"table of " + hashlib.sha256(body).digest()


@dataclass
class Item:
    """The kernel's state of one entry."""

    request: Request = field(default_factory=Request)
    written: int = 0
    read: int = 0
    outblob: bytes | None = None
    auxblob: bytes = b""

    def advance(self) -> None:
        if self.written == (self.read - 1) % GENERATIONS:
            raise OSError(errno.EBUSY, "generation")
        self.written = (self.written + 1) % GENERATIONS


@dataclass
class FakeConfigfsTsm:
    """The tree under /sys/kernel/config/tsm/report; `provider` None is a module without a driver.

    Attributes:
        made_fails: errno that making an entry ends with, 0 for none.
        writing_fails: errno that opening an attribute for writing ends with, 0 for none.
        making_fails: errnos that the next reports end with, in order.
        step: called where another process may come in between, with the entry's name.
        made: how many reports the provider has made.
    """

    provider: Provider | None
    made_fails: int = 0
    writing_fails: int = 0
    making_fails: list[int] = field(default_factory=list)
    step: Callable[[str], None] = lambda _: None
    entries: dict[str, Item] = field(default_factory=dict)
    made: int = 0

    def make(self, name: str) -> FakeEntry:
        if self.made_fails:
            raise OSError(self.made_fails, name)
        if name in self.entries:
            raise OSError(errno.EEXIST, name)
        if self.provider is None:
            raise OSError(errno.ENXIO, name)
        self.entries[name] = Item()
        self.step(name)
        return self.open(name)

    def open(self, name: str) -> FakeEntry:
        """The entry that has this name now, as another process finds it."""
        if name not in self.entries:
            raise OSError(errno.ENOENT, name)
        return FakeEntry(self, name, self.entries[name])

    def show(self, item: Item, attribute: str) -> object:
        if attribute == "generation":
            return item.written
        if self.provider is None:
            raise OSError(errno.ENXIO, attribute)
        return self.provider.floor if attribute == "privlevel_floor" else self.provider.name

    def store(self, item: Item, attribute: str, text: str) -> None:
        if attribute == "privlevel":
            level = int(text)
            if self.provider is None:
                raise OSError(errno.ENXIO, attribute)
            if not self.provider.floor <= level <= MAX_LEVEL:
                raise OSError(errno.EINVAL, attribute)
            item.advance()
            item.request.level = level
        else:
            item.advance()
            item.request.service_provider = text.removesuffix("\n")

    def blob(self, item: Item, attribute: str) -> bytes:
        if not item.request.inblob:
            raise OSError(errno.EINVAL, attribute)
        if item.outblob is None or item.read != item.written:
            self._report_new(item)
        assert item.outblob is not None
        return item.outblob if attribute == "outblob" else item.auxblob

    def _report_new(self, item: Item) -> None:
        if self.provider is None:
            raise OSError(errno.ENXIO, "provider")
        item.outblob = None
        if self.making_fails:
            raise OSError(self.making_fails.pop(0), "report")
        self.provider.check(item.request)
        item.outblob, item.auxblob = self.provider.make(item.request)
        self.made += 1
        item.read = item.written


@dataclass
class FakeEntry:
    """One entry, held as the directory it is; what is done by its name finds whatever has it."""

    tree: FakeConfigfsTsm
    name: str
    item: Item

    def read(self, attribute: str) -> bytes:
        self._open(attribute, writing=False)
        self.tree.step(self.name)
        if attribute not in ("outblob", "auxblob"):
            return f"{self.tree.show(self.item, attribute)}\n".encode()
        size = len(self.tree.blob(self.item, attribute))
        self.tree.step(self.name)
        blob = self.tree.blob(self.item, attribute)
        self.tree.step(self.name)
        return blob[:size]

    def write(self, attribute: str, data: bytes) -> None:
        self._open(attribute, writing=True)
        self.tree.step(self.name)
        if attribute != "inblob":
            self.tree.store(self.item, attribute, data.decode())
            return
        if len(data) > MAX_INBLOB:
            raise OSError(errno.EFBIG, attribute)
        self.tree.step(self.name)  # written, and not yet closed
        with suppress(OSError):  # close() does not tell
            if self._is_there():  # a removed item takes nothing any more
                self.item.advance()
                self.item.request.inblob = data
        self.tree.step(self.name)

    def open_for_writing(self, attribute: str) -> None:
        self._open(attribute, writing=True)

    def remove(self) -> None:
        if self.tree.entries.pop(self.name, None) is None:
            raise OSError(errno.ENOENT, self.name)

    def _is_there(self) -> bool:
        return self.tree.entries.get(self.name) is self.item

    def _open(self, attribute: str, *, writing: bool) -> None:
        provider = self.tree.provider
        if not self._is_there() or (provider is not None and attribute not in provider.visible):
            raise OSError(errno.ENOENT, attribute)
        if writing and self.tree.writing_fails:
            raise OSError(self.tree.writing_fails, attribute)
        if writing is not (attribute in _WRITE_ONLY):
            raise OSError(errno.EACCES, attribute)
