"""Reference values that could stand where a finding found something else (explanations.md, 3).

Everything is read from one snapshot, and a bounded number of rows of it: an explanation never costs
more than a decision.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sealward.controlplane.domain import launches
from sealward.controlplane.domain.explanations import Finding
from sealward.controlplane.domain.nearest import (
    NOTHING_NEAR,
    Candidate,
    Neighbourhood,
    Standing,
    neighbourhood,
)
from sealward.controlplane.domain.reference_values import (
    ReferenceSet,
    ReferenceSetState,
    ReferenceValue,
    ReferenceValueState,
)
from sealward.controlplane.services.known_boots import PCR, REGISTER
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.claims import Tee
from sealward.verifier.wire import json

Claims = Mapping[str, json.Value]

_FEW: Final = 64  # values read of one kind and place
_MOST_MEASURED: Final = 64  # measurements compared; a TPM quote has up to 24 in a bank
_MOST_BOOTS: Final = 8
_MOST_EVENTS: Final = 8
_MAX_VALUE_BYTES: Final = 65_536

_MEASURED: Final = re.compile(r"claims\.measurements(?:\[(?P<name>.*)\])?", re.DOTALL)
_LEVEL: Final = re.compile(r"claims\.tcb\.[a-z_]+\.(?P<component>[a-z0-9_]+)")
_FILE: Final = re.compile(r"claims\.ima\.unknown\[(?P<path>.*)\]", re.DOTALL)
_REGISTER: Final = re.compile(r"(?:pcr|rtmr)(?P<index>[0-9]{1,2})")
_DIGEST: Final = re.compile(r"[0-9a-f]{2,128}")
_BOOTS: Final = launches.KINDS | {Tee.TPM.value, Tee.GOOGLE_VTPM.value}  # known as a whole
_MEASUREMENT: Final = "measurement"
_TCB_FLOOR: Final = "tcb_floor"
_FILES: Final = "file"


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement of the claims."""

    name: str
    algorithm: str
    digest: str


