"""Roots and platforms on disk: private, complete, never overwritten, refused when damaged."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from fakes import snp_fixtures
from sealward_devkit.directories import (
    ANCHORS_FILE,
    create_root,
    load_platform,
    load_root,
    save_platform,
)
from sealward_devkit.files import DevelopmentFilesError
from sealward_devkit.platform import p384_key, vcek_platform
from sealward_devkit.snp.products import Product

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, 0, 0, 987654, tzinfo=UTC)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of two products, made once, from keys that other tests use too."""
    directory = tmp_path_factory.mktemp("development") / "root"
    products = (Product.MILAN, Product.TURIN)
    new_keys = snp_fixtures.root_keys
    create_root(directory, NOW, life=timedelta(days=2), products=products, new_keys=new_keys)
    return directory


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_root_is_private_and_lives_from_now_for_the_days_asked(root: Path) -> None:
    made = load_root(root, Product.MILAN)
    assert made.validity.not_before == NOW.replace(microsecond=0)
    assert made.validity.not_after - made.validity.not_before == timedelta(days=2)
    assert mode(root) == 0o700
    assert {mode(path) for path in root.iterdir()} == {0o600}


def test_the_key_of_the_root_itself_is_not_kept(root: Path) -> None:
    assert sorted(path.name for path in root.glob("*.key")) == [
        "ask-milan.key",
        "ask-turin.key",
        "asvk-milan.key",
        "asvk-turin.key",
    ]


def test_the_anchors_file_holds_every_ark_and_nothing_else(root: Path) -> None:
    anchors = x509.load_pem_x509_certificates((root / ANCHORS_FILE).read_bytes())
    assert [item.subject.rfc4514_string() for item in anchors] == [
        "CN=Sealward Development ARK Milan",
        "CN=Sealward Development ARK Turin",
    ]


def test_a_product_the_root_was_not_made_for_is_refused(root: Path) -> None:
    with pytest.raises(DevelopmentFilesError, match=r"ark-genoa\.pem"):
        load_root(root, Product.GENOA)


@pytest.mark.parametrize("life", [timedelta(0), timedelta(days=7, seconds=1)])
def test_a_life_of_nothing_or_of_more_than_seven_days_is_refused(
    tmp_path: Path, life: timedelta
) -> None:
    with pytest.raises(ValueError, match="development root"):
        create_root(tmp_path / "root", NOW, life=life, new_keys=snp_fixtures.root_keys)
    assert not (tmp_path / "root").exists()


def test_a_platform_comes_back_as_it_was_saved(root: Path, tmp_path: Path) -> None:
    made = vcek_platform(load_root(root, Product.TURIN), snp_fixtures.stream("turin"))
    save_platform(made, tmp_path / "chip")
    back = load_platform(tmp_path / "chip")
    assert (back.product, back.signing_key, back.tcb) == (made.product, made.signing_key, made.tcb)
    assert (back.chip_id, back.vek, back.root) == (made.chip_id, made.vek, made.root)
    assert back.intermediate == made.intermediate
    assert back.key.private_numbers() == made.key.private_numbers()
    assert mode(tmp_path / "chip") == 0o700
    assert {mode(path) for path in (tmp_path / "chip").iterdir()} == {0o600}


def test_platform_ids_name_the_chip_and_are_absent_where_the_provider_masks_it() -> None:
    chip = snp_fixtures.platform()
    assert chip.platform_id == f"snp:chip:{chip.chip_id.hex()}"
    assert snp_fixtures.platform(name="second").platform_id != chip.platform_id
    assert snp_fixtures.provider_platform().platform_id is None
    turin = snp_fixtures.platform(Product.TURIN)
    assert (len(turin.chip_id), any(turin.chip_id[8:])) == (64, False)
    assert turin.platform_id == f"snp:chip:{turin.chip_id[:8].hex()}"


def test_nothing_that_exists_is_overwritten(tmp_path: Path) -> None:
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    before = {path: path.read_bytes() for path in (tmp_path / "chip").iterdir()}
    with pytest.raises(DevelopmentFilesError, match="is not empty"):
        save_platform(snp_fixtures.platform(name="second"), tmp_path / "chip")
    assert {path: path.read_bytes() for path in (tmp_path / "chip").iterdir()} == before


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DevelopmentFilesError, match="cannot write the development platform"):
        save_platform(snp_fixtures.platform(), tmp_path / "file" / "chip")
    with pytest.raises(DevelopmentFilesError, match="cannot write the development root"):
        create_root(tmp_path / "file" / "root", NOW, products=())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("platform.toml", b"product = 'Naples'", "does not describe a platform"),
        ("platform.toml", b"not toml", "does not describe a platform"),
        ("platform.toml", b"\xff", "does not describe a platform"),
        ("vek.pem", b"not pem", "is not a PEM certificate"),
        ("vek.key", b"not pem", "is not a PEM private key"),
    ],
)
def test_a_damaged_file_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    (tmp_path / "chip" / name).write_bytes(content)
    with pytest.raises(DevelopmentFilesError, match=message):
        load_platform(tmp_path / "chip")


def test_a_chip_id_of_another_size_is_refused(tmp_path: Path) -> None:
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    path = tmp_path / "chip" / "platform.toml"
    path.write_text(path.read_text().replace('chip_id = "', 'chip_id = "00'))
    with pytest.raises(DevelopmentFilesError, match="chip_id of 65 bytes"):
        load_platform(tmp_path / "chip")


def test_a_key_others_can_read_is_refused(tmp_path: Path) -> None:
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    (tmp_path / "chip" / "vek.key").chmod(0o640)
    with pytest.raises(DevelopmentFilesError, match="chmod 600"):
        load_platform(tmp_path / "chip")


def test_a_key_of_another_kind_is_refused(root: Path, tmp_path: Path) -> None:
    save_platform(snp_fixtures.platform(), tmp_path / "chip")
    vek_key = tmp_path / "chip" / "vek.key"
    p384 = vek_key.read_bytes()
    vek_key.write_bytes((root / "ask-milan.key").read_bytes())
    with pytest.raises(DevelopmentFilesError, match="P-384"):
        load_platform(tmp_path / "chip")
    other = tmp_path / "other"
    other.mkdir()
    for path in root.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "ask-milan.key").write_bytes(p384)
    for key in other.glob("*.key"):
        key.chmod(0o600)
    with pytest.raises(DevelopmentFilesError, match="RSA"):
        load_root(other, Product.MILAN)


def test_keys_follow_the_randomness_they_are_given() -> None:
    first = p384_key(snp_fixtures.stream("a")).private_numbers()
    assert first == p384_key(snp_fixtures.stream("a")).private_numbers()
    assert first != p384_key(snp_fixtures.stream("b")).private_numbers()
    # The ends of the range: 1 and order - 1 are keys, 0 never results.
    assert p384_key(bytes).private_numbers().private_value == 1
