"""Bearer secrets `{token_id}.{secret}`: how they are made, read and recognised.

Only a keyed MAC of a secret is stored, so a copy of the database lets nobody in. The MAC covers
what the token is for and its id, so that a row cannot be moved to another id or another use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, unique
from typing import Final

from sealward.controlplane.domain.keys import KeyPurpose
from sealward.controlplane.domain.records import RandomBytes, new_id
from sealward.controlplane.services.ports import Keystore
from sealward.verifier.wire import base64

MAX_BEARER: Final = 128  # characters; ours are 76
_SECRET_BYTES: Final = 32  # cannot be guessed, so a plain keyed MAC is enough to store it under
_FORM: Final = re.compile(r"(?P<token_id>[0-9a-f]{32})\.(?P<secret>[A-Za-z0-9_-]{43})")


@unique
class BearerUse(Enum):
    """What a bearer secret is for."""

    service = "sealward/service-token/v1"
    join = "sealward/join-token/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A new bearer secret; `text` is shown once and never stored."""

    token_id: str
    text: str = field(repr=False)
    mac_key_id: str
    secret_mac: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """A bearer secret as somebody presented it."""

    token_id: str
    secret: str = field(repr=False)


def mint(use: BearerUse, keystore: Keystore, *, now: datetime, random_bytes: RandomBytes) -> Minted:
    """Make a bearer secret of 256 random bits."""
    token_id = new_id(now, random_bytes)
    secret = base64.encode_url(random_bytes(_SECRET_BYTES))
    bearer = Bearer(token_id=token_id, secret=secret)
    key_id, tag = keystore.mac(KeyPurpose.token_mac, _message(use, bearer))
    return Minted(token_id=token_id, text=f"{token_id}.{secret}", mac_key_id=key_id, secret_mac=tag)


def parse(text: str) -> Bearer | None:
    """Read `{token_id}.{secret}`; None for anything else."""
    match = _FORM.fullmatch(text) if len(text) <= MAX_BEARER else None
    if match is None:
        return None
    return Bearer(token_id=match["token_id"], secret=match["secret"])


def is_genuine(
    use: BearerUse, keystore: Keystore, bearer: Bearer, *, mac_key_id: str, secret_mac: bytes
) -> bool:
    """Tell in constant time whether the secret is the one that the stored MAC was made over."""
    return keystore.verify_mac(KeyPurpose.token_mac, mac_key_id, _message(use, bearer), secret_mac)


def _message(use: BearerUse, bearer: Bearer) -> bytes:
    return f"{use.value}\n{bearer.token_id}\n{bearer.secret}".encode()
