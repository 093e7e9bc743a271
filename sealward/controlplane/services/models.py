"""Sealed model versions: register and withdraw.

A registration is the header of a sealed file as its creator signed it; the body never comes here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import MAX_PAGE, Page
from sealward.controlplane.domain.workloads import (
    Creator,
    ModelState,
    ModelVersion,
    WorkloadKey,
)
from sealward.controlplane.services import inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction
from sealward.controlplane.services.release_core import ReleaseCore
from sealward.sealing.errors import SealedModelError
from sealward.sealing.header import MAX_REGISTRATION_BYTES, SealedHeader
from sealward.sealing.memory import wipe
from sealward.sealing.signing import CreatorPublicKey

MAX_VERSION: Final = 2**31 - 1  # what the database column holds


@dataclass(frozen=True, slots=True)
class Models:
    """Use cases around sealed model versions."""

    on: Dependencies

    def register(self, principal: Principal, workload: str, registration: bytes) -> ModelVersion:
        """Take in a sealed model version of a pinned creator whose content key can be released.

        In this order:
        1. the bytes are a sealed header, within its budget;
        2. it says that it is for this tenant and this workload;
        3. both of its signatures are by a creator key that is pinned to the workload;
        4. a wrap in it is for a key of the workload, and that key opens the content key that the
           header commits to (inside the release core; the key is wiped at once);
        5. its version is above every version of the model, withdrawn ones included.

        Agents run the header digest that signed terms name, so what is verified here is what runs.
        They do not check the signatures again: who trusts a creator without this control plane
        runs `sealward model verify` with the creator's key.

        Raises:
            Refused: forbidden, payload_too_large, model_refused, key_unusable.
            NotFound: workload_unknown.
            Conflict: already_exists for this version, state_changed for one below the newest.
        """
        require(principal, Right.model_register)
        header = _parse(registration)
        core = header.core
        if core.version > MAX_VERSION:
            raise Refused(Code.model_refused, f"version {core.version} is above {MAX_VERSION}")
        now = self.on.clock.now()
        known = self.on.database.read(lambda tx: _known(tx, workload, header))
        _check_signatures(header, known.creator)
        model = ModelVersion(
            workload=workload,
            name=core.model,
            version=core.version,
            core_digest=header.core_digest.hex(),
            signed_digest=header.header_digest.hex(),
            content_key_id=core.content_key_id.hex(),
            creator_key_id=known.creator.key_id,
            registration=registration,
            state=ModelState.active,
            registered=now,
            entry_id="",
        )
        content_key = ReleaseCore(self.on.keystore, known.tenant).content_key(model, known.key)
        wipe(content_key)
        return self.on.database.write(lambda tx: self._add(tx, principal, model, now))

    def withdraw(
        self, principal: Principal, workload: str, name: str, version: int, *, reason: str
    ) -> ModelVersion:
        """Grant a version to nobody from now on; leases that carry it end.

        Raises:
            Refused: forbidden, invalid_request.
            NotFound: model_unknown.
            Conflict: state_changed, it is withdrawn already.
        """
        require(principal, Right.model_withdraw)
        inputs.text(reason, "the reason", least=1)
        now = self.on.clock.now()

        def work(tx: Transaction) -> ModelVersion:
            current = tx.models.get(workload, name, version)
            if current.state is ModelState.withdrawn:
                raise Conflict(Code.state_changed, f"{name} version {version} is withdrawn already")
            withdrawn = mark_withdrawn(self.on, tx, current, reason, by=principal, now=now)
            cause = {"code": "model_withdrawn", "model": name, "version": str(version)}
            self.on.fence(tx, fences.workload(workload), cause, now)
            return withdrawn

        withdrawn = self.on.database.write(work)
        self.on.wake.sweeps()
        return withdrawn

    def page(
        self, principal: Principal, workload: str, *, limit: int, after: str | None
    ) -> Page[ModelVersion]:
        """List a workload's versions by name and version; NotFound(workload_unknown)."""
        require(principal, Right.model_read)

        def work(tx: Transaction) -> Page[ModelVersion]:
            tx.workloads.get(workload)
            return tx.models.page(workload, limit=limit, after=after)

        return self.on.database.read(work)

    def _add(
        self, tx: Transaction, principal: Principal, model: ModelVersion, now: datetime
    ) -> ModelVersion:
        _pinned(tx, model.workload, model.creator_key_id)  # nobody removed it meanwhile
        if tx.models.find(model.workload, model.name, model.version) is not None:
            raise Conflict(
                Code.already_exists, f"{model.name} version {model.version} is registered already"
            )
        newest = _newest(tx, model.workload, model.name)
        if newest is not None and model.version <= newest:
            raise Conflict(
                Code.state_changed,
                f"{model.name} is at version {newest}; {model.version} would go back",
                f"seal it as version {newest + 1} or above",
            )
        body: Body = {
            "workload": model.workload,
            "model": model.name,
            "version": model.version,
            "core_digest": model.core_digest,
            "signed_digest": model.signed_digest,
            "content_key_id": model.content_key_id,
            "creator": model.creator_key_id,
        }
        entry_id = self.on.record(tx, AuditKind.model_registered, body, by=principal, now=now)
        registered = replace(model, entry_id=entry_id)
        tx.models.add(registered)
        tx.epochs.bump(fences.workload(model.workload))  # takes nothing away: nothing to sweep
        return registered


