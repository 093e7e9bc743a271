"""What the tokens of Arm's PSA and CCA share: life cycle, software components, identifiers.

Sources: RFC 9783 section 4 (PSA), Arm DEN0098 and the RMM specification A7 (CCA). The platform
part of a CCA token grew out of the PSA token; the two use the same keys for the same things.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import statement
from sealward.verifier.wire.statement import Statement

if TYPE_CHECKING:
    from sealward.verifier.rats.claims import Json
    from sealward.verifier.wire.cbor import Value

IMPLEMENTATION_ID_SIZE: Final = 32
INSTANCE_ID_SIZE: Final = 33
DIGEST_SIZES: Final = (32, 48, 64)  # of SHA-256, SHA-384, SHA-512
MAX_LIFECYCLE: Final = 0xFFFF

UEID_RANDOM: Final = 1  # RFC 9711 section 4.2.1: what an instance id starts with


@unique
class Lifecycle(StrEnum):
    """The states of a root of trust: the upper byte of the claim; the lower is the maker's own."""

    UNKNOWN = "unknown"
    ASSEMBLY_AND_TEST = "assembly-and-test"
    PROVISIONING = "provisioning"
    SECURED = "secured"
    NON_ROT_DEBUG = "non-rot-debug"
    RECOVERABLE_ROT_DEBUG = "recoverable-rot-debug"
    DECOMMISSIONED = "decommissioned"

    @property
    def debug(self) -> bool:
        """Somebody may look into code that runs above the attester, or into the root of trust."""
        return self in (Lifecycle.NON_ROT_DEBUG, Lifecycle.RECOVERABLE_ROT_DEBUG)


_STATES: Final = {
    0x00: Lifecycle.UNKNOWN,
    0x10: Lifecycle.ASSEMBLY_AND_TEST,
    0x20: Lifecycle.PROVISIONING,
    0x30: Lifecycle.SECURED,
    0x40: Lifecycle.NON_ROT_DEBUG,
    0x50: Lifecycle.RECOVERABLE_ROT_DEBUG,
    0x60: Lifecycle.DECOMMISSIONED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One piece of software that was measured on the way up.

    Attributes:
        type: its role, as the maker calls it, or None.
        measurement: its digest.
        version: as the maker writes it, or None.
        signer_id: digest of the key that signed it; None where an old profile leaves it out.
        algorithm: of the measurement, as written, or None.
    """

    type: str | None
    measurement: bytes
    version: str | None
    signer_id: bytes | None
    algorithm: str | None

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form: digests in lower-case hex."""
        return {
            "type": self.type,
            "measurement": self.measurement.hex(),
            "version": self.version,
            "signer_id": None if self.signer_id is None else self.signer_id.hex(),
            "algorithm": self.algorithm,
        }


def lifecycle(value: int) -> Lifecycle:
    """Return the state of a life-cycle claim; UNKNOWN for values that nobody defined."""
    return _STATES.get(value >> 8, Lifecycle.UNKNOWN)


def check_lifecycle(value: int, *, claim: str) -> Lifecycle:
    """Return the state of a root of trust whose keys mean something.

    Debug states pass: the token is genuine, and the verdict `debug_enabled` holds them against it.

    Raises:
        RefusedEvidence: LIFECYCLE_FORBIDDEN, before a device was provisioned and after its end.
    """
    state = lifecycle(value)
    if state is Lifecycle.SECURED or state.debug:
        return state
    raise RefusedEvidence(
        Code.LIFECYCLE_FORBIDDEN,
        "the root of trust is not in the state in which its keys are protected",
        claim=claim,
        expected="secured (0x3000 to 0x30ff)",
        actual=f"{state.value} ({value:#06x})",
    )


def digest(value: Value, what: str) -> bytes:
    """Return `value` if it is a byte string of the size of a SHA-2 digest.

    Raises:
        MalformedEvidence: it is not.
    """
    octets = statement.octets(value, what, most=max(DIGEST_SIZES))
    if len(octets) not in DIGEST_SIZES:
        raise MalformedEvidence(0, f"{what} is not of 32, 48 or 64 bytes")
    return octets


def instance_id(fields: Statement, key: int) -> bytes:
    """Take an instance id: a random UEID of 33 bytes.

    Raises:
        MalformedEvidence: it is not one.
    """
    value = fields.octets(key, "instance id", size=INSTANCE_ID_SIZE)
    if value[0] != UEID_RANDOM:
        raise MalformedEvidence(0, "instance id: not a UEID of the type RAND (01)")
    return value


def optional_text(fields: Statement, key: int, name: str) -> str | None:
    """Take a text that may be absent. Raises MalformedEvidence for anything else there."""
    return fields.text(key, name) if fields.has(key) else None


def components(values: list[Value], what: str, *, signed: bool) -> tuple[Component, ...]:
    """Read a list of software components.

    Args:
        values: what stands under the claim.
        what: for the error.
        signed: the profile demands signer ids.

    Raises:
        MalformedEvidence: a component is none.
    """
    return tuple(_component(value, what, signed=signed) for value in values)


def _component(value: Value, what: str, *, signed: bool) -> Component:
    fields = Statement(value, what)
    found = Component(
        type=optional_text(fields, 1, "type"),
        measurement=digest(fields.nullable(2, "measurement"), f"{what}: measurement"),
        version=optional_text(fields, 4, "version"),
        signer_id=digest(fields.nullable(5, "signer id"), f"{what}: signer id")
        if signed or fields.has(5)
        else None,
        algorithm=optional_text(fields, 6, "algorithm"),
    )
    fields.finish()
    return found
