"""Arm CCA attestation token: bytes to fields.

Source: Arm RMM specification (DEN0137) section A7.2, and draft-ffm-rats-cca-token. Two forms:

    399({ 44234: bstr platform, 44241: bstr realm })                       as first published
    907({ 44234: [263, bstr platform], 44241: [263, bstr realm] })         CMW collection

Each part is a tagged COSE_Sign1 of one map of claims. Profiles: the platform names its own (265),
and so does the realm, but for the first published one, whose realm names none and gives its key as
a bare point. Claims that a profile does not have are refused, for nobody would look at them.

This module parses; nothing here is verified. See `sealward.verifier.formats.cca.verify`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats import arm
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import foreign_cbor, foreign_cose, statement
from sealward.verifier.wire.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealward.verifier.rats.arm import Component
    from sealward.verifier.wire.cbor import Value
    from sealward.verifier.wire.foreign_cose import Message

MAX_BYTES: Final = 16 * 1024  # that of a model with 13 firmware components has 2.2 KiB
LEGACY_TAG: Final = 399
CMW_TAG: Final = 907
LEGACY_PROFILE: Final = "http://arm.com/CCA-SSD/1.0.0"
PLATFORM_PROFILE: Final = "tag:arm.com,2023:cca_platform#1.0.0"
REALM_PROFILE: Final = "tag:arm.com,2023:realm#1.0.0"
CHALLENGE_SIZE: Final = 64
EXTENSIBLE_MEASUREMENTS: Final = 4

_WHAT: Final = "CCA token"
_PLATFORM: Final = 44234
_REALM: Final = 44241
_EAT_CWT: Final = 263  # CoAP content format "application/eat+cwt"
_TAGS: Final = frozenset({foreign_cose.SIGN1_TAG})
_MAX_CONFIG: Final = 1024
_MAX_KEY: Final = 256  # a COSE_Key of P-384 has 107 bytes
_PERSONALIZATION_SIZE: Final = 64
_PROFILE: Final = 265


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The claims of the platform, under the key that its maker gave it.

    Attributes:
        profile: LEGACY_PROFILE or PLATFORM_PROFILE.
        challenge: digest of the realm attestation key.
        implementation_id: of the hardware, 32 bytes.
        instance_id: of this piece of it, 33 bytes.
        config: the maker's own configuration bits.
        lifecycle: 16 bits; rats.arm says what they mean.
        components: firmware, as measured.
        verification_service: where the maker would verify, or None.
        hash_algorithm: of the components that name none, as written.
    """

    profile: str
    challenge: bytes
    implementation_id: bytes
    instance_id: bytes
    config: bytes
    lifecycle: int
    components: tuple[Component, ...]
    verification_service: str | None
    hash_algorithm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Realm:
    """The claims of the realm, under the key that the platform vouches for.

    Attributes:
        profile: REALM_PROFILE; None in the first published form, which names none.
        challenge: 64 bytes, from whoever asked for the token.
        personalization: 64 bytes, which the host chose when it made the realm.
        initial_measurement: RIM, what the realm was when it started.
        extensible_measurements: the four REMs, which the realm extends.
        hash_algorithm: of these measurements, as written.
        public_key: the realm attestation key as the claim has it.
        key_hash_algorithm: with which the platform's challenge was made, as written.
    """

    profile: str | None
    challenge: bytes
    personalization: bytes
    initial_measurement: bytes
    extensible_measurements: tuple[bytes, ...]
    hash_algorithm: str
    public_key: bytes
    key_hash_algorithm: str