def mark_withdrawn(
    on: Dependencies,
    tx: Transaction,
    model: ModelVersion,
    reason: str,
    *,
    by: Principal,
    now: datetime,
) -> ModelVersion:
    """Mark an active version as withdrawn and record it; the caller fences the workload."""
    body: Body = {
        "workload": model.workload,
        "model": model.name,
        "version": model.version,
        "reason": reason,
    }
    entry_id = on.record(tx, AuditKind.model_withdrawn, body, by=by, now=now)
    withdrawn = replace(model, state=ModelState.withdrawn, entry_id=entry_id)
    tx.models.save(withdrawn)
    return withdrawn


def _parse(registration: bytes) -> SealedHeader:
    if len(registration) > MAX_REGISTRATION_BYTES:
        raise Refused(
            Code.payload_too_large,
            f"a registration is at most {MAX_REGISTRATION_BYTES} bytes",
            "send the registration, not the sealed model",
        )
    try:
        return SealedHeader.parse(registration)
    except SealedModelError as error:
        raise Refused(
            Code.model_refused,
            f"{error.code}: {error.detail}",
            error.hint or "send the header of a sealed model, unchanged",
        ) from None


@dataclass(frozen=True, slots=True)
class _Known:
    """What a registration is checked against."""

    tenant: str
    creator: Creator
    key: WorkloadKey


def _known(tx: Transaction, workload: str, header: SealedHeader) -> _Known:
    core = header.core
    if core.tenant != tx.tenant or core.workload != workload:
        raise Refused(
            Code.model_refused,
            f"sealed for workload {core.workload} of tenant {core.tenant}",
            "seal it with the public key file of this workload",
        )
    tx.workloads.get(workload)
    creator = _pinned(tx, workload, core.creator_key_id.hex())
    return _Known(tx.tenant, creator, _known_key(tx, workload, header))


def _pinned(tx: Transaction, workload: str, key_id: str) -> Creator:
    creator = tx.workloads.find_creator(workload, key_id)
    if creator is None:
        raise Refused(
            Code.model_refused,
            f"its creator key {key_id} is not one of workload {workload}",
            f"if the creator is who you trust, an administrator pins the key: "
            f"`sealward workload creator add {workload} FILE.pub`",
        )
    return creator


def _check_signatures(header: SealedHeader, creator: Creator) -> None:
    try:
        header.verify_signatures(CreatorPublicKey.decode(creator.public))
    except SealedModelError as error:
        raise Refused(
            Code.model_refused,
            f"{error.code}: {error.detail}",
            "send the header of a sealed model, unchanged since its creator signed it",
        ) from None


def _known_key(tx: Transaction, workload: str, header: SealedHeader) -> WorkloadKey:
    """Return the workload key that the header has a wrap for, the newest one first."""
    wrapped_to = {wrap.key_id.hex() for wrap in header.wraps}
    for version in range(tx.workloads.latest_key(workload).version, 0, -1):
        key = tx.workloads.key(workload, version)
        if key.key_id in wrapped_to:
            return key
    raise Refused(
        Code.model_refused,
        "no wrap in it is for a key of this workload",
        "seal it with the public key file of this workload, or add a wrap with "
        "`sealward model rewrap`",
    )


def _newest(tx: Transaction, workload: str, name: str) -> int | None:
    newest: int | None = None
    after: str | None = None
    while True:
        page = tx.models.page(workload, limit=MAX_PAGE, after=after)
        for model in page.items:
            if model.name == name:
                newest = max(model.version, newest or 0)
        if page.after is None:
            return newest
        after = page.after
