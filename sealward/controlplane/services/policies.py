"""Policy revisions and activations (blueprint 5.5).

A revision is content: it is checked, addressed by its digest and never changes. An activation is
its use in a scope; it names the activation that it replaces, so that two people who act at once
cannot silently undo each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from sealward.controlplane.domain import fences
from sealward.controlplane.domain.activations import (
    ActivationMode,
    ActivationState,
    PolicyActivation,
    PolicyRevision,
)
from sealward.controlplane.domain.audit import AuditKind
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.policies import Layer, PolicyKind
from sealward.controlplane.domain.policies_bundle import (
    MAX_BUNDLE_BYTES,
    InvalidBundle,
    PolicyBundle,
    bundle_from_files,
    files_of,
)
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.domain.records import Page, new_id
from sealward.controlplane.services import inputs
from sealward.controlplane.services.administration import Body, Dependencies
from sealward.controlplane.services.authorization import Right, require
from sealward.controlplane.services.ports import Transaction
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import json

MAX_STORED_BYTES: Final = 8 * MAX_BUNDLE_BYTES  # JSON escapes grow a text at most sixfold
_SCOPE: Final = re.compile(r"(team|workload)/[a-z0-9][a-z0-9._-]{0,62}")


class PolicyCheck(Protocol):
    """Compiles a bundle, runs its tests and samples, and refuses what an engine must not load."""

    def __call__(self, bundle: PolicyBundle, kind: PolicyKind, layer: Layer) -> None:
        """Return when the bundle may be activated.

        Raises:
            Refused: policy_invalid; the detail names file, line and what to do.
            Unavailable: policy_engine_unavailable, the check itself could not run.
        """


def encode_bundle(bundle: PolicyBundle) -> bytes:
    """Return the stored form: canonical JSON of path to text, whose SHA-256 is the digest."""
    return json.canonical({path: data.decode("utf-8") for path, data in files_of(bundle).items()})


def decode_bundle(stored: bytes) -> PolicyBundle:
    """Read what `encode_bundle` wrote.

    Raises:
        Refused: policy_invalid, for anything else.
    """
    try:
        value = json.decode(stored, what="policy bundle", max_bytes=MAX_STORED_BYTES)
    except MalformedEvidence as error:
        raise Refused(Code.policy_invalid, error.detail) from None
    texts = value if isinstance(value, dict) else {}
    files = {path: text for path, text in texts.items() if isinstance(text, str)}
    if len(files) != len(texts):
        raise Refused(Code.policy_invalid, "policy bundle: not a map of texts")
    return _bundle(files)


@dataclass(frozen=True, slots=True)
class Policies:
    """Use cases around policy revisions."""

    on: Dependencies
    check: PolicyCheck

    def upload(
        self,
        principal: Principal,
        *,
        kind: PolicyKind,
        layer: Layer,
        name: str,
        files: Mapping[str, str],
    ) -> PolicyRevision:
        """Check a bundle and keep it under its digest; the same content again is the same revision.

        Raises:
            Refused: forbidden, invalid_request, policy_invalid.
            Unavailable: policy_engine_unavailable.
        """
        require(principal, Right.policy_upload)
        inputs.name(name, "the name of the revision")
        bundle = _bundle(files)
        try:
            bundle.refuse_outside(kind, layer)
        except InvalidBundle as error:
            raise _refused(error) from None
        self.check(bundle, kind, layer)
        now = self.on.clock.now()
        revision = PolicyRevision(
            digest=bundle.digest,
            kind=str(kind),
            layer=str(layer),
            name=name,
            bundle=encode_bundle(bundle),
            uploaded_by=principal.name,
            uploaded=now,
        )

        def work(tx: Transaction) -> PolicyRevision:
            known = tx.policies.find_revision(revision.digest)
            if known is not None:
                return known
            tx.policies.add_revision(revision)
            body: Body = {
                "digest": revision.digest,
                "kind": revision.kind,
                "layer": revision.layer,
                "name": name,
            }
            self.on.record(tx, AuditKind.policy_uploaded, body, by=principal, now=now)
            return revision

        return self.on.database.write(work)

    def activate(
        self,
        principal: Principal,
        digest: str,
        *,
        mode: ActivationMode = ActivationMode.enforce,
        scope: str | None = None,
        replaces: str | None,
    ) -> PolicyActivation:
        """Let a revision decide from the commit on; leases are then re-appraised under it.

        Args:
            principal: who activates.
            digest: of an uploaded revision.
            mode: only `enforce` so far.
            scope: None for the whole tenant; `team/<name>` or `workload/<name>` for those layers.
            replaces: the activation that is in force now, None when there is none.

        Raises:
            NotFound: there is no such revision.
            Refused: forbidden, invalid_request.
            Conflict: activation_replaced, something else is in force than `replaces`.
        """
        require(principal, Right.policy_activate)
        inputs.lower_hex(digest, "the digest", least_bytes=32, most_bytes=32)
        _refuse_mode(mode)
        now = self.on.clock.now()
        activation_id = new_id(now, self.on.random_bytes)

        def work(tx: Transaction) -> PolicyActivation:
            revision = tx.policies.get_revision(digest)
            full_scope = _scope(Layer(revision.layer), scope)
            body: Body = {
                "activation": activation_id,
                "digest": digest,
                "kind": revision.kind,
                "layer": revision.layer,
                "scope": full_scope,
                "mode": str(mode),
                "replaces": replaces,
            }
            entry_id = self.on.record(tx, AuditKind.policy_activated, body, by=principal, now=now)
            activation = PolicyActivation(
                activation_id=activation_id,
                kind=revision.kind,
                layer=revision.layer,
                scope=full_scope,
                mode=mode,
                digest=digest,
                replaces=replaces,
                state=ActivationState.active,
                by=principal.name,
                created=now,
                entry_id=entry_id,
            )
            tx.policies.activate(activation)
            cause = {"code": "policy_activated", "kind": revision.kind, "digest": digest}
            self.on.fence(tx, fences.policy(PolicyKind(revision.kind)), cause, now)
            return activation

        activation = self.on.database.write(work)
        self.on.wake.sweeps()
        return activation

    def revisions(
        self, principal: Principal, *, limit: int, after: str | None
    ) -> Page[PolicyRevision]:
        """List revisions by digest."""
        require(principal, Right.policy_read)
        return self.on.database.read(lambda tx: tx.policies.revisions(limit=limit, after=after))

    def revision(self, principal: Principal, digest: str) -> PolicyRevision:
        """Return one revision; NotFound."""
        require(principal, Right.policy_read)
        return self.on.database.read(lambda tx: tx.policies.get_revision(digest))

    def active(self, principal: Principal) -> tuple[PolicyActivation, ...]:
        """Return every activation in force."""
        require(principal, Right.policy_read)
        return self.on.database.read(lambda tx: tx.policies.active())

    def activations(
        self, principal: Principal, *, limit: int, after: str | None
    ) -> Page[PolicyActivation]:
        """List activations by id, ended ones included."""
        require(principal, Right.policy_read)
        return self.on.database.read(lambda tx: tx.policies.activations(limit=limit, after=after))


def _bundle(files: Mapping[str, str]) -> PolicyBundle:
    try:
        return bundle_from_files({path: text.encode("utf-8") for path, text in files.items()})
    except UnicodeEncodeError:
        raise Refused(Code.policy_invalid, "a file is not Unicode text") from None
    except InvalidBundle as error:
        raise _refused(error) from None


def _refused(error: InvalidBundle) -> Refused:
    where = f"{error.path}: " if error.path else ""
    return Refused(
        Code.policy_invalid, f"{where}{error.detail}", "correct the bundle and push it again"
    )


def _refuse_mode(mode: ActivationMode) -> None:
    if mode is not ActivationMode.enforce:
        raise inputs.invalid(
            f"mode {mode} is not offered by this release: nothing would evaluate it",
            "activate with mode enforce",
        )


def _scope(layer: Layer, scope: str | None) -> str:
    """Return the stored scope: `organisation`, `team/<name>` or `workload/<name>`."""
    if layer is Layer.ORGANISATION:
        if scope is not None:
            raise inputs.invalid("an organisation policy holds everywhere", "leave out the scope")
        return str(layer)
    if scope is None or _SCOPE.fullmatch(scope) is None or not scope.startswith(f"{layer}/"):
        raise inputs.invalid(
            f"a {layer} policy needs the scope it holds in", f"give {layer}/<name> as scope"
        )
    return scope
