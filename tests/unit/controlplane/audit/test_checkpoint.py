"""Checkpoints: one text for each, readable by our parser only as what was signed."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from sealward.controlplane.domain.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    CheckpointRefused,
    LogKey,
    log_name,
    read_log_key,
    sign,
    verify,
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = LogKey(log_name("sealward.invalid"), PRIVATE.public_key().public_bytes_raw())
CHECKPOINT = Checkpoint(KEY.name, 1234, bytes(range(32)))
NOTE = sign(CHECKPOINT, KEY, PRIVATE.sign)
BODY, SIGNATURE = NOTE.split("\n\n")


def resigned(body: str) -> str:
    """Return a note whose signature is right over whatever `body` says."""
    signature = KEY.key_hash() + PRIVATE.sign(body.encode())
    return f"{body}\n\u2014 {KEY.name} {base64.b64encode(signature).decode()}\n"


def test_the_note_is_the_one_of_the_specification() -> None:
    assert NOTE.startswith(
        "sealward.invalid/log\n1234\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n"
        "\u2014 sealward.invalid/log "
    )
    assert resigned(BODY + "\n") == NOTE
    assert verify(NOTE, KEY) == CHECKPOINT


@given(st.integers(0, (1 << 63) - 1), st.binary(min_size=32, max_size=32))
def test_what_is_signed_comes_back(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(KEY.name, size, root)
    assert verify(sign(checkpoint, KEY, PRIVATE.sign), KEY) == checkpoint


def test_a_witness_beside_us_changes_nothing() -> None:
    witness = f"\u2014 witness.invalid {base64.b64encode(bytes(76)).decode()}\n"
    assert verify(NOTE + witness, KEY) == CHECKPOINT
    assert verify(BODY + "\n\n" + witness + SIGNATURE, KEY) == CHECKPOINT


ROOT = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
NAME = KEY.name


@pytest.mark.parametrize(
    "body",
    [
        f"{NAME}\n01234\n{ROOT}\n",
        f"{NAME}\n+1234\n{ROOT}\n",
        f"{NAME}\n1_234\n{ROOT}\n",
        f"{NAME}\n-1\n{ROOT}\n",
        f"{NAME}\n\n{ROOT}\n",
        f"{NAME}\n9223372036854775808\n{ROOT}\n",
        f"{NAME}\n{'9' * 5000}\n{ROOT}\n",
        f"{NAME}\n\u0661\n{ROOT}\n",
        f"{NAME}\n1234\n{ROOT[:-1]}\n",
        f"{NAME}\n1234\n{ROOT[:-2]}9=\n",
        f"{NAME}\n1234\nAAAA\n",
        f"{NAME}\n1234\n{ROOT} \n",
        f"{NAME}\n1234\n{ROOT}\nextension\n",
        f"{NAME}\n1234\n",
        f"{NAME}\r\n1234\r\n{ROOT}\r\n",
        f"other.invalid/log\n1234\n{ROOT}\n",
        f"\n1234\n{ROOT}\n",
    ],
    ids=range(17),
)
def test_there_is_one_way_to_write_a_checkpoint_even_for_the_key(body: str) -> None:
    with pytest.raises(CheckpointRefused):
        verify(resigned(body), KEY)


@pytest.mark.parametrize(
    "note",
    [
        "",
        BODY + "\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE + NOTE,
        BODY + "\n\n",
        BODY + "\n\n" + SIGNATURE + SIGNATURE,
        BODY + "\n\n" + SIGNATURE.replace("\u2014", "-"),
        BODY + "\n\n" + SIGNATURE.replace("\n", " \n"),
        NOTE.replace("\n", "\r\n"),
        "\ufeff" + NOTE,
        BODY + "\n\n" + (SIGNATURE * 40),
        "x" * (MAX_NOTE_BYTES + 1),
        resigned(BODY + "\n").replace("\u2014 sealward.invalid/log ", "\u2014 other.invalid/log "),
    ],
    ids=range(14),
)
def test_a_note_that_is_not_one_is_refused(note: str) -> None:
    with pytest.raises(CheckpointRefused):
        verify(note, KEY)


def test_every_changed_character_is_refused() -> None:
    for position, character in enumerate(NOTE):
        for other in {chr(ord(character) ^ 1), "\n", "A"} - {character}:
            changed = NOTE[:position] + other + NOTE[position + 1 :]
            with pytest.raises(CheckpointRefused):
                verify(changed, KEY)


def test_another_key_of_the_same_name_is_refused() -> None:
    other = LogKey(KEY.name, Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    with pytest.raises(CheckpointRefused):
        verify(NOTE, other)


@given(st.text())
@example("\n\n\n")
@example("a\n\n\u2014 a AAAA\n")
def test_verifying_is_total(text: str) -> None:
    with pytest.raises(CheckpointRefused):
        verify(text, KEY)


@given(st.integers(0, len(NOTE)), st.integers(0, len(NOTE)), st.text(max_size=5))
def test_verifying_a_mutated_note_is_total(start: int, end: int, middle: str) -> None:
    mutated = NOTE[:start] + middle + NOTE[end:]
    if mutated != NOTE:
        with pytest.raises(CheckpointRefused):
            verify(mutated, KEY)


def test_a_log_key_has_one_text() -> None:
    text = KEY.text()
    assert read_log_key(text) == KEY == read_log_key(text + "\n")
    for position in range(len(text)):
        changed = text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :]
        with pytest.raises(CheckpointRefused):
            read_log_key(changed)


@given(st.text())
@example("a+b+c")
@example("+" * 600)
def test_reading_a_log_key_is_total(text: str) -> None:
    with pytest.raises(CheckpointRefused):
        read_log_key(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "\u00e4", "a" * 300, "a\x7f"])
def test_a_name_that_a_note_cannot_carry_is_refused(name: str) -> None:
    with pytest.raises(CheckpointRefused):
        LogKey(name, KEY.public)


def test_only_the_named_log_is_signed_for() -> None:
    with pytest.raises(ValueError, match="origin"):
        sign(Checkpoint("other/log", 1, bytes(32)), KEY, PRIVATE.sign)
