"""Arm PSA attestation token: bytes to fields.

Source: RFC 9783 (profile 2), and draft-tschofenig-rats-psa-token-05 for "PSA_IOT_PROFILE_1", whose
claims are the same under private numbers. A tagged COSE_Sign1, or a tagged COSE_Mac0 from devices
without asymmetric keys, of one map of claims. Which profile it is, its claims tell: 265 or -75000.
Claims that a profile does not have are refused, for nobody would look at them.

This module parses; nothing here is verified. See `sealward.verifier.formats.psa.verify`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealward.verifier.rats import arm
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import foreign_cbor, foreign_cose
from sealward.verifier.wire.statement import Statement

if TYPE_CHECKING:
    from sealward.verifier.rats.arm import Component
    from sealward.verifier.wire.foreign_cose import Message

MAX_BYTES: Final = 8 * 1024  # that of TF-M has 534 bytes
PROFILE_1: Final = "PSA_IOT_PROFILE_1"
PROFILE_2: Final = "http://arm.com/psa/2.0.0"
PROFILE_TFM: Final = "tag:psacertified.org,2023:psa#tfm"

_WHAT: Final = "PSA token"
_TAGS: Final = frozenset({foreign_cose.SIGN1_TAG, foreign_cose.MAC0_TAG})
_SEED_SIZES: Final = range(8, 33)
_INT32: Final = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The numbers of the claims in one profile, and what the profile demands."""

    profile: int
    client_id: int
    lifecycle: int
    implementation_id: int
    boot_seed: int
    certification: int
    components: int
    nonce: int
    instance_id: int
    verification_service: int
    no_components: int | None  # profile 1 says so when nothing was measured
    strict: bool  # profile 2 demands signer ids, and not the boot seed


_PROFILE_1_KEYS: Final = _Keys(
    profile=-75000,
    client_id=-75001,
    lifecycle=-75002,
    implementation_id=-75003,
    boot_seed=-75004,
    certification=-75005,
    components=-75006,
    no_components=-75007,
    nonce=-75008,
    instance_id=-75009,
    verification_service=-75010,
    strict=False,
)
_PROFILE_2_KEYS: Final = _Keys(
    profile=265,
    client_id=2394,
    lifecycle=2395,
    implementation_id=2396,
    boot_seed=2397,
    certification=2398,
    components=2399,
    no_components=None,
    nonce=10,
    instance_id=256,
    verification_service=2400,
    strict=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A parsed and unverified token.

    Attributes:
        message: the COSE message.
        profile: one of the three profiles above.
        nonce: 32, 48 or 64 bytes, from whoever asked for the token.
        instance_id: of the device, 33 bytes.
        implementation_id: of the hardware, 32 bytes.
        client_id: who asked: negative for non-secure callers, positive for secure partitions.
        lifecycle: 16 bits; rats.arm says what they mean.
        boot_seed: 8 to 32 bytes that are new at every boot, or None.
        certification: certification reference (profile 1: hardware version), or None.
        components: software, as measured; none where profile 1 says that nothing was.
        verification_service: where the maker would verify, or None.
    """

    message: Message = field(repr=False)
    profile: str
    nonce: bytes
    instance_id: bytes
    implementation_id: bytes
    client_id: int
    lifecycle: int
    boot_seed: bytes | None
    certification: str | None
    components: tuple[Component, ...]
    verification_service: str | None


def parse(data: bytes) -> Token:
    """Read a token.

    Raises:
        MalformedEvidence: neither message, or claims that no profile above has.
    """
    message = foreign_cose.parse(data, what=_WHAT, max_bytes=MAX_BYTES, tags=_TAGS)
    claims = Statement(foreign_cbor.decode(message.payload, what=_WHAT, max_bytes=MAX_BYTES), _WHAT)
    keys = _PROFILE_2_KEYS if claims.has(_PROFILE_2_KEYS.profile) else _PROFILE_1_KEYS
    token = Token(
        message=message,
        profile=_profile(claims, keys),
        nonce=arm.digest(claims.nullable(keys.nonce, "nonce"), f"{_WHAT}: nonce"),
        instance_id=arm.instance_id(claims, keys.instance_id),
        implementation_id=claims.octets(
            keys.implementation_id, "implementation id", size=arm.IMPLEMENTATION_ID_SIZE
        ),
        client_id=_client_id(claims, keys),
        lifecycle=claims.uint(keys.lifecycle, "lifecycle", most=arm.MAX_LIFECYCLE),
        boot_seed=_boot_seed(claims, keys),
        certification=arm.optional_text(claims, keys.certification, "certification"),
        components=_components(claims, keys),
        verification_service=arm.optional_text(
            claims, keys.verification_service, "verification service"
        ),
    )
    claims.finish()
    return token


def _profile(claims: Statement, keys: _Keys) -> str:
    if keys is _PROFILE_1_KEYS and not claims.has(keys.profile):
        return PROFILE_1  # the claim is optional there
    profile = claims.text(keys.profile, "profile")
    known = (PROFILE_1,) if keys is _PROFILE_1_KEYS else (PROFILE_2, PROFILE_TFM)
    if profile not in known:
        raise MalformedEvidence(0, f"{_WHAT}: unknown profile")
    return profile


def _client_id(claims: Statement, keys: _Keys) -> int:
    client_id = claims.integer(keys.client_id, "client id")
    if client_id == 0 or not -_INT32 <= client_id < _INT32:
        raise MalformedEvidence(0, f"{_WHAT}: client id is zero or no integer of 32 bits")
    return client_id


def _boot_seed(claims: Statement, keys: _Keys) -> bytes | None:
    if keys.strict and not claims.has(keys.boot_seed):
        return None
    seed = claims.octets(keys.boot_seed, "boot seed")
    if len(seed) not in _SEED_SIZES or not (keys.strict or len(seed) == _SEED_SIZES[-1]):
        raise MalformedEvidence(0, f"{_WHAT}: boot seed is of a size that its profile has not")
    return seed


def _components(claims: Statement, keys: _Keys) -> tuple[Component, ...]:
    none = keys.no_components
    if none is not None and claims.has(none):
        if claims.uint(none, "no measurements") != 1 or claims.has(keys.components):
            raise MalformedEvidence(0, f"{_WHAT}: measurements are there, or are said not to be")
        return ()
    values = claims.items(keys.components, "software components")
    if not values:
        raise MalformedEvidence(0, f"{_WHAT}: no software components")
    return arm.components(values, f"{_WHAT}: component", signed=keys.strict)
