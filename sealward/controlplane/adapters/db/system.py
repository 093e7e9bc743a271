"""The marker of the installation."""

from __future__ import annotations

from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from sealward.controlplane.adapters.db import tables
from sealward.controlplane.adapters.db.engine import translate
from sealward.controlplane.adapters.db.rows import Scope
from sealward.controlplane.domain.errors import Code, NotFound
from sealward.controlplane.domain.system import SystemMarker

_S: Final = tables.system_marker.c
_ONLY: Final = 1  # the key of the one row


class SystemRepository:
    """services.repositories.System over SQL."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def find(self) -> SystemMarker | None:
        """Return the marker, None on a database that was never used."""
        query = select(_S.kind, _S.trust_domain, _S.generation, _S.created)
        row = self._scope.connection.execute(query).first()
        if row is None:
            return None
        kind, trust_domain, generation, created = row
        return SystemMarker(
            kind=kind, trust_domain=trust_domain, generation=generation, created=created
        )

    def initialise(self, marker: SystemMarker) -> None:
        """Write the marker once, and the tenant; Conflict(already_exists)."""
        row = {
            "only": _ONLY,
            "kind": marker.kind,
            "trust_domain": marker.trust_domain,
            "generation": marker.generation,
            "created": marker.created,
        }
        tenant = {"tenant": self._scope.tenant, "created": marker.created}
        try:
            self._scope.connection.execute(insert(tables.system_marker), row)
            self._scope.connection.execute(insert(tables.tenants), tenant)
        except IntegrityError as error:
            raise translate(error) from None

    def raise_generation(self) -> int:
        """Count the generation up by one and return it; NotFound before `initialise`."""
        change = update(tables.system_marker).values(generation=_S.generation + 1)
        if self._scope.connection.execute(change).rowcount == 0:
            raise NotFound(Code.not_found, "the database was never used")
        generation: int = self._scope.connection.execute(select(_S.generation)).scalar_one()
        return generation
