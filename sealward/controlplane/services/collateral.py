"""Collateral: accepted after five checks, fenced, shown, exported (docs/specs/collateral.md).

Who brings a piece vouches for nothing, since vendors sign it; what could be done with a right to
import is to bring back an old one, and floors refuse that whoever asks (F19).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum, unique
from typing import Final, Protocol

from sealward.controlplane.domain import audit, fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.collateral import (
    KEPT_SUPERSEDED,
    CollateralFloor,
    CollateralState,
    Inspected,
    StoredCollateral,
    takes_away,
)
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import MAX_PAGE, Page
from sealward.controlplane.services import collateral_archive, inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Database, Transaction
from sealward.verifier.rats.collateral import Key, Kind, Source
from sealward.verifier.rats.errors import Code as VerifierCode
from sealward.verifier.rats.errors import RefusedEvidence, VerifierError
from sealward.verifier.wire import json

IMPORTED: Final = "import"
FETCHED: Final = "fetch"

_TODAYS: Final = "give what the vendor publishes today: a floor is never lowered (F19)"
_FETCHER: Final[Body] = {"id": "", "name": "the fetcher of this control plane"}
_DATES: Final = frozenset({VerifierCode.COLLATERAL_EXPIRED, VerifierCode.CERTIFICATE_EXPIRED})


class Inspector(Protocol):
    """Reads and verifies what vendors publish; performs no I/O."""

    def inspect(
        self, data: bytes, *, issuers: bytes, expected: Key | None, held: Source, now: datetime
    ) -> tuple[Inspected, ...]:
        """Return every piece in a file, each one verified to a root that is trusted here.

        Args:
            data: one piece in the form that its vendor publishes or that we store, or a bundle.
            issuers: PEM certificates that came beside it, or empty.
            expected: what it is said to be: used only where its bytes fit two names.
            held: where issuers may be that are collateral themselves.
            now: the instant to verify at.

        Raises:
            VerifierError: the first thing that does not hold.
        """


@unique
class Outcome(StrEnum):
    """What became of one piece."""

    stored = "stored"
    held = "held"  # these very bytes are current already
    refused = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One piece of an import, and what became of it; `code` and `detail` of a refusal."""

    key: Key
    digest: str
    outcome: Outcome
    code: Code | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CollateralStore:
    """Use cases around collateral.

    Attributes:
        on: what every use case reaches.
        inspector: verifies before anything is stored.
    """

    on: Dependencies
    inspector: Inspector

    def import_file(
        self, principal: Principal, data: bytes, *, named: Key | None = None
    ) -> tuple[Acceptance, ...]:
        """Accept what is in one file: a piece, a bundle, or an archive.

        Pieces of a bundle are judged one by one: an older revocation list keeps nobody from the
        newer TCB info beside it. `named` is needed only where bytes fit two names (the lists of
        VCEKs and of VLEKs have one issuer).

        Raises:
            Refused: forbidden; collateral_invalid or collateral_expired when anything in it does
                not hold, and nothing of it is kept; collateral_rolled_back when every piece of it
                is below its floor.
        """
        require(principal, Right.collateral_import)
        now = self.on.clock.now()
        pieces = self._read(data, named, now)
        by: Body = {"id": principal.principal_id, "name": principal.name}
        results = self._accept(pieces, IMPORTED, by, now)
        _raise_if_all_refused(results)
        return results

    def take_fetched(self, key: Key, data: bytes, issuers: bytes = b"") -> tuple[Acceptance, ...]:
        """Accept what a vendor's service answered when asked for `key`.

        Raises:
            Refused: as `import_file`; also collateral_invalid when `key` is not in it.
        """
        now = self.on.clock.now()
        pieces = self._inspect(data, issuers, StoredSource(self.on.database), now, asked=key)
        if key not in {piece.key for piece in pieces}:
            raise Refused(
                Code.collateral_invalid,
                f"the answer does not hold {key}",
                "check the base URL in the collateral configuration",
            )
        results = self._accept(pieces, FETCHED, _FETCHER, now)
        _raise_if_all_refused(results)
        return results

    def examine(self, data: bytes, *, named: Key | None, now: datetime) -> tuple[Inspected, ...]:
        """Return the pieces of a file as they would be accepted; nothing is stored.

        Raises:
            Refused: as `import_file`.
        """
        pieces = self._read(data, named, now)
        for piece in pieces:
            key = piece.key
            floor = self.on.database.read(lambda tx: tx.collateral.floor(key))  # noqa: B023 - runs at once
            objection = None if floor is None else floor.objection(piece)
            if objection is not None:
                raise Refused(Code.collateral_rolled_back, f"{key}: {objection}", _TODAYS)
        return pieces

    def page(
        self,
        principal: Principal,
        *,
        limit: int,
        after: str | None,
        kind: Kind | None = None,
        state: CollateralState | None = None,
    ) -> Page[StoredCollateral]:
        """List pieces by kind, name and digest."""
        require(principal, Right.collateral_read)
        return self.on.database.read(
            lambda tx: tx.collateral.page(limit=limit, after=after, kind=kind, state=state)
        )

    def get(
        self, principal: Principal, digest: str
    ) -> tuple[StoredCollateral, CollateralFloor | None]:
        """Return one piece and the floor of its key; NotFound."""
        require(principal, Right.collateral_read)
        inputs.lower_hex(digest, "the digest", least_bytes=32, most_bytes=32)

        def work(tx: Transaction) -> tuple[StoredCollateral, CollateralFloor | None]:
            piece = tx.collateral.get(digest)
            return piece, tx.collateral.floor(piece.key)

        return self.on.database.read(work)

    def export(self, principal: Principal) -> bytes:
        """Return an archive of every current piece that is not past its next update.

        Raises:
            Refused: forbidden; payload_too_large when it would not be read again.
        """
        require(principal, Right.collateral_read)
        now = self.on.clock.now()
        pieces = [piece for piece in current_pieces(self.on.database) if now <= piece.next_update]
        data = collateral_archive.write(pieces)
        if len(data) > collateral_archive.MAX_ARCHIVE_BYTES:
            raise Refused(
                Code.payload_too_large,
                "everything that is held does not fit into one archive",
                "let the other installation import the vendors' files, or fetch for itself",
            )
        return data

    def _read(self, data: bytes, named: Key | None, now: datetime) -> tuple[Inspected, ...]:
        held = StoredSource(self.on.database)
        if not collateral_archive.looks_like(data):
            return self._inspect(data, b"", held, now, asked=named)
        try:
            items = collateral_archive.read(data)
        except VerifierError as error:
            raise _invalid(error) from error
        found: dict[Key, Inspected] = {}
        for item in items:  # by kind: chains come before what they vouch for
            together = _Beside(found, held)
            pieces = self._inspect(item.content, item.issuers, together, now, asked=item.key)
            if [piece.key for piece in pieces] != [item.key]:
                raise Refused(
                    Code.collateral_invalid,
                    f"what the archive calls {item.key} is something else",
                    "make the archive again with `sealward collateral export`",
                )
            found[item.key] = pieces[0]
        return tuple(found.values())

    def _inspect(
        self,
        data: bytes,
        issuers: bytes,
        held: Source,
        now: datetime,
        *,
        asked: Key | None,
    ) -> tuple[Inspected, ...]:
        try:
            pieces = self.inspector.inspect(
                data, issuers=issuers, expected=asked, held=held, now=now
            )
        except VerifierError as error:
            raise _invalid(error, asked) from error
        for piece in pieces:
            if now > piece.next_update:
                raise Refused(
                    Code.collateral_expired,
                    f"{piece.key} was to be replaced at {piece.next_update.isoformat()}",
                    "get a current one from its vendor",
                )
        return pieces

    def _accept(
        self, pieces: Iterable[Inspected], source: str, by: Body, now: datetime
    ) -> tuple[Acceptance, ...]:
        def work(tx: Transaction) -> tuple[Acceptance, ...]:
            return tuple(self._accept_one(tx, piece, source, by, now) for piece in pieces)

        results = self.on.database.write(work)
        if any(result.outcome is Outcome.stored for result in results):
            self.on.wake.sweeps()
        return results

    def _accept_one(
        self, tx: Transaction, piece: Inspected, source: str, by: Body, now: datetime
    ) -> Acceptance:
        digest = hashlib.sha256(piece.content).hexdigest()
        current = tx.collateral.current(piece.key)
        if current is not None and current.digest == digest:
            return Acceptance(key=piece.key, digest=digest, outcome=Outcome.held)
        floor = tx.collateral.floor(piece.key)
        objection = None if floor is None else floor.objection(piece)
        if objection is not None:
            return Acceptance(
                key=piece.key,
                digest=digest,
                outcome=Outcome.refused,
                code=Code.collateral_rolled_back,
                detail=f"{piece.key}: {objection}",
            )
        entry_id = self._record(tx, piece, digest, current, source=source, by=by, now=now)
        _supersede(tx, current)
        tx.collateral.put(_stored(piece, digest, source, now, entry_id))
        fresh = CollateralFloor(
            kind=piece.key.kind, name=piece.key.name, number=piece.number, issued=piece.issued
        )
        tx.collateral.raise_floor((floor or fresh).raised(piece))
        self._fence(tx, piece.key, now)
        return Acceptance(key=piece.key, digest=digest, outcome=Outcome.stored)

    def _record(
        self,
        tx: Transaction,
        piece: Inspected,
        digest: str,
        current: StoredCollateral | None,
        *,
        source: str,
        by: Body,
        now: datetime,
    ) -> str:
        body: Mapping[str, json.Canonical] = {
            "by": by,
            "source": source,
            "kind": piece.key.kind.value,
            "name": piece.key.name,
            "digest": digest,
            "issued": piece.issued.isoformat(),
            "next_update": piece.next_update.isoformat(),
            "number": None if piece.number is None else str(piece.number),
            "signer": piece.signer,
            "development": piece.development,
            "replaces": None if current is None else current.digest,
        }
        entry = audit.entry(
            AuditKind.collateral_accepted,
            body,
            now=now,
            random_bytes=self.on.random_bytes,
            tenant=tx.tenant,
        )
        tx.audit.append(entry)
        return entry.entry_id

    def _fence(self, tx: Transaction, key: Key, now: datetime) -> None:
        tx.epochs.bump(fences.COLLATERAL)  # what processes remember of the store
        scope = fences.collateral(key)
        if takes_away(key.kind):
            self.on.fence(tx, scope, {"code": "collateral_changed", "collateral": str(key)}, now)
        else:
            tx.epochs.bump(scope)


