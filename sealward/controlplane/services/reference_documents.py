"""Reference-set documents: what an administrator imports, read strictly.

    {"name": "agents-1.2", "not_after": null or "2027-01-31T00:00:00Z", "values": [
       {"kind": "measurement", "key": "<hex digest>", "value": {
          "name": "agent-image 1.2", "components": ["firmware", "kernel", "cmdline", "rootfs",
          "agent"], "clock": null or "protected", "trust_config": "host_data" or "image"}},
       {"kind": "pcr", "key": "<bank>/<index>/<hex value>", "value": {
          "name": "agent-image 1.2, kernel", "components": ["kernel"],
          "trust_config": null or "image"}},
       {"kind": "register", "key": "<tee>/<name>/<hex value>", "value": {
          "name": "agent-image 1.2, kernel", "components": ["kernel"],
          "trust_config": null or "image"}},
       {"kind": "file", "key": "<hex digest>", "value": {"name": "/usr/bin/agent"}},
       {"kind": "tcb_floor", "key": "snp/Milan", "value": {"bootloader": 3, "snp": 22, ...}},
       {"kind": "distrust", "key": "<name of a known break>", "value": {
          "reason": "VCEK seed extractable", "published": "2026-05-20", "product": null or "Milan",
          "platform_id": null or "snp:chip:...", "provider": null or "..."}}]}

A `pcr` is one register of a TPM: it covers what was extended into it, which may be none of the
components. All of a set together describe one boot (docs/specs/tpm-node.md 6, domain/boots.py).

A `register` is the same of TDX, SGX, Nitro, CCA, PSA and CSV: all of a set describe one launch
(domain/launches.py).

A `file` is what a kernel may measure (docs/specs/ima-claims.md): it is matched by its digest alone,
in the host. A `distrust` entry takes trust away from hardware that all of its criteria name, and
stands in sets of its own kind only (services/distrust.py). A policy sees a value of another kind as
`data.reference[kind][key]`, and the boot that was quoted as `data.reference.boot`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import MappingProxyType
from typing import Final

from sealward.controlplane.domain import boots, launches
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.records import JsonText
from sealward.controlplane.domain.reference_values import (
    COMPONENTS,
    MAX_DOCUMENT_BYTES,
    MAX_DOCUMENT_VALUES,
    PARAVISOR,
    ReferenceValue,
)
from sealward.controlplane.services import distrust, inputs
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

_MAX_DEPTH: Final = 6
_MAX_SVN: Final = 0xFFFF  # SVNs are 8 bits in SNP, 16 in TDX and SGX
_MAX_LEVELS: Final = 40  # TDX has 33: 16 of SGX, 16 of its own, and the PCE

_DIGEST_BYTES: Final = (32, 48, 64)  # SHA-256, SHA-384, SHA-512
_FLOOR_KEY: Final = re.compile(r"[a-z0-9-]{1,32}/[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LEVEL: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")

Json = dict[str, json.Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceDocument:
    """A document that was read; `digest` is the lower hex SHA-256 of its bytes as they came."""

    name: str
    not_after: datetime | None
    values: tuple[ReferenceValue, ...]
    digest: str


def read(data: bytes) -> ReferenceDocument:
    """Read a reference-set document.

    Raises:
        Refused: reference_invalid; the detail names the value that is wrong and why.
    """
    try:
        decoded = json.decode(
            data, what="reference set", max_bytes=MAX_DOCUMENT_BYTES, max_depth=_MAX_DEPTH
        )
    except MalformedEvidence as error:
        raise _refused(error.detail) from None
    document = _exactly(decoded, ("name", "not_after", "values"), "the document")
    name = _name(document["name"])
    values = document["values"]
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_DOCUMENT_VALUES:
        raise _refused(f"values is not a list of 1 to {MAX_DOCUMENT_VALUES}")
    read_values = tuple(_value(name, item, f"values[{at}]") for at, item in enumerate(values))
    seen: set[tuple[str, str]] = set()
    for value in read_values:
        if (value.kind, value.key) in seen:
            raise _refused(f"{value.kind} {value.key} occurs twice")
        seen.add((value.kind, value.key))
    _refuse_mixture(read_values)
    if len({value.kind == distrust.DISTRUST for value in read_values}) > 1:
        raise _refused("a set names what to distrust or what to trust, and this one does both")
    return ReferenceDocument(
        name=name,
        not_after=_not_after(document["not_after"]),
        values=read_values,
        digest=hashlib.sha256(data).hexdigest(),
    )


def _value(set_name: str, item: json.Value, where: str) -> ReferenceValue:
    fields = _exactly(item, ("kind", "key", "value"), where)
    kind, key = fields["kind"], fields["key"]
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _refused(f"{where}: kind is not one of {', '.join(sorted(_KINDS))}")
    if not isinstance(key, str):
        raise _refused(f"{where}: key is not text")
    content = _KINDS[kind](key, fields["value"], where)
    return ReferenceValue(
        set_name=set_name, kind=kind, key=key, value=JsonText(json.canonical(content).decode())
    )


def _measurement(key: str, value: json.Value, where: str) -> Mapping[str, json.Canonical]:
    _digest(key, where)
    fields = _exactly(value, ("name", "components", "clock", "trust_config"), where)
    described = _described(fields, where, (*COMPONENTS, PARAVISOR))
    if not described["components"]:
        raise _refused(f"{where}: components is not a list of at least one")
    if fields["clock"] not in (None, "protected"):
        raise _refused(f'{where}: clock is neither null nor "protected"')
    if fields["trust_config"] not in ("host_data", "image"):
        raise _refused(f'{where}: trust_config is neither "host_data" nor "image"')
    return {
        **described,
        "clock": None if fields["clock"] is None else "protected",
        "trust_config": "image" if fields["trust_config"] == "image" else "host_data",
    }


def _file(key: str, value: json.Value, where: str) -> Mapping[str, json.Canonical]:
    _digest(key, where)
    fields = _exactly(value, ("name",), where)
    name = fields["name"]
    if not isinstance(name, str):
        raise _refused(f"{where}: name is not text")
    return {"name": _checked(inputs.text, name, f"{where}: name", least=1)}


def _digest(key: str, where: str) -> None:
    if len(key) not in {2 * size for size in _DIGEST_BYTES}:
        raise _refused(f"{where}: key is not a digest of 32, 48 or 64 bytes in hex")
    _checked(inputs.lower_hex, key, where, least_bytes=32, most_bytes=64)


def _pcr(key: str, value: json.Value, where: str) -> Mapping[str, json.Canonical]:
    register = boots.register_of(key)
    if register is None:
        banks = ", ".join(bank.label for bank in boots.PCR_BANKS)
        raise _refused(
            f"{where}: key is not <bank>/<index>/<hex value> with a bank of {banks} and an index of"
            " 0 to 31"
        )
    fields = _exactly(value, ("name", "components", "trust_config"), where)
    described = _described(fields, where)
    if fields["trust_config"] not in (None, "image"):
        raise _refused(f'{where}: trust_config is neither null nor "image"')
    trusting = fields["trust_config"] is not None
    against = boots.objection(register, vouches=trusting or bool(described["components"]))
    if against is not None:
        raise _refused(f"{where}: {against}")
    return {**described, "trust_config": "image" if trusting else None}


def _register(key: str, value: json.Value, where: str) -> Mapping[str, json.Canonical]:
    register = launches.register_of(key)
    if register is None:
        raise _refused(
            f"{where}: key is not <tee>/<name>/<hex value> with a register of "
            + ", ".join(sorted(launches.KINDS))
        )
    fields = _exactly(value, ("name", "components", "trust_config"), where)
    described = _described(fields, where)
    if fields["trust_config"] not in (None, "image"):
        raise _refused(f'{where}: trust_config is neither null nor "image"')
    trusting = fields["trust_config"] is not None
    if not register.value.strip("0") and (trusting or described["components"]):
        raise _refused(f"{where}: nothing was measured into {register.name}: it covers nothing")
    return {**described, "trust_config": "image" if trusting else None}


def _refuse_mixture(values: tuple[ReferenceValue, ...]) -> None:
    """Refuse registers that are not those of one boot; a set without any describes none."""
    read_registers = [boots.register_of(value.key) for value in values if value.kind == "pcr"]
    registers = [register for register in read_registers if register is not None]
    against = boots.mixture(registers) if registers else None
    if against is not None:
        raise _refused(f"a set describes one boot of a TPM, and {against}")
    read_launch = [launches.register_of(value.key) for value in values if value.kind == "register"]
    launch = [register for register in read_launch if register is not None]
    against = launches.mixture(launch) if launch else None
    if against is not None:
        raise _refused(f"a set describes one launch, and {against}")
    if launch and registers:
        raise _refused("a set describes one boot or one launch, and not both")


def _described(
    fields: Json, where: str, known: tuple[str, ...] = COMPONENTS
) -> Mapping[str, json.Canonical]:
    """Return name and components, as digests of every kind have them."""
    name, components = fields["name"], fields["components"]
    if not isinstance(name, str):
        raise _refused(f"{where}: name is not text")
    _checked(inputs.text, name, f"{where}: name", least=1)
    if not isinstance(components, list):
        raise _refused(f"{where}: components is not a list")
    named = [component for component in components if component in known]
    if len(named) != len(components) or len(set(map(str, named))) != len(named):
        raise _refused(f"{where}: components are not distinct ones of {', '.join(known)}")
    return {"name": name, "components": [str(component) for component in named]}


def _tcb_floor(key: str, value: json.Value, where: str) -> Mapping[str, json.Canonical]:
    if _FLOOR_KEY.fullmatch(key) is None:
        raise _refused(f"{where}: key is not <tee>/<product>, such as snp/Milan")
    if not isinstance(value, dict) or not 1 <= len(value) <= _MAX_LEVELS:
        raise _refused(f"{where}: value is not an object of 1 to {_MAX_LEVELS} levels")
    floor: dict[str, json.Canonical] = {}
    for component, level in value.items():
        if _LEVEL.fullmatch(component) is None:
            raise _refused(f"{where}: a component's name is not of lower-case letters and digits")
        if not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= _MAX_SVN:
            raise _refused(f"{where}: the level of {component} is not an integer 0 to {_MAX_SVN}")
        floor[component] = level
    return floor


def _distrust(key: str, value: json.Value, where: str) -> Mapping[str, json.Canonical]:
    _checked(inputs.name, key, f"{where}: key")
    fields = _exactly(value, ("reason", "published", *distrust.CRITERIA), where)
    reason, published = fields["reason"], fields["published"]
    if not isinstance(reason, str) or not isinstance(published, str):
        raise _refused(f"{where}: reason or published is not text")
    try:
        date.fromisoformat(published)
    except ValueError:
        raise _refused(f"{where}: published is not a date, such as 2026-05-20") from None
    criteria: dict[str, json.Canonical] = {}
    for name in distrust.CRITERIA:
        one = fields[name]
        if one is not None and not isinstance(one, str):
            raise _refused(f"{where}: {name} is neither null nor text")
        criteria[name] = (
            None if one is None else _checked(inputs.text, one, f"{where}: {name}", least=1)
        )
    if not any(criteria.values()):
        raise _refused(
            f"{where}: without product, platform_id or provider it would name everything"
        )
    told = _checked(inputs.text, reason, f"{where}: reason", least=1)
    return {**criteria, "reason": told, "published": published}


_KINDS: Final[Mapping[str, Callable[[str, json.Value, str], Mapping[str, json.Canonical]]]] = (
    MappingProxyType(
        {
            distrust.DISTRUST: _distrust,
            "file": _file,
            "measurement": _measurement,
            "pcr": _pcr,
            "register": _register,
            "tcb_floor": _tcb_floor,
        }
    )
)


def _name(value: json.Value) -> str:
    if not isinstance(value, str):
        raise _refused("name is not text")
    _checked(inputs.name, value, "name")
    return value


def _not_after(value: json.Value) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refused("not_after is neither null nor text")
    try:
        return inputs.instant(value, "not_after")
    except Refused as error:
        raise Refused(Code.reference_invalid, error.detail, error.hint) from None


def _checked(rule: Callable[..., str], value: str, where: str, **limits: int) -> str:
    """Apply a rule of `inputs`, telling its refusal as one of this document."""
    try:
        return rule(value, where, **limits)
    except Refused as error:
        raise Refused(Code.reference_invalid, error.detail, error.hint) from None


def _exactly(value: json.Value, names: tuple[str, ...], where: str) -> Json:
    if not isinstance(value, dict):
        raise _refused(f"{where} is not an object")
    if value.keys() != set(names):
        raise _refused(f"{where} does not have exactly the members {', '.join(names)}")
    return value


def _refused(detail: str) -> Refused:
    return Refused(Code.reference_invalid, detail, "correct the document and import it again")
