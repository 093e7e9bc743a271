"""Workload public key files: what an owner needs to seal for a workload (section 7).

Strict JSON: {"v":1,"tenant","workload","key_id","suite","public_key"}. The file is public, but
not to be taken from anyone: whoever swaps it reads the models sealed with it. An owner compares
`key_id` with what the control plane's administrator says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from sealward.sealing.errors import Code, MalformedSealedModel
from sealward.sealing.fields import Fields, decode_strict
from sealward.sealing.hpke import PublicKey
from sealward.verifier.wire import base64, json

MAX_FILE_BYTES: Final = 8192  # a hybrid key is 1218 bytes, 1624 in base64

_NAMES: Final = ("key_id", "public_key", "suite", "tenant", "v", "workload")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadKey:
    """The public half of a workload key and whose it is."""

    tenant: str
    workload: str
    public: PublicKey

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a workload public key file.

        Raises:
            MalformedSealedModel: MALFORMED_KEY.
        """
        value = decode_strict(
            data, what="workload key", max_bytes=MAX_FILE_BYTES, code=Code.MALFORMED_KEY
        )
        fields = Fields(value, _NAMES, what="workload key", code=Code.MALFORMED_KEY)
        fields.fixed("v", 1)
        public = PublicKey.decode(fields.base64("public_key", most=MAX_FILE_BYTES))
        fields.fixed("suite", str(public.suite))
        if fields.hex("key_id", 32) != public.key_id:
            raise MalformedSealedModel(Code.MALFORMED_KEY, "key_id is not that of public_key")
        return cls(tenant=fields.text("tenant"), workload=fields.text("workload"), public=public)

    def encode(self) -> bytes:
        """Return canonical bytes that `parse` reads."""
        return json.canonical(
            {
                "v": 1,
                "tenant": self.tenant,
                "workload": self.workload,
                "key_id": self.public.key_id.hex(),
                "suite": str(self.public.suite),
                "public_key": base64.encode(self.public.encoded),
            }
        )
