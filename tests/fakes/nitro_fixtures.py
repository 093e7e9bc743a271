"""Development Nitro documents in memory, for every suite that needs some; made at `NOW`.

mint(user_data=bytes(64))            # bytes of a document
hierarchy().root                     # DER: what to import as a development root
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

import cbor2
from fakes.snp_fixtures import NOW, VALIDITY, stream
from sealward_devkit.nitro import document, image
from sealward_devkit.nitro import hierarchy as minter

if TYPE_CHECKING:
    from datetime import datetime

    from sealward_devkit.nitro.document import Enclave
    from sealward_devkit.nitro.hierarchy import Hierarchy, Instance, RootKeys

IMAGE: Final = "good agent"
TRUST: Final = b"{}"


def root_keys() -> RootKeys:
    """The keys behind `hierarchy()`, for tests that sign something else with them."""
    return minter.generate_root_keys(stream("nitro root"))


@cache
def hierarchy() -> Hierarchy:
    """The development hierarchy, valid during `VALIDITY`."""
    return minter.mint_hierarchy(root_keys(), VALIDITY)


@cache
def instance(name: str = "first") -> Instance:
    """A parent instance; another name is another instance of the same root."""
    return minter.new_instance(hierarchy(), stream(f"nitro instance {name}"))


@cache
def enclave(name: str = "first", started: datetime = NOW) -> Enclave:
    """An enclave with `IMAGE` on `instance()`; another name is another enclave there."""
    random_bytes = stream(f"nitro enclave {name}")
    module_id = minter.new_module_id(instance(), random_bytes)
    pcrs = image.measure(IMAGE, TRUST) | image.of_parent(instance().instance_id)
    return document.start_enclave(instance(), module_id, tuple(pcrs.items()), started, random_bytes)


def mint(
    running: Enclave | None = None,
    *,
    user_data: bytes | None = bytes(64),
    nonce: bytes | None = None,
    public_key: bytes | None = None,
    now: datetime = NOW,
) -> bytes:
    """A document of an enclave."""
    running = enclave() if running is None else running
    request = document.Request(user_data=user_data, nonce=nonce, public_key=public_key)
    return document.mint_document(running, request, now)


def with_members(running: Enclave, **changes: object) -> bytes:
    """A document with members changed, added, or (where the value is `...`) left out, signed."""
    content = document.payload(running, document.Request(user_data=bytes(64)), NOW) | changes
    kept = {name: value for name, value in content.items() if value is not ...}
    return document.sign_payload(cbor2.dumps(kept), running.key)


__all__ = ["NOW", "VALIDITY"]
