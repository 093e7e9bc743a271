"""The runtime claims of an HCL report: JSON that the paravisor wrote and the hardware vouches for.

    { "keys": [ { "kid": "HCLAkPub", "kty": "RSA", "key_ops": [..], "e": .., "n": .. }, .. ],
      "vm-configuration": { name: boolean or text, .. },
      "user-data": 128 hexadecimal digits }                                       not always there

A paravisor of a later release may say more: members that we do not know are not looked at, for the
code that wrote them was measured. What we read is read strictly, and the attestation key is there
exactly once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.formats.hcl.report import MAX_REPORT_BYTES
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64, json

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Value

ATTESTATION_KEY: Final = "HCLAkPub"

_WHAT: Final = "runtime claims"
_MAX_DEPTH: Final = 8
_MAX_KEYS: Final = 8  # there are two
_MAX_SETTINGS: Final = 32  # there are four to six
_MAX_TEXT: Final = 256
_KEY_BYTES: Final = 256  # RSA-2048, which is what Azure's TPMs have
_EXPONENT: Final = b"\x01\x00\x01"
_EXPONENT_BYTES: Final = 4
# The oldest firmware wrote "encrypt" for both keys.
_KEY_OPS: Final = (["sign"], ["encrypt"])
_USER_DATA: Final = re.compile(r"[0-9A-Fa-f]{128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeClaims:
    """What the paravisor said.

    Attributes:
        modulus: of its TPM's attestation key, RSA-2048, 256 bytes big-endian; the exponent is
            65537.
        keys: the names of all keys.
        configuration: of the machine, (name, boolean or text), in its order.
        user_data: 64 bytes of the guest's choice, or None where the paravisor takes none.
    """

    modulus: bytes = field(repr=False)
    keys: tuple[str, ...]
    configuration: tuple[tuple[str, bool | str], ...]
    user_data: bytes | None


def parse(data: bytes) -> RuntimeClaims:
    """Read runtime claims.

    Raises:
        MalformedEvidence: not the object above.
    """
    value = json.decode(data, what=_WHAT, max_bytes=MAX_REPORT_BYTES, max_depth=_MAX_DEPTH)
    if not isinstance(value, dict):
        raise _wrong("not an object")
    keys = _keys(value.get("keys"))
    named = [key for key in keys if key["kid"] == ATTESTATION_KEY]
    if len(named) != 1:
        raise _wrong(f"{len(named)} keys are named {ATTESTATION_KEY}")
    return RuntimeClaims(
        modulus=_modulus(named[0]),
        keys=tuple(str(key["kid"]) for key in keys),
        configuration=_configuration(value.get("vm-configuration")),
        user_data=_user_data(value["user-data"]) if "user-data" in value else None,
    )


def _keys(value: Value) -> list[dict[str, Value]]:
    if not isinstance(value, list) or len(value) > _MAX_KEYS:
        raise _wrong(f"'keys' is not a list of at most {_MAX_KEYS}")
    found: list[dict[str, Value]] = []
    for key in value:
        kid = key.get("kid") if isinstance(key, dict) else None
        if not isinstance(key, dict) or not isinstance(kid, str) or len(kid) > _MAX_TEXT:
            raise _wrong("a key is not an object with a 'kid'")
        found.append(key)
    return found


def _modulus(key: dict[str, Value]) -> bytes:
    if key.get("kty") != "RSA" or key.get("key_ops") not in _KEY_OPS:
        raise _wrong(f"{ATTESTATION_KEY} is no RSA key of the kind that Azure's TPMs have")
    modulus = _number(key.get("n"), _KEY_BYTES)
    exponent = _number(key.get("e"), _EXPONENT_BYTES)
    if len(modulus) != _KEY_BYTES or not modulus[0] >> 7 or exponent != _EXPONENT:
        raise _wrong(f"{ATTESTATION_KEY} is not RSA-2048 with the exponent 65537")
    return modulus


def _number(value: Value, most: int) -> bytes:
    if not isinstance(value, str):
        raise _wrong(f"a number of {ATTESTATION_KEY} is not text")
    return base64.decode_url(value, what=_WHAT, max_bytes=most)


def _configuration(value: Value) -> tuple[tuple[str, bool | str], ...]:
    if not isinstance(value, dict) or len(value) > _MAX_SETTINGS:
        raise _wrong(f"'vm-configuration' is not an object of at most {_MAX_SETTINGS} members")
    found: list[tuple[str, bool | str]] = []
    for name, item in value.items():
        if not isinstance(item, bool | str):
            continue  # a kind of setting that no release of today has
        if len(name) > _MAX_TEXT or (isinstance(item, str) and len(item) > _MAX_TEXT):
            raise _wrong(f"a setting of more than {_MAX_TEXT} characters")
        found.append((name, item))
    return tuple(found)


def _user_data(value: Value) -> bytes:
    if not isinstance(value, str) or not _USER_DATA.fullmatch(value):
        raise _wrong("'user-data' is not 128 hexadecimal digits")
    return bytes.fromhex(value)


def _wrong(what: str) -> MalformedEvidence:
    return MalformedEvidence(0, f"{_WHAT}: {what}")
