"""The file keystore: one key a purpose, private from the start, unusable elsewhere."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.adapters.keystore import file
from sealward.controlplane.adapters.keystore.file import FileKeystore
from sealward.controlplane.domain.errors import Code, Conflict, DomainError, Refused
from sealward.controlplane.domain.keys import KeyContext, KeyPurpose, WrapPurpose, published
from sealward.verifier.rats.result_keys import ResultKey

CONTEXT = KeyContext(
    purpose=WrapPurpose.workload_private, tenant="default", workload="classify", version=1
)
MACS = (KeyPurpose.challenge_mac, KeyPurpose.token_mac, KeyPurpose.tpm_activation)


def refusal(call: Callable[..., object], *args: object) -> DomainError:
    with pytest.raises(DomainError) as caught:
        call(*args)
    return caught.value


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    file.create(tmp_path / "keys", secrets.token_bytes)
    return tmp_path / "keys"


@pytest.fixture
def keystore(directory: Path) -> FileKeystore:
    return FileKeystore(directory, secrets.token_bytes)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> FileKeystore:
    directory = tmp_path_factory.mktemp("keystore") / "keys"
    file.create(directory, secrets.token_bytes)
    return FileKeystore(directory, secrets.token_bytes)


def test_everything_is_private_whatever_the_umask(tmp_path: Path):
    before = os.umask(0)
    try:
        file.create(tmp_path / "keys", secrets.token_bytes)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "keys").iterdir()}
    assert modes == {f"{purpose}.key": 0o600 for purpose in KeyPurpose}


def test_keys_survive_loading(directory: Path, keystore: FileKeystore):
    again = FileKeystore(directory, secrets.token_bytes)
    for purpose in (*file.SIGNING_PURPOSES, *file.CERTIFICATE_PURPOSES):
        assert keystore.public(purpose) == again.public(purpose)
    assert again.unwrap(keystore.wrap(b"secret", CONTEXT), CONTEXT) == b"secret"
    for purpose in MACS:
        assert keystore.mac(purpose, b"x") == again.mac(purpose, b"x")


def test_no_two_purposes_share_a_key(directory: Path):
    contents = [path.read_bytes() for path in directory.iterdir()]
    assert len(set(contents)) == len(KeyPurpose)


def test_an_existing_directory_is_never_written_over(directory: Path):
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(Conflict):
        file.create(directory, secrets.token_bytes)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_a_creation_that_was_interrupted_is_begun_again(tmp_path: Path):
    draft = tmp_path / ".keys.new"
    draft.mkdir()
    (draft / "kek.key").write_bytes(b"half")
    file.create(tmp_path / "keys", secrets.token_bytes)
    assert not draft.exists()
    FileKeystore(tmp_path / "keys", secrets.token_bytes)


def test_a_missing_parent_is_a_refusal(tmp_path: Path):
    error = refusal(file.create, tmp_path / "absent" / "keys", secrets.token_bytes)
    assert error.code is Code.keystore_refused


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o660])
@pytest.mark.parametrize("purpose", [KeyPurpose.kek, KeyPurpose.log])
def test_a_key_file_that_others_can_use_is_refused_with_the_command_to_run(
    directory: Path, purpose: KeyPurpose, mode: int
):
    path = directory / f"{purpose}.key"
    path.chmod(mode)
    error = refusal(FileKeystore, directory, secrets.token_bytes)
    assert (error.code, error.hint) == (Code.keystore_refused, f"chmod 600 {path}")


def test_a_directory_that_others_can_use_is_refused_with_the_command_to_run(directory: Path):
    directory.chmod(0o750)
    error = refusal(FileKeystore, directory, secrets.token_bytes)
    assert error.hint == f"chmod 700 {directory}"


def test_a_key_behind_a_link_is_refused(directory: Path, tmp_path: Path):
    path = directory / "kek.key"
    path.rename(tmp_path / "kek.key")
    path.symlink_to(tmp_path / "kek.key")
    assert refusal(FileKeystore, directory, secrets.token_bytes).code is Code.keystore_refused


@pytest.mark.parametrize("purpose", list(KeyPurpose))
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-3]),
        lambda path: path.write_bytes(path.read_bytes() + b"00" * 32 + b"\n" + b"00" * 32 + b"\n"),
        lambda path: path.write_bytes(b"\xff" * 100),
        lambda path: path.write_bytes(b"00" * 5000),
    ],
    ids=["missing", "empty", "cut", "longer", "garbage", "oversize"],
)
def test_a_missing_or_damaged_key_stops_the_start(
    directory: Path, purpose: KeyPurpose, damage: Callable[[Path], object]
):
    path = directory / f"{purpose}.key"
    damage(path)
    error = refusal(FileKeystore, directory, secrets.token_bytes)
    assert error.code is Code.keystore_refused
    assert str(path) in error.detail


def without_later_keys(directory: Path) -> dict[str, bytes]:
    """Make the keystore one of an earlier release; return the files that it has."""
    for purpose in file.LATER_PURPOSES:
        (directory / f"{purpose}.key").unlink()
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_keystore_of_an_earlier_release_gets_the_keys_that_it_lacks(directory: Path):
    before = without_later_keys(directory)
    assert refusal(FileKeystore, directory, secrets.token_bytes).code is Code.keystore_refused
    file.complete(directory, secrets.token_bytes)
    after = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert after.keys() == {f"{purpose}.key" for purpose in KeyPurpose}
    assert {name: after[name] for name in before} == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    _, tag = FileKeystore(directory, secrets.token_bytes).mac(KeyPurpose.tpm_activation, b"x")
    assert len(tag) == 32


def test_a_whole_keystore_is_left_as_it_is(directory: Path):
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    file.complete(directory, secrets.token_bytes)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_no_key_of_the_first_release_is_made_again(directory: Path):
    (directory / "kek.key").unlink()
    file.complete(directory, secrets.token_bytes)
    assert refusal(FileKeystore, directory, secrets.token_bytes).code is Code.keystore_refused


def test_a_completion_that_was_interrupted_is_begun_again(directory: Path):
    without_later_keys(directory)
    (directory / "tpm_activation.new").write_bytes(b"half")
    file.complete(directory, secrets.token_bytes)
    FileKeystore(directory, secrets.token_bytes)
    assert not (directory / "tpm_activation.new").exists()


def test_no_key_is_added_where_others_could_read_it(directory: Path):
    without_later_keys(directory)
    directory.chmod(0o755)
    assert refusal(file.complete, directory, secrets.token_bytes).code is Code.keystore_refused


def test_a_key_of_another_kind_is_refused(directory: Path):
    (directory / "log.key").write_bytes((directory / "node_ca.key").read_bytes())
    assert refusal(FileKeystore, directory, secrets.token_bytes).code is Code.keystore_refused


def test_signatures_verify_under_the_published_key(shared: FileKeystore):
    for purpose in file.SIGNING_PURPOSES:
        public = ed25519.Ed25519PublicKey.from_public_bytes(shared.public(purpose))
        public.verify(shared.sign(purpose, b"data"), b"data")


def test_authorities_are_p256_and_publish_their_key(shared: FileKeystore):
    for purpose in file.CERTIFICATE_PURPOSES:
        public = load_der_public_key(shared.public(purpose))
        assert isinstance(public, ec.EllipticCurvePublicKey)
        assert public == shared.private_for_certificates(purpose).public_key()


def test_no_key_works_for_another_purpose(shared: FileKeystore):
    allowed = {
        "public": (*file.SIGNING_PURPOSES, *file.CERTIFICATE_PURPOSES),
        "sign": file.SIGNING_PURPOSES,
        "private_for_certificates": file.CERTIFICATE_PURPOSES,
        "mac": MACS,
        "verify_mac": MACS,
        "derive": (KeyPurpose.ratchet,),
    }
    arguments = {"sign": (b"",), "mac": (b"",), "verify_mac": ("", b"", b""), "derive": (b"", 32)}
    for method, purposes in allowed.items():
        for purpose in set(KeyPurpose) - set(purposes):
            error = refusal(getattr(shared, method), purpose, *arguments.get(method, ()))
            assert error.code is Code.keystore_refused, (method, purpose)


def test_tags_are_bound_to_purpose_key_and_data(shared: FileKeystore):
    key_id, tag = shared.mac(KeyPurpose.token_mac, b"data")
    assert shared.verify_mac(KeyPurpose.token_mac, key_id, b"data", tag)
    assert not shared.verify_mac(KeyPurpose.token_mac, key_id, b"datb", tag)
    assert not shared.verify_mac(KeyPurpose.token_mac, key_id, b"data", tag[:-1])
    assert not shared.verify_mac(KeyPurpose.token_mac, "00" * 8, b"data", tag)
    assert not shared.verify_mac(KeyPurpose.challenge_mac, key_id, b"data", tag)


def test_a_challenge_outlives_one_rotation_and_not_two(directory: Path, keystore: FileKeystore):
    purpose = KeyPurpose.challenge_mac
    key_id, tag = keystore.mac(purpose, b"data")
    keystore.rotate_challenge_mac()
    reloaded = FileKeystore(directory, secrets.token_bytes)
    for store in (keystore, reloaded):
        assert store.verify_mac(purpose, key_id, b"data", tag)
        assert store.mac(purpose, b"data")[0] != key_id
    keystore.rotate_challenge_mac()
    reloaded = FileKeystore(directory, secrets.token_bytes)
    for store in (keystore, reloaded):
        assert not store.verify_mac(purpose, key_id, b"data", tag)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_results_are_signed_by_the_newest_key_and_published_until_the_last_one_has_ended(
    directory: Path, keystore: FileKeystore
):
    first = keystore.result_keys()[0]
    made = first.made + timedelta(days=90)
    keystore.rotate_result_key(made, keep_previous=True)
    for store in (keystore, FileKeystore(directory, secrets.token_bytes)):
        second, kept = store.result_keys()
        assert (second.made, kept) == (made, first)
        assert second.spki != first.spki
        for key in (second, kept):
            signature = store.sign_result(key.spki, b"data")
            assert ResultKey.from_spki(key.spki).verifies(signature, b"data")
            assert not ResultKey.from_spki(key.spki).verifies(signature, b"datb")
        assert published((second, kept), made + timedelta(minutes=59)) == (second, kept)
        assert published((second, kept), made + timedelta(hours=1)) == (second,)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_result_key_that_was_replaced_signs_nothing(keystore: FileKeystore):
    first = keystore.result_keys()[0]
    keystore.rotate_result_key(first.made + timedelta(days=1), keep_previous=False)
    assert len(keystore.result_keys()) == 1
    assert refusal(keystore.sign_result, first.spki, b"data").code is Code.keystore_refused


def test_derived_secrets_depend_on_info(shared: FileKeystore):
    derived = {
        shared.derive(KeyPurpose.ratchet, info, 32) for info in (b"node 1", b"node 2", b"node 11")
    }
    assert len(derived) == 3
    assert shared.derive(KeyPurpose.ratchet, b"node 1", 32) in derived
    for length in (0, 65):
        with pytest.raises(ValueError, match="1 to 64"):
            shared.derive(KeyPurpose.ratchet, b"", length)


def test_a_wrapped_key_opens_in_its_own_context_only(shared: FileKeystore, directory: Path):
    wrapped = shared.wrap(b"private half", CONTEXT)
    assert shared.unwrap(wrapped, CONTEXT) == b"private half"
    for other in (
        replace(CONTEXT, tenant="other"),
        replace(CONTEXT, workload="classif"),
        replace(CONTEXT, version=2),
    ):
        assert refusal(shared.unwrap, wrapped, other).code is Code.key_unusable
    elsewhere = FileKeystore(directory, secrets.token_bytes)
    assert refusal(elsewhere.unwrap, wrapped, CONTEXT).code is Code.key_unusable


def test_wrapping_twice_gives_different_bytes(shared: FileKeystore):
    assert shared.wrap(b"same", CONTEXT) != shared.wrap(b"same", CONTEXT)


def test_every_flipped_bit_of_a_wrapped_key_is_refused(shared: FileKeystore):
    wrapped = shared.wrap(b"private half", CONTEXT)
    for position in range(len(wrapped) * 8):
        damaged = bytearray(wrapped)
        damaged[position // 8] ^= 1 << position % 8
        assert refusal(shared.unwrap, bytes(damaged), CONTEXT).code is Code.key_unusable
    for size in range(len(wrapped)):
        assert refusal(shared.unwrap, wrapped[:size], CONTEXT).code is Code.key_unusable


@given(data=st.binary(max_size=200))
def test_unwrapping_is_total(shared: FileKeystore, data: bytes):
    with pytest.raises(Refused) as caught:
        shared.unwrap(data, CONTEXT)
    assert caught.value.code is Code.key_unusable


def test_only_secrets_of_sensible_size_are_wrapped(shared: FileKeystore):
    for size in (0, 4097):
        with pytest.raises(ValueError, match="1 to 4096"):
            shared.wrap(bytes(size), CONTEXT)
    assert shared.unwrap(shared.wrap(bytes(4096), CONTEXT), CONTEXT) == bytes(4096)


def test_no_key_shows_in_a_representation_or_an_error(directory: Path, keystore: FileKeystore):
    texts = [repr(keystore), str(keystore), repr(vars(keystore))]
    (directory / "kek.key").write_bytes((directory / "kek.key").read_bytes() * 3)
    texts.append(str(refusal(FileKeystore, directory, secrets.token_bytes)))
    for path in directory.iterdir():
        for line in path.read_text().splitlines():
            if not line.startswith("-----"):
                assert not any(line in text for text in texts)
                if path.name in {"kek.key", "ratchet.key"}:
                    assert not any(repr(bytes.fromhex(line)) in text for text in texts)
