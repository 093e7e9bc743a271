"""The attester port: where the agent gets evidence from, whatever the hardware.

An attester is found by its name in the entry point group `sealward.attesters`. The entry point
loads an `AttesterFactory`; the agent calls it with its configuration table `[attester]` without the
key `name`. The kind `software` is provided by the separate distribution `sealward-devkit`, never by
this one (security-requirements F29).

Some evidence needs more than to be collected, and says so by a further protocol that its attester
has (`ProvesKey`, `Watches`), or by what goes with it (`lock`, `runtime_log`). The others know
nothing of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY_POINT_GROUP: Final = "sealward.attesters"
REPORT_DATA_SIZE: Final = 64


class AttesterUnavailable(Exception):
    """This attester cannot produce evidence here; the message is one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether evidence can be had; `why` is one sentence either way."""

    available: bool
    why: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that one TPM opens, beside one object in it (TPM 2.0 part 1, section 24).

    Attributes:
        id_object: inside of the TPM2B_ID_OBJECT.
        encrypted_secret: inside of the TPM2B_ENCRYPTED_SECRET.
    """

    id_object: bytes = field(repr=False)
    encrypted_secret: bytes = field(repr=False)


class Lock(Protocol):
    """Opens what was locked to the state that some evidence shows."""

    def open(self, credential: Credential) -> bytes:
        """Return the secret (32 fresh bytes, which the caller overwrites) of a credential.

        Raises:
            AttesterUnavailable: the state is another one now, the credential was made for another
                lock or is none at all, or the hardware fails.
        """
        ...


@dataclass(frozen=True, slots=True)
class RuntimeLogPart:
    """Entries of a runtime log, and how many there are before the first of them."""

    first: int
    data: bytes = field(repr=False)


class RuntimeLog(Protocol):
    """What the kernel measured since boot, as far as the evidence beside it proves it."""

    def behind(self, proven: int) -> RuntimeLogPart:
        """Return the entries behind the first `proven` ones, or all where there are not so many.

        Raises:
            AttesterUnavailable: they are more than is sent at once, or cannot be told apart.
        """
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """What goes to the verifier, and what opens the answer to it.

    Attributes:
        cmw: one CMW-encoded record (docs/specs/evidence-envelope.md).
        lock: opens content keys that come wrapped for exactly this evidence; None where none do.
        runtime_log: goes along, in parts (docs/specs/ima-claims.md); None where there is none.
    """

    cmw: bytes
    lock: Lock | None = None
    runtime_log: RuntimeLog | None = None


class Attester(Protocol):
    """Collects evidence of the machine this process runs in."""

    @property
    def kind(self) -> str:
        """The evidence format, for example `snp`."""
        ...

    def probe(self) -> Availability:
        """Say whether `collect` can work here, without producing evidence."""
        ...

    def collect(self, report_data: bytes) -> Evidence:
        """Fresh evidence that carries `report_data` (64 bytes).

        Raises:
            AttesterUnavailable: no evidence can be had here.
            ValueError: `report_data` is not 64 bytes: the caller's mistake.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyToProve:
    """A key that signs evidence, and the endorsement that shows which hardware it is in.

    Attributes:
        ak_public: TPMT_PUBLIC of the attestation key.
        ek_public: TPMT_PUBLIC of the endorsement key.
        ek_certificate: DER.
    """

    ak_public: bytes = field(repr=False)
    ek_public: bytes = field(repr=False)
    ek_certificate: bytes = field(repr=False)


@runtime_checkable
class ProvesKey(Protocol):
    """An attester whose key counts only once it has opened a credential (tpm-node.md 3)."""

    def credential_request(self) -> KeyToProve:
        """Return what a credential is made for; the first call makes the key.

        Raises:
            AttesterUnavailable: the hardware has no such key or certificate, or fails.
        """
        ...

    def activate(self, credential: Credential) -> bytes:
        """Return the secret (32 fresh bytes, which the caller overwrites) of a credential.

        Raises:
            AttesterUnavailable: it was made for another, is none at all, or the hardware fails.
        """
        ...


@runtime_checkable
class Watches(Protocol):
    """An attester that can tell when what it attested last is no longer so."""

    def changed(self) -> bool:
        """Say whether the state differs from that of the last evidence; False before the first.

        Raises:
            AttesterUnavailable: it cannot be told.
        """
        ...


class AttesterFactory(Protocol):
    """What an entry point of the group `sealward.attesters` loads."""

    def __call__(self, settings: Mapping[str, object]) -> Attester:
        """Build the attester from its settings.

        Raises:
            AttesterUnavailable: a setting is missing, unknown or of the wrong type.
        """
        ...


def require_report_data(report_data: bytes) -> None:
    """Refuse anything but 64 bytes with ValueError."""
    if len(report_data) != REPORT_DATA_SIZE:
        raise ValueError(f"report_data takes {REPORT_DATA_SIZE} bytes, not {len(report_data)}")


def require_no_settings(settings: Mapping[str, object]) -> None:
    """Refuse settings for an attester that has none: a misspelt setting is not a default.

    Raises:
        AttesterUnavailable: one is given.
    """
    if settings:
        names = ", ".join(ascii(name) for name in sorted(settings))
        raise AttesterUnavailable(f"[attester] has unknown settings: {names}.")