class StoredSource:
    """What is held now, read anew each time: for inspection, which is rare."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: Key) -> bytes | None:
        """Return the current piece of a key."""
        piece = self._database.read(lambda tx: tx.collateral.current(key))
        return None if piece is None else piece.content


class _Beside:
    """What came before in the same archive, then what is held."""

    def __init__(self, found: Mapping[Key, Inspected], held: Source) -> None:
        self._found = found
        self._held = held

    def get(self, key: Key) -> bytes | None:
        piece = self._found.get(key)
        return self._held.get(key) if piece is None else piece.content


def current_pieces(database: Database, kind: Kind | None = None) -> Iterator[StoredCollateral]:
    """Yield every current piece, of one kind or all, page by page, each page one snapshot."""
    after: str | None = None
    while True:
        page = database.read(
            lambda tx: tx.collateral.page(
                limit=MAX_PAGE,
                after=after,  # noqa: B023 - runs at once
                kind=kind,
                state=CollateralState.current,
            )
        )
        yield from page.items
        after = page.after
        if after is None:
            return


def _supersede(tx: Transaction, current: StoredCollateral | None) -> None:
    if current is None:
        return
    tx.collateral.put(replace(current, state=CollateralState.superseded))
    tx.collateral.forget(tx.collateral.superseded(current.key)[KEPT_SUPERSEDED:])


def _stored(
    piece: Inspected, digest: str, source: str, now: datetime, entry_id: str
) -> StoredCollateral:
    return StoredCollateral(
        digest=digest,
        kind=piece.key.kind,
        name=piece.key.name,
        content=piece.content,
        issuers=piece.issuers,
        state=CollateralState.current,
        issued=piece.issued,
        next_update=piece.next_update,
        number=piece.number,
        signer=piece.signer,
        development=piece.development,
        source=source,
        accepted=now,
        entry_id=entry_id,
    )


def _invalid(error: VerifierError, key: Key | None = None) -> Refused:
    hint = error.hint if isinstance(error, RefusedEvidence) else None
    where = "" if key is None else f"{key}: "
    return Refused(
        Code.collateral_expired if error.code in _DATES else Code.collateral_invalid,
        f"{where}{error.code}: {error.detail}",
        hint or "give the file as its vendor publishes it, or an archive of `collateral export`",
    )


def _raise_if_all_refused(results: tuple[Acceptance, ...]) -> None:
    if results and all(result.outcome is Outcome.refused for result in results):
        raise Refused(
            Code.collateral_rolled_back,
            "; ".join(result.detail for result in results[:3]),
            _TODAYS,
        )
