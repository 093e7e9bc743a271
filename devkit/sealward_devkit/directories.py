"""Development roots and platforms on disk: one directory (0700) each, keys in files of mode 0600.

Root directory, for each product `p` in lower case: `ark-p.pem`, `ask-p.pem`, `asvk-p.pem` and the
keys `ask-p.key`, `asvk-p.key`; beside them `anchors.pem`, every ARK, which is the file that
`sealward serve --development` and `sealward verify` take. The ARK keys are never written.

Platform directory: `platform.toml`, `vek.key`, `vek.pem`, `intermediate.pem`, `root.pem`.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509

from sealward_devkit import files
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.pki.certificates import Validity
from sealward_devkit.pki.life import life_from
from sealward_devkit.pki.roots import MAXIMUM_ROOT_LIFE
from sealward_devkit.platform import Platform
from sealward_devkit.snp.hierarchy import (
    Hierarchy,
    RootKeys,
    generate_root_keys,
    mint_hierarchy,
)
from sealward_devkit.snp.products import CHIP_ID_SIZE, Product, Tcb
from sealward_devkit.snp.report import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path


ANCHORS_FILE: Final = "anchors.pem"
_PLATFORM_FILE: Final = "platform.toml"
_WARNING: Final = "# Sealward development platform. Not hardware: it proves nothing but its root.\n"


def create_root(
    directory: Path,
    now: datetime,
    *,
    life: timedelta = MAXIMUM_ROOT_LIFE,
    products: Sequence[Product] = tuple(Product),
    new_keys: Callable[[], RootKeys] = generate_root_keys,
) -> None:
    """Make a development root for each product, valid from `now` (aware UTC) for `life`.

    `new_keys` is called once a product.

    Raises:
        DevelopmentFilesError: the directory is not empty or cannot be written.
        ValueError: `life` is not above zero or is more than 7 days.
    """
    validity = life_from(now, life)
    try:
        files.new_directory(directory)  # first, since keys take a second each
        hierarchies = [mint_hierarchy(item, new_keys(), validity) for item in products]
        for item in hierarchies:
            name = item.product.value.lower()
            files.write_certificate(directory / f"ark-{name}.pem", item.ark)
            files.write_certificate(directory / f"ask-{name}.pem", item.ask)
            files.write_certificate(directory / f"asvk-{name}.pem", item.asvk)
            files.write_key(directory / f"ask-{name}.key", item.ask_key)
            files.write_key(directory / f"asvk-{name}.key", item.asvk_key)
        files.write_certificate(directory / ANCHORS_FILE, *(item.ark for item in hierarchies))
    except OSError as error:
        raise DevelopmentFilesError(f"cannot write the development root: {error}") from error


def load_root(directory: Path, product: Product) -> Hierarchy:
    """The hierarchy of one product from a root directory.

    Raises:
        DevelopmentFilesError: a file is missing, malformed or a key readable by others.
    """
    name = product.value.lower()
    ark = files.read_certificate(directory / f"ark-{name}.pem")
    dates = x509.load_der_x509_certificate(ark)
    return Hierarchy(
        product=product,
        validity=Validity(dates.not_valid_before_utc, dates.not_valid_after_utc),
        ark=ark,
        ask=files.read_certificate(directory / f"ask-{name}.pem"),
        asvk=files.read_certificate(directory / f"asvk-{name}.pem"),
        ask_key=files.read_rsa_key(directory / f"ask-{name}.key"),
        asvk_key=files.read_rsa_key(directory / f"asvk-{name}.key"),
    )


def save_platform(platform: Platform, directory: Path) -> None:
    """Write a platform into a new or empty directory.

    Raises:
        DevelopmentFilesError: the directory is not empty or cannot be written.
    """
    lines = [
        f'product = "{platform.product.value}"',
        f'signing_key = "{platform.signing_key.name}"',
        f'chip_id = "{platform.chip_id.hex()}"',
        "[tcb]",
        *(f"{name} = {level}" for name, level in asdict(platform.tcb).items()),
    ]
    try:
        files.new_directory(directory)
        files.write_key(directory / "vek.key", platform.key)
        files.write_certificate(directory / "vek.pem", platform.vek)
        files.write_certificate(directory / "intermediate.pem", platform.intermediate)
        files.write_certificate(directory / "root.pem", platform.root)
        text = _WARNING + "\n".join(lines) + "\n"
        files.write_private(directory / _PLATFORM_FILE, text.encode())
    except OSError as error:
        raise DevelopmentFilesError(f"cannot write the development platform: {error}") from error


def load_platform(directory: Path) -> Platform:
    """The platform a directory holds.

    Raises:
        DevelopmentFilesError: a file is missing, malformed or a key readable by others.
    """
    path = directory / _PLATFORM_FILE
    try:
        description = tomllib.loads(files.read(path).decode())
        product = Product(description["product"])
        signing_key = SigningKey[description["signing_key"]]
        tcb = Tcb(**description["tcb"])
        chip_id = bytes.fromhex(description["chip_id"])
    except (KeyError, TypeError, ValueError) as error:
        raise DevelopmentFilesError(f"{path} does not describe a platform: {error!r}") from error
    if len(chip_id) != CHIP_ID_SIZE:
        raise DevelopmentFilesError(f"{path} has a chip_id of {len(chip_id)} bytes, not 64")
    return Platform(
        product=product,
        signing_key=signing_key,
        tcb=tcb,
        chip_id=chip_id,
        key=files.read_p384_key(directory / "vek.key"),
        vek=files.read_certificate(directory / "vek.pem"),
        intermediate=files.read_certificate(directory / "intermediate.pem"),
        root=files.read_certificate(directory / "root.pem"),
    )