@dataclass(slots=True)
class Surroundings:
    """What lies around findings about one set of claims.

    Attributes:
        tx: one snapshot.
        claims: what was appraised; empty where it is not kept.
        now: for the end of sets.
        readable: tells whether the reader may read a set.
    """

    tx: Transaction
    claims: Claims
    now: datetime
    readable: Callable[[str], bool]
    _sets: dict[str, ReferenceSet] = field(default_factory=dict)

    def near(self, one: Finding) -> Neighbourhood:
        """Return what reference values say about the place of a finding."""
        claim = one.claim or ""
        if (found := _MEASURED.fullmatch(claim)) is not None:
            return neighbourhood(self._measured(one, found["name"]))
        if (found := _LEVEL.fullmatch(claim)) is not None:
            return neighbourhood(self._levels(found["component"]))
        if claim == "claims.product":
            return neighbourhood(self._products())
        if (found := _FILE.fullmatch(claim)) is not None:
            return neighbourhood(self._files(found["path"], str(one.actual)))
        return NOTHING_NEAR

    def events(self, one: Finding) -> tuple[str, ...]:
        """Return what the node's event log says of the register that a finding names."""
        found = _MEASURED.fullmatch(one.claim or "")
        register = None if found is None else _REGISTER.fullmatch(found["name"] or "")
        if register is None:
            return ()
        index = int(register["index"])
        facts = (fact for fact in self._facts() if fact.get("register") == index)
        told = [f"{f.get('name')} = {f.get('value')} ({f.get('standing')})" for f in facts]
        return tuple(told[:_MOST_EVENTS])

    def _facts(self) -> Iterator[Claims]:
        tpm = self.claims.get("tpm")
        logs = [self.claims.get("boot"), tpm.get("event_log") if isinstance(tpm, dict) else None]
        for log in logs:
            facts = log.get("facts") if isinstance(log, dict) else None
            for fact in facts if isinstance(facts, list) else ():
                if isinstance(fact, dict):
                    yield fact

    # Measurements.

    def _measured(self, one: Finding, name: str | None) -> Iterable[Candidate]:
        every = tuple(self._measurements())
        found = next((m for m in every if m.name == name and m.digest == one.actual), None)
        if self._tee in _BOOTS:
            return self._boots(every) if found is None else self._registers(found, every)
        if found is not None and _index(found) is not None:  # of a TPM beside other hardware
            return self._registers(found, every)
        digest = one.actual if found is None else found.digest
        if not isinstance(digest, str) or _DIGEST.fullmatch(digest) is None:
            return ()
        return self._launches(digest, every)

    @property
    def _tee(self) -> str:
        return str(self.claims.get("tee"))

    def _measurements(self) -> Iterator[Measured]:
        listed = self.claims.get("measurements")
        for item in (listed if isinstance(listed, list) else [])[:_MOST_MEASURED]:
            if isinstance(item, dict):
                members = (item.get("name"), item.get("algorithm"), item.get("digest"))
                yield Measured(*(str(member) for member in members))

    def _launches(self, digest: str, every: tuple[Measured, ...]) -> Iterator[Candidate]:
        others = {m.digest for m in every if m.digest != digest}
        agreeing = Counter(
            value.set_name
            for other in sorted(others)
            for value in self.tx.references.near(
                _MEASUREMENT, prefix=other, length=len(other), limit=_FEW
            )
        )
        same = self.tx.references.near(_MEASUREMENT, prefix=digest, length=len(digest), limit=_FEW)
        likely = self.tx.references.near(_MEASUREMENT, length=len(digest), limit=_FEW)
        for value in dict.fromkeys((*same, *likely)):
            if value.key not in others:
                yield self._candidate(
                    value,
                    place="a measurement of the same length",
                    same=value.key == digest,
                    agreeing=agreeing[value.set_name],
                )

    def _registers(self, found: Measured, every: tuple[Measured, ...]) -> Iterator[Candidate]:
        kind, place = self._kind, self._place(found)
        agreeing = self._agreeing(every)
        for value in self.tx.references.near(kind, prefix=place, limit=_FEW):
            shown = value.key.removeprefix(place)
            yield self._candidate(
                value,
                place=f"{found.name}, {found.algorithm}",
                value_text=shown,
                same=shown == found.digest,
                agreeing=agreeing[value.set_name],
            )

    @property
    def _kind(self) -> str:
        return REGISTER if self._tee in launches.KINDS else PCR

    def _place(self, measured: Measured) -> str:
        """Return what the key of a reference value for this register begins with."""
        if self._tee in launches.KINDS:
            return f"{self._tee}/{measured.name}/"
        return f"{measured.algorithm}/{_index(measured)}/"

    def _boots(self, every: tuple[Measured, ...]) -> Iterator[Candidate]:
        for name, count in self._agreeing(every).most_common(_MOST_BOOTS):
            one = self._set(name)
            yield Candidate(
                set_name=name,
                name=name,
                place="the boot",
                value=f"agrees in {count} of {len(every)} registers",
                standing=self._standing_of(one),
                agreeing=count,
                readable=self.readable(name),
            )

    def _agreeing(self, every: tuple[Measured, ...]) -> Counter[str]:
        """Return how many of the measured registers each set describes as they are."""
        keys = [self._place(m) + m.digest for m in every]
        standing = self.tx.references.standing(self._kind, keys, self.now)
        return Counter(name for _, name in sorted(standing))

    # Levels, products, files.

    def _levels(self, component: str) -> Iterator[Candidate]:
        key = f"{self._tee}/{self.claims.get('product')}"
        for value in self.tx.references.near(_TCB_FLOOR, prefix=key, limit=_FEW):
            lowest = _parsed(value).get(component) if value.key == key else None
            if lowest is not None:
                yield self._candidate(
                    value, place=f"{component} of {key}", value_text=f">= {lowest}"
                )

    def _products(self) -> Iterator[Candidate]:
        prefix = f"{self._tee}/"
        for value in self.tx.references.near(_TCB_FLOOR, prefix=prefix, limit=_FEW):
            levels = ", ".join(f"{name} >= {least}" for name, least in _parsed(value).items())
            yield self._candidate(value, place=f"the floor of {value.key}", value_text=levels)

    def _files(self, path: str, actual: str) -> Iterator[Candidate]:
        digest = actual.rpartition(":")[2]
        if _DIGEST.fullmatch(digest) is None:
            return
        same = self.tx.references.near(_FILES, prefix=digest, length=len(digest), limit=_FEW)
        for value in (*same, *self.tx.references.near(_FILES, name=path, limit=_FEW)):
            yield self._candidate(value, place=f"the file {path}", same=value.key == digest)

    # Sets.

    def _candidate(
        self,
        value: ReferenceValue,
        *,
        place: str,
        value_text: str | None = None,
        same: bool = False,
        agreeing: int = 0,
    ) -> Candidate:
        one = self._set(value.set_name)
        withdrawn = value.state is ReferenceValueState.withdrawn
        note = value.withdraw_reason if withdrawn else ""
        return Candidate(
            set_name=value.set_name,
            name=str(_parsed(value).get("name", value.key)),
            place=place,
            value=value.key if value_text is None else value_text,
            standing=Standing.withdrawn if withdrawn else self._standing_of(one),
            same=same,
            agreeing=agreeing,
            readable=self.readable(value.set_name),
            note=note,
        )

    def _standing_of(self, one: ReferenceSet) -> Standing:
        if one.state is ReferenceSetState.staged:
            return Standing.staged
        if one.state is ReferenceSetState.revoked:
            return Standing.revoked
        ended = one.not_after is not None and one.not_after <= self.now
        return Standing.expired if ended else Standing.in_force

    def _set(self, name: str) -> ReferenceSet:
        if name not in self._sets:
            self._sets[name] = self.tx.references.get_set(name)
        return self._sets[name]


def _index(measured: Measured) -> int | None:
    """Return the number of a TPM's register; None for any other measurement."""
    found = _REGISTER.fullmatch(measured.name)
    return int(found["index"]) if found and measured.name.startswith(PCR) else None


def _parsed(value: ReferenceValue) -> Mapping[str, json.Value]:
    parsed = json.decode(value.value, what="stored reference value", max_bytes=_MAX_VALUE_BYTES)
    return parsed if isinstance(parsed, dict) else {}