@dataclass(frozen=True, slots=True)
class ParsedPlatform:
    """The platform's part of a token: its message and the claims in it."""

    message: Message = field(repr=False)
    platform: Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A parsed and unverified token.

    Attributes:
        tag: LEGACY_TAG or CMW_TAG.
        platform_message, realm_message: the two COSE messages.
        platform_bytes: the platform's message as it came.
        platform, realm: their claims.
    """

    tag: int
    platform_message: Message = field(repr=False)
    realm_message: Message = field(repr=False)
    platform_bytes: bytes = field(repr=False)
    platform: Platform
    realm: Realm


def parse(data: bytes, *, known: Callable[[bytes], ParsedPlatform | None] | None = None) -> Token:
    """Read a token.

    Args:
        data: untrusted bytes.
        known: gives what the same bytes of a platform's message were read as before, or None.

    Raises:
        MalformedEvidence: neither form above, or a part is not what its profile says.
    """
    tag, body = foreign_cbor.split_tag(data, what=_WHAT, max_bytes=MAX_BYTES)
    if tag not in (LEGACY_TAG, CMW_TAG):
        raise MalformedEvidence(0, f"{_WHAT}: neither tag 399 nor tag 907")
    value = foreign_cbor.decode(body, what=_WHAT, max_bytes=MAX_BYTES, max_depth=2)
    parts = Statement(value, _WHAT)
    platform = _part(parts, _PLATFORM, tag, "platform token")
    realm = _part(parts, _REALM, tag, "realm token")
    parts.finish()
    held = known(platform) if known is not None else None
    parsed = _parse_platform(platform) if held is None else held
    realm_message = _message(realm, "realm token")
    return Token(
        tag=tag,
        platform_message=parsed.message,
        realm_message=realm_message,
        platform_bytes=platform,
        platform=parsed.platform,
        realm=_realm(_claims(realm_message, "realm token")),
    )


def _parse_platform(data: bytes) -> ParsedPlatform:
    message = _message(data, "platform token")
    return ParsedPlatform(message, _platform(_claims(message, "platform token")))


def _part(parts: Statement, key: int, tag: int, name: str) -> bytes:
    if tag == LEGACY_TAG:
        return parts.octets(key, name, most=MAX_BYTES)
    what = f"{_WHAT}: {name}"
    content_format, content = statement.pair(parts.nullable(key, name), what)
    if statement.uint(content_format, what) != _EAT_CWT:
        raise MalformedEvidence(0, f"{what} is not of content format {_EAT_CWT}")
    return statement.octets(content, what, most=MAX_BYTES)


def _message(data: bytes, what: str) -> Message:
    return foreign_cose.parse(data, what=what, max_bytes=MAX_BYTES, tags=_TAGS)


def _claims(message: Message, what: str) -> Statement:
    return Statement(foreign_cbor.decode(message.payload, what=what, max_bytes=MAX_BYTES), what)


def _platform(claims: Statement) -> Platform:
    what = "platform token"
    profile = claims.text(_PROFILE, "profile")
    if profile not in (LEGACY_PROFILE, PLATFORM_PROFILE):
        raise MalformedEvidence(0, f"{what}: unknown profile")
    platform = Platform(
        profile=profile,
        challenge=arm.digest(claims.nullable(10, "challenge"), f"{what}: challenge"),
        implementation_id=claims.octets(2396, "implementation id", size=arm.IMPLEMENTATION_ID_SIZE),
        instance_id=arm.instance_id(claims, 256),
        config=claims.octets(2401, "config", most=_MAX_CONFIG),
        lifecycle=claims.uint(2395, "lifecycle", most=arm.MAX_LIFECYCLE),
        components=_components(claims.items(2399, "software components"), what),
        verification_service=arm.optional_text(claims, 2400, "verification service"),
        hash_algorithm=claims.text(2402, "hash algorithm"),
    )
    claims.finish()
    return platform


def _components(values: list[Value], what: str) -> tuple[Component, ...]:
    if not values:
        raise MalformedEvidence(0, f"{what}: no software components")
    return arm.components(values, f"{what}: component", signed=True)


def _realm(claims: Statement) -> Realm:
    what = "realm token"
    profile = arm.optional_text(claims, _PROFILE, "profile")
    if profile not in (None, REALM_PROFILE):
        raise MalformedEvidence(0, f"{what}: unknown profile")
    extensible = claims.items(44239, "extensible measurements")
    if len(extensible) != EXTENSIBLE_MEASUREMENTS:
        raise MalformedEvidence(0, f"{what}: not {EXTENSIBLE_MEASUREMENTS} measurements")
    realm = Realm(
        profile=profile,
        challenge=claims.octets(10, "challenge", size=CHALLENGE_SIZE),
        personalization=claims.octets(44235, "personalization", size=_PERSONALIZATION_SIZE),
        initial_measurement=arm.digest(
            claims.nullable(44238, "initial measurement"), f"{what}: initial measurement"
        ),
        extensible_measurements=tuple(
            arm.digest(value, f"{what}: extensible measurement") for value in extensible
        ),
        hash_algorithm=claims.text(44236, "hash algorithm"),
        public_key=claims.octets(44237, "public key", most=_MAX_KEY),
        key_hash_algorithm=claims.text(44240, "key hash algorithm"),
    )
    claims.finish()
    return realm
