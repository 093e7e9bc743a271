"""Content keys: made once for each sealed model version, kept only wrapped.

A wrap is the content key sealed with HPKE to one workload key, under a context that names the
signed core of the header: it opens nothing else. Wraps stand outside the signature, so that a
workload key can be replaced without the creator.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from sealward.sealing import floe, hpke
from sealward.sealing.context import commitment_info, wrap_info
from sealward.sealing.errors import Code, MalformedSealedModel, RefusedSealedModel
from sealward.sealing.fields import Fields, Value, decode_strict
from sealward.sealing.memory import wipe
from sealward.verifier.wire import base64, json

CONTENT_KEY_BYTES: Final = floe.KEY_BYTES
COMMITMENT_BYTES: Final = 32
KEY_ID_BYTES: Final = 32  # SHA-256 of a public key
MAX_WRAP_FILE_BYTES: Final = 8192  # a hybrid wrap is 1168 bytes, 1560 in base64

_WRAP_NAMES: Final = ("alg", "ct", "kid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrap:
    """One content key for one workload key.

    Attributes:
        key_id: the workload key's id: SHA-256 of its encoded public key.
        suite: how it is sealed.
        ciphertext: HPKE encapsulated key and ciphertext; its length is fixed by the suite.
    """

    key_id: bytes
    suite: hpke.Suite
    ciphertext: bytes

    @classmethod
    def from_json(cls, value: Value, *, what: str = "wrap") -> Self:
        """Read a wrap from a decoded JSON value.

        Raises:
            MalformedSealedModel: MALFORMED_WRAP.
        """
        fields = Fields(value, _WRAP_NAMES, what=what, code=Code.MALFORMED_WRAP)
        suite = fields.choice("alg", hpke.Suite)
        size = suite.ciphertext_bytes(CONTENT_KEY_BYTES)
        ciphertext = fields.base64("ct", most=size)
        if len(ciphertext) != size:
            raise MalformedSealedModel(Code.MALFORMED_WRAP, f"{what}: ct must be {size} bytes")
        return cls(key_id=fields.hex("kid", KEY_ID_BYTES), suite=suite, ciphertext=ciphertext)

    def to_json(self) -> dict[str, json.Canonical]:
        """Return the JSON value that `from_json` reads."""
        return {
            "kid": self.key_id.hex(),
            "alg": str(self.suite),
            "ct": base64.encode(self.ciphertext),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapFile:
    """A wrap on its way from whoever could make it to the file it belongs in (section 7)."""

    core_digest: bytes
    wrap: Wrap

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a wrap file.

        Raises:
            MalformedSealedModel: MALFORMED_WRAP.
        """
        value = decode_strict(
            data, what="wrap file", max_bytes=MAX_WRAP_FILE_BYTES, code=Code.MALFORMED_WRAP
        )
        names = ("core_digest", "v", "wrap")
        fields = Fields(value, names, what="wrap file", code=Code.MALFORMED_WRAP)
        fields.fixed("v", 1)
        return cls(
            core_digest=fields.hex("core_digest", 32), wrap=Wrap.from_json(fields.raw("wrap"))
        )

    def encode(self) -> bytes:
        """Return canonical bytes that `parse` reads."""
        return json.canonical(
            {"v": 1, "core_digest": self.core_digest.hex(), "wrap": self.wrap.to_json()}
        )


def wrap_content_key(
    content_key: bytes | bytearray, workload_public: hpke.PublicKey, core_digest: bytes
) -> Wrap:
    """Seal a content key to a workload key, for the model whose signed core has `core_digest`.

    Raises:
        RefusedSealedModel: WRAP_REFUSED, nothing can be sealed to this public key.
    """
    _check_length(content_key)
    return Wrap(
        key_id=workload_public.key_id,
        suite=workload_public.suite,
        ciphertext=hpke.seal(workload_public, content_key, wrap_info(core_digest)),
    )


def unwrap_content_key(
    wrap: Wrap, workload_private: hpke.PrivateKey, core_digest: bytes
) -> bytearray:
    """Open a wrap. The caller checks the key with `check_commitment` and wipes it after use.

    Raises:
        RefusedSealedModel: WRAP_REFUSED, for another key, another model or a changed wrap alike.
    """
    if wrap.key_id != workload_private.public.key_id:
        raise RefusedSealedModel(Code.WRAP_REFUSED, "wrapped to another workload key")
    content_key = hpke.open(workload_private, wrap.ciphertext, wrap_info(core_digest))
    if len(content_key) != CONTENT_KEY_BYTES:
        wipe(content_key)
        raise RefusedSealedModel(Code.WRAP_REFUSED, "the wrap holds no content key")
    return content_key


def commitment(content_key: bytes | bytearray, core_digest: bytes) -> bytes:
    """Return the public value that ties a content key to one signed core (32 bytes)."""
    _check_length(content_key)
    info = commitment_info(core_digest)
    return HKDFExpand(SHA384(), COMMITMENT_BYTES, info).derive(content_key)


def check_commitment(content_key: bytes | bytearray, core_digest: bytes, expected: bytes) -> None:
    """Refuse a content key that is not the one this header was sealed with.

    Needs no body: a control plane checks it before it grants a key.

    Raises:
        RefusedSealedModel: CONTENT_KEY_MISMATCH.
    """
    if not hmac.compare_digest(commitment(content_key, core_digest), expected):
        raise RefusedSealedModel(
            Code.CONTENT_KEY_MISMATCH, "the content key is not that of this sealed model"
        )


def _check_length(content_key: bytes | bytearray) -> None:
    if len(content_key) != CONTENT_KEY_BYTES:
        raise ValueError(f"a content key is {CONTENT_KEY_BYTES} bytes, not {len(content_key)}")
