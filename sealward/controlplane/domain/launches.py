"""One launch of a guest, as a reference set describes it: registers that mean something together.

What boots.py says of a TPM holds of other evidence with several registers: what one of them holds
means something only beside what the others hold. So a set describes one launch, all of it.

    tdx    mrtd, rtmr0 to rtmr3
    sgx    mrenclave, mrsigner
    nitro  pcr0 to pcr2, and pcr8 of a signed image; the others name the parent instance
    cca    rim, and the rem0 to rem3 that something was measured into; platform0 and on: the
           platform's own components in the order of the token
    psa    the components by the name that claims give them
    hygon-csv  launch
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sealward.verifier.wire import json

_SIZES: Final = frozenset((32, 48, 64))  # SHA-256, SHA-384, SHA-512
_KEY: Final = re.compile(
    r"([a-z]{3,5}|hygon-csv)/([A-Za-z0-9][A-Za-z0-9 ._-]{0,31})/([0-9a-f]{64,128})"
)
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "tdx": ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"),
        "sgx": ("mrenclave", "mrsigner"),
        "nitro": ("pcr0", "pcr1", "pcr2"),
        "cca": ("rim",),
        "psa": (),
        "hygon-csv": ("launch",),
    }
)
_NAMES: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "tdx": re.compile(r"mrtd|rtmr[0-3]"),
        "sgx": re.compile(r"mrenclave|mrsigner"),
        "nitro": re.compile(r"pcr[0128]"),
        "cca": re.compile(r"rim|rem[0-3]|platform[0-9]{1,2}"),
        "psa": re.compile(r".*"),
        "hygon-csv": re.compile(r"launch"),
    }
)
KINDS: Final = frozenset(_REQUIRED)
"""Kinds of evidence whose launch a set describes so."""


@dataclass(frozen=True, slots=True)
class LaunchRegister:
    """One register; `value` is lower-case hex."""

    tee: str
    name: str
    value: str

    @property
    def key(self) -> str:
        """As a reference value of kind `register` is named: <tee>/<name>/<hex value>."""
        return f"{self.tee}/{self.name}/{self.value}"


def register_of(key: str) -> LaunchRegister | None:
    """Return the register that a key names; None for what is no such key."""
    found = _KEY.fullmatch(key)
    if found is None or found[1] not in _NAMES or len(found[3]) // 2 not in _SIZES:
        return None
    if _NAMES[found[1]].fullmatch(found[2]) is None:
        return None
    return LaunchRegister(found[1], found[2], found[3])


def mixture(registers: Iterable[LaunchRegister]) -> str | None:
    """Return why registers are not those of one launch, as a clause; None when they are."""
    tee = ""
    names: set[str] = set()
    for register in registers:
        tee = tee or register.tee
        if register.tee != tee:
            return f"it has registers of {tee} and {register.tee}"
        if register.name in names:
            return f"it has two values of {register.name}: make a set for each launch"
        names.add(register.name)
    missing = [name for name in _REQUIRED.get(tee, ()) if name not in names]
    return f"it has no value of {missing[0]}" if missing else None


def quoted(claims: Mapping[str, json.Canonical]) -> frozenset[str]:
    """Return the keys of the registers that claims of one of `KINDS` show."""
    tee = str(claims.get("tee"))
    names = _NAMES[tee]
    return frozenset(
        f"{tee}/{name}/{value}" for name, value in _shown(claims) if names.fullmatch(name)
    )


def _shown(claims: Mapping[str, json.Canonical]) -> Iterator[tuple[str, str]]:
    for item in _items(claims.get("measurements")):
        yield str(item.get("name")), str(item.get("digest"))
    platform = claims.get("cca")
    if isinstance(platform, Mapping):
        for place, item in enumerate(_items(platform.get("components"))):
            yield f"platform{place}", str(item.get("measurement"))


def _items(value: json.Canonical) -> Iterator[Mapping[str, json.Canonical]]:
    for item in value if isinstance(value, list | tuple) else ():
        if isinstance(item, Mapping):
            yield item
