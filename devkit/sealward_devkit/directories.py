"""Development roots and platforms on disk: one directory (0700) each, keys in files of mode 0600.

Root directory, for each product `p` in lower case: `ark-p.pem`, `ask-p.pem`, `asvk-p.pem` and the
keys `ask-p.key`, `asvk-p.key`; beside them `anchors.pem`, every ARK, which is the file that
`sealward serve --development` and `sealward verify` take. The ARK keys are never written.

Platform directory: `platform.toml`, `vek.key`, `vek.pem`, `intermediate.pem`, `root.pem`.
"""

from __future__ import annotations

import os
import ssl
import stat
import tomllib
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealward_devkit.platform import Platform
from sealward_devkit.snp.hierarchy import (
    MAXIMUM_ROOT_LIFE,
    Hierarchy,
    RootKeys,
    Validity,
    generate_root_keys,
    mint_hierarchy,
)
from sealward_devkit.snp.products import CHIP_ID_SIZE, Product, Tcb
from sealward_devkit.snp.report import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

ANCHORS_FILE: Final = "anchors.pem"
_PLATFORM_FILE: Final = "platform.toml"
_GROUP_AND_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_WARNING: Final = "# Sealward development platform. Not hardware: it proves nothing but its root.\n"


class DevelopmentFilesError(Exception):
    """A root or platform directory cannot be made or read; the message is one sentence."""


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
    if not timedelta(0) < life <= MAXIMUM_ROOT_LIFE:
        raise ValueError("a development root lives for some time and at most 7 days")
    start = now.replace(microsecond=0)
    validity = Validity(start, start + life)
    try:
        _new_directory(directory)  # first, since keys take a second each
        hierarchies = [mint_hierarchy(item, new_keys(), validity) for item in products]
        for item in hierarchies:
            name = item.product.value.lower()
            _write_certificate(directory / f"ark-{name}.pem", item.ark)
            _write_certificate(directory / f"ask-{name}.pem", item.ask)
            _write_certificate(directory / f"asvk-{name}.pem", item.asvk)
            _write_key(directory / f"ask-{name}.key", item.ask_key)
            _write_key(directory / f"asvk-{name}.key", item.asvk_key)
        _write_certificate(directory / ANCHORS_FILE, *(item.ark for item in hierarchies))
    except OSError as error:
        raise DevelopmentFilesError(f"cannot write the development root: {error}") from error


def load_root(directory: Path, product: Product) -> Hierarchy:
    """The hierarchy of one product from a root directory.

    Raises:
        DevelopmentFilesError: a file is missing, malformed or a key readable by others.
    """
    name = product.value.lower()
    ark = _read_certificate(directory / f"ark-{name}.pem")
    dates = x509.load_der_x509_certificate(ark)
    return Hierarchy(
        product=product,
        validity=Validity(dates.not_valid_before_utc, dates.not_valid_after_utc),
        ark=ark,
        ask=_read_certificate(directory / f"ask-{name}.pem"),
        asvk=_read_certificate(directory / f"asvk-{name}.pem"),
        ask_key=_read_rsa_key(directory / f"ask-{name}.key"),
        asvk_key=_read_rsa_key(directory / f"asvk-{name}.key"),
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
        _new_directory(directory)
        _write_key(directory / "vek.key", platform.key)
        _write_certificate(directory / "vek.pem", platform.vek)
        _write_certificate(directory / "intermediate.pem", platform.intermediate)
        _write_certificate(directory / "root.pem", platform.root)
        text = _WARNING + "\n".join(lines) + "\n"
        _write_private(directory / _PLATFORM_FILE, text.encode())
    except OSError as error:
        raise DevelopmentFilesError(f"cannot write the development platform: {error}") from error


def load_platform(directory: Path) -> Platform:
    """The platform a directory holds.

    Raises:
        DevelopmentFilesError: a file is missing, malformed or a key readable by others.
    """
    path = directory / _PLATFORM_FILE
    try:
        description = tomllib.loads(_read(path).decode())
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
        key=_read_p384_key(directory / "vek.key"),
        vek=_read_certificate(directory / "vek.pem"),
        intermediate=_read_certificate(directory / "intermediate.pem"),
        root=_read_certificate(directory / "root.pem"),
    )


def _new_directory(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise DevelopmentFilesError(f"{directory} is not empty; give a new directory")
    directory.chmod(stat.S_IRWXU)


def _write_private(path: Path, content: bytes) -> None:
    """Create a file of mode 0600; it must not exist, so nothing is ever overwritten."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR), "wb") as file:
        file.write(content)


def _write_key(path: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write_private(path, pem)


def _write_certificate(path: Path, *certificates: bytes) -> None:
    pem = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in certificates)
    _write_private(path, pem.encode())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DevelopmentFilesError(f"cannot read {path}: {error.strerror}") from error


def _read_certificate(path: Path) -> bytes:
    # Not x509.load_pem_x509_certificate: it warns of serial number 0, which every VEK has.
    try:
        return ssl.PEM_cert_to_DER_cert(_read(path).decode("ascii"))
    except ValueError as error:
        raise DevelopmentFilesError(f"{path} is not a PEM certificate") from error


def _read_rsa_key(path: Path) -> rsa.RSAPrivateKey:
    key = _read_key(path)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise DevelopmentFilesError(f"{path} does not hold an RSA key")
    return key


def _read_p384_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = _read_key(path)
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP384R1)):
        raise DevelopmentFilesError(f"{path} does not hold a P-384 key")
    return key


def _read_key(path: Path) -> PrivateKeyTypes:
    content = _read(path)
    if path.stat().st_mode & _GROUP_AND_OTHERS:
        raise DevelopmentFilesError(f"{path} can be read by others; run chmod 600 on it")
    try:
        return serialization.load_pem_private_key(content, password=None)
    except (TypeError, ValueError) as error:
        raise DevelopmentFilesError(f"{path} is not a PEM private key") from error
