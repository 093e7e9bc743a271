"""Development roots and parent instances of AWS's shape on disk.

Root directory: `anchors.pem` (the root: what `sealward serve --development-root` takes),
`regional.pem`, `zonal.pem` and `zonal.key`. The keys above are never written.

Instance directory: `instance.toml`, `instance.key`, `cabundle.pem` (root first, as documents do).
"""

from __future__ import annotations

import secrets
import ssl
import tomllib
from typing import TYPE_CHECKING, Final

from cryptography import x509

from sealward_devkit import files
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.nitro.hierarchy import (
    Hierarchy,
    Instance,
    generate_root_keys,
    mint_hierarchy,
)
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.pki.life import life_from
from sealward_devkit.pki.roots import MAXIMUM_ROOT_LIFE

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from sealward_devkit.pki.keys import RandomBytes

ANCHORS: Final = "anchors.pem"
_INSTANCE_FILE: Final = "instance.toml"
_WARNING: Final = "# Sealward development instance. Not hardware: it proves nothing but its root.\n"
_PEM_END: Final = "-----END CERTIFICATE-----\n"


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
        files.write_certificate(directory / "regional.pem", hierarchy.regional)
        files.write_certificate(directory / "zonal.pem", hierarchy.zonal)
        files.write_key(directory / "zonal.key", hierarchy.zonal_key)
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
        regional=files.read_certificate(directory / "regional.pem"),
        zonal=files.read_certificate(directory / "zonal.pem"),
        zonal_key=files.read_p384_key(directory / "zonal.key"),
    )


def save_instance(instance: Instance, directory: Path) -> None:
    """Write a parent instance into a new or empty directory.

    Raises:
        DevelopmentFilesError: the directory is not empty or cannot be written.
    """
    text = f'{_WARNING}instance_id = "{instance.instance_id}"\n'
    try:
        files.new_directory(directory)
        files.write_key(directory / "instance.key", instance.key)
        files.write_certificate(directory / "cabundle.pem", *instance.cabundle)
        files.write_private(directory / _INSTANCE_FILE, text.encode())
    except OSError as error:
        raise DevelopmentFilesError(f"cannot write the development instance: {error}") from error


def load_instance(directory: Path) -> Instance:
    """The parent instance that a directory holds.

    Raises:
        DevelopmentFilesError: a file is missing, malformed or a key readable by others.
    """
    return Instance(
        instance_id=_instance_id(directory / _INSTANCE_FILE),
        key=files.read_p384_key(directory / "instance.key"),
        cabundle=_bundle(directory / "cabundle.pem"),
    )


def _instance_id(path: Path) -> str:
    try:
        instance_id = tomllib.loads(files.read(path).decode())["instance_id"]
    except (KeyError, ValueError) as error:
        raise DevelopmentFilesError(f"{path} does not describe an instance: {error!r}") from error
    if not isinstance(instance_id, str):
        raise DevelopmentFilesError(f"{path} does not describe an instance: no text")
    return instance_id


def _bundle(path: Path) -> tuple[bytes, bytes, bytes, bytes]:
    try:
        blocks = files.read(path).decode("ascii").split(_PEM_END)
        *certificates, rest = blocks
        bundle = [ssl.PEM_cert_to_DER_cert(block + _PEM_END) for block in certificates]
    except ValueError as error:
        raise DevelopmentFilesError(f"{path} does not hold PEM certificates") from error
    match bundle:
        case [root, regional, zonal, own] if not rest:
            return root, regional, zonal, own
        case _:
            raise DevelopmentFilesError(f"{path} does not hold the four certificates of a bundle")
