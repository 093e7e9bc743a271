"""Public keys of Arm instances: those that a tenant vouches for, and those found among files.

A key that lies beside a token proves that the two belong together and nothing about who made them:
it is used when no trust anchor is there, and what it verifies carries a verdict that says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING

from sealward.verifier.pki import instance_keys
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.registry.context import Item

if TYPE_CHECKING:
    from sealward.verifier.registry.context import Context


@unique
class KeyRole(StrEnum):
    """A file that is nothing but a key."""

    PUBLIC_KEY = "public key"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys to verify a token under, and whether a tenant vouches for them."""

    keys: tuple[InstanceKey, ...]
    vouched: bool


def recognise(data: bytes) -> tuple[Item, ...] | None:
    """Return a PEM public key (DER SubjectPublicKeyInfo), or None when it is nothing like one.

    Raises:
        MalformedEvidence: it starts as one, and is not one alone.
    """
    if not instance_keys.looks_like_pem(data):
        return None
    return (Item(KeyRole.PUBLIC_KEY, instance_keys.from_pem(data)),)


def choose(pieces: tuple[Item, ...], scheme: Scheme, context: Context) -> Keys:
    """Return the trust anchors, or where there are none of this scheme the keys among `pieces`."""
    anchors = tuple(key for key in context.keys if key.scheme is scheme)
    if anchors:
        return Keys(anchors, vouched=True)
    beside = dict.fromkeys(one.data for one in pieces if one.role is KeyRole.PUBLIC_KEY)
    return Keys(tuple(InstanceKey(scheme=scheme, spki=spki) for spki in beside), vouched=False)
