"""Development roots and machines of Intel's shape on disk: directories 0700, files 0600.

Root directory: `anchors.pem` (the root: what `sealward serve --development-root` takes),
`root.crl`, `platform-ca.pem` and `.key`, `tcb-signing.pem` and `.key`. The root's key is never
written.

Platform directory: `platform.toml`, `pck.pem` and `.key`, `platform-ca.pem`, `root.pem`.
"""

from __future__ import annotations

import secrets
import tomllib
from typing import TYPE_CHECKING, Final

from cryptography import x509

from sealward_devkit import files
from sealward_devkit.dcap.hierarchy import (
    COMPONENTS,
    FMSPC_SIZE,
    PCE_ID_SIZE,
    PIID_SIZE,
    PPID_SIZE,
    Hierarchy,
    PlatformFacts,
    generate_root_keys,
    mint_hierarchy,
)
from sealward_devkit.dcap.platform import Platform
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.pki.life import life_from
from sealward_devkit.pki.roots import MAXIMUM_ROOT_LIFE

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from sealward_devkit.pki.keys import RandomBytes

ANCHORS: Final = "anchors.pem"
_ROOT_CRL: Final = "root.crl"
_PLATFORM_FILE: Final = "platform.toml"
_WARNING: Final = "# Sealward development platform. Not hardware: it proves nothing but its root.\n"


def create_root(
    directory: Path,
    now: datetime,
    *,
    life: timedelta = MAXIMUM_ROOT_LIFE,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> None:
    """Make a development root, valid from `now` (aware UTC) for `life`.

    Raises:
        DevelopmentFilesError: the directory is not empty or cannot be written.
        ValueError: `life` is not above zero or is more than 7 days.
    """
    hierarchy = mint_hierarchy(generate_root_keys(random_bytes), life_from(now, life))
    try:
        files.new_directory(directory)
        files.write_certificate(directory / ANCHORS, hierarchy.root)
        files.write_private(directory / _ROOT_CRL, hierarchy.root_crl)
        files.write_certificate(directory / "platform-ca.pem", hierarchy.platform_ca)
        files.write_key(directory / "platform-ca.key", hierarchy.platform_ca_key)
        files.write_certificate(directory / "tcb-signing.pem", hierarchy.tcb_signing)
        files.write_key(directory / "tcb-signing.key", hierarchy.tcb_signing_key)
    except OSError as error:
        raise DevelopmentFilesError(f"cannot write the development root: {error}") from error


def load_root(directory: Path) -> Hierarchy:
    """The hierarchy of a root directory.

    Raises:
        DevelopmentFilesError: a file is missing, malformed or a key readable by others.
    """
    root = files.read_certificate(directory / ANCHORS)
    dates = x509.load_der_x509_certificate(root)
    return Hierarchy(
        validity=Validity(dates.not_valid_before_utc, dates.not_valid_after_utc),
        root=root,
        root_crl=files.read(directory / _ROOT_CRL),
        platform_ca=files.read_certificate(directory / "platform-ca.pem"),
        tcb_signing=files.read_certificate(directory / "tcb-signing.pem"),
        platform_ca_key=files.read_p256_key(directory / "platform-ca.key"),
        tcb_signing_key=files.read_p256_key(directory / "tcb-signing.key"),
    )


def save_platform(platform: Platform, directory: Path) -> None:
    """Write a machine into a new or empty directory.

    Raises:
        DevelopmentFilesError: the directory is not empty or cannot be written.
    """
    facts = platform.facts
    lines = [
        f'fmspc = "{facts.fmspc.hex()}"',
        f'pce_id = "{facts.pce_id.hex()}"',
        f'ppid = "{facts.ppid.hex()}"',
        f'platform_instance_id = "{facts.platform_instance_id.hex()}"',
        f"svns = {list(facts.svns)}",
        f"pce_svn = {facts.pce_svn}",
    ]
    try:
        files.new_directory(directory)
        files.write_key(directory / "pck.key", platform.key)
        files.write_certificate(directory / "pck.pem", platform.pck)
        files.write_certificate(directory / "platform-ca.pem", platform.platform_ca)
        files.write_certificate(directory / "root.pem", platform.root)
        text = _WARNING + "\n".join(lines) + "\n"
        files.write_private(directory / _PLATFORM_FILE, text.encode())
    except OSError as error:
        raise DevelopmentFilesError(f"cannot write the development platform: {error}") from error


def load_platform(directory: Path) -> Platform:
    """The machine that a directory holds.

    Raises:
        DevelopmentFilesError: a file is missing, malformed or a key readable by others.
    """
    return Platform(
        facts=_facts(directory / _PLATFORM_FILE),
        key=files.read_p256_key(directory / "pck.key"),
        pck=files.read_certificate(directory / "pck.pem"),
        platform_ca=files.read_certificate(directory / "platform-ca.pem"),
        root=files.read_certificate(directory / "root.pem"),
    )


def _facts(path: Path) -> PlatformFacts:
    try:
        described = tomllib.loads(files.read(path).decode())
        return PlatformFacts(
            fmspc=_sized(described["fmspc"], FMSPC_SIZE),
            pce_id=_sized(described["pce_id"], PCE_ID_SIZE),
            ppid=_sized(described["ppid"], PPID_SIZE),
            platform_instance_id=_sized(described["platform_instance_id"], PIID_SIZE),
            svns=tuple(_sized(bytes(described["svns"]).hex(), COMPONENTS)),
            pce_svn=int(described["pce_svn"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DevelopmentFilesError(f"{path} does not describe a platform: {error!r}") from error


def _sized(digits: str, size: int) -> bytes:
    value = bytes.fromhex(digits)
    if len(value) != size:
        raise ValueError(f"{len(value)} bytes where {size} belong")
    return value
