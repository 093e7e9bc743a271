"""Which virtual machine a key belongs to: the extension 1.3.6.1.4.1.11129.2.1.21 of Google's CAs.

    SEQUENCE {
        zone UTF8String, project number INTEGER, project id UTF8String,
        instance id INTEGER, instance name UTF8String,
        [0] SEQUENCE {  [0] security version INTEGER,     [1] production BOOLEAN,
                        [2] TPM data always encrypted,    [3] suspend and resume always disabled,
                        [4] live migration of the TPM always disabled,    [5] BOOLEAN }
    }

All tags are explicit, all members of the inner sequence optional, and absent flags are FALSE. Read
from real certificates of both of Google's CAs; the names of the flags are those that Google's own
open source gives them, but for the last, whose meaning is not public.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import der

if TYPE_CHECKING:
    from sealward.verifier.pki.certificate import Certificate
    from sealward.verifier.wire.der import DerReader

OID: Final = "1.3.6.1.4.1.11129.2.1.21"

_WHAT: Final = "GCE instance"
_MAX_BYTES: Final = 1024  # real ones have 108 to 112
_MAX_TEXT: Final = 256  # zones, project ids and instance names have at most 63 characters
_ID_BYTES: Final = 9  # unsigned 64 bits, and DER's zero before a first bit that is set
_MAX_ID: Final = (1 << 64) - 1
_CONTEXT: Final = 0xA0
_VERSION_TAG: Final = _CONTEXT
_FLAG_TAGS: Final = range(_CONTEXT + 1, _CONTEXT + 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A virtual machine as Google names it.

    Attributes:
        zone, project_id, name: as Google and its customer wrote them.
        project_number, instance_id: unsigned 64 bits.
        security_version: None where the certificate does not say.
        production: the key is of Google's production environment and not of one for tests.
        tpm_data_encrypted, suspend_disabled, tpm_migration_disabled: promises about the virtual
            TPM's state; False where the certificate makes none.
    """

    zone: str
    project_number: int
    project_id: str
    instance_id: int
    name: str
    security_version: int | None
    production: bool
    tpm_data_encrypted: bool
    suspend_disabled: bool
    tpm_migration_disabled: bool


def of(certificate: Certificate) -> Instance | None:
    """Return the machine that a certificate names, or None when it has no such extension.

    Raises:
        MalformedEvidence: the extension does not parse.
    """
    extension = certificate.extension(OID)
    return None if extension is None else parse(extension.value)


def parse(data: bytes) -> Instance:
    """Read the extension's value.

    Raises:
        MalformedEvidence: not the structure above.
    """
    outer = der.read(data, what=_WHAT, max_bytes=_MAX_BYTES)
    body = outer.enter(_WHAT)
    outer.finish()
    zone, project_number = _text(body), _number(body)
    project_id, instance_id = _text(body), _number(body)
    name = _text(body)
    version, flags = None, [False] * len(_FLAG_TAGS)
    if not body.empty:
        wrapper = body.enter(_WHAT, _CONTEXT)
        version, flags = _properties(wrapper.enter(_WHAT))
        wrapper.finish()
    body.finish()
    production, encrypted, suspend_disabled, migration_disabled, _ = flags
    return Instance(
        zone=zone,
        project_number=project_number,
        project_id=project_id,
        instance_id=instance_id,
        name=name,
        security_version=version,
        production=production,
        tpm_data_encrypted=encrypted,
        suspend_disabled=suspend_disabled,
        tpm_migration_disabled=migration_disabled,
    )


def _properties(body: DerReader) -> tuple[int | None, list[bool]]:
    version = None
    if body.next_is(_VERSION_TAG):
        inside = body.enter(_WHAT, _VERSION_TAG)
        version = _number(inside)
        inside.finish()
    flags: list[bool] = []
    for tag in _FLAG_TAGS:
        flag = False
        if body.next_is(tag):
            inside = body.enter(_WHAT, tag)
            flag = inside.boolean(_WHAT)
            inside.finish()
        flags.append(flag)
    body.finish()
    return version, flags


def _text(body: DerReader) -> str:
    element = body.element(_WHAT, der.UTF8_STRING)
    try:
        text = element.content.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedEvidence(element.offset, f"{_WHAT}: text is not UTF-8") from None
    if not 1 <= len(text) <= _MAX_TEXT or not text.isprintable():
        raise MalformedEvidence(
            element.offset, f"{_WHAT}: text is not 1 to {_MAX_TEXT} printable characters"
        )
    return text


def _number(body: DerReader) -> int:
    at = body.offset
    value = body.integer(_WHAT, max_bytes=_ID_BYTES)
    if not 0 <= value <= _MAX_ID:
        raise MalformedEvidence(at, f"{_WHAT}: a number beyond 64 bits")
    return value
