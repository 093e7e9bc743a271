"""PEM armour is read strictly; what is inside is somebody else's business."""

from __future__ import annotations

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64, pem

BEGIN, END = "-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"


def armour(data: bytes) -> str:
    text = base64.encode(data)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return BEGIN + "\n".join(lines) + "\n" + END


def read(text: str) -> tuple[bytes, ...]:
    return pem.decode(text.encode("latin-1"), what="file", max_bytes=10_000)


def test_blocks_come_out_in_their_order() -> None:
    first, second = bytes(range(200)), b"x"
    assert read(armour(first) + "\n\n" + armour(second)) == (first, second)
    assert read((armour(first) + armour(second)).replace("\n", "\r\n")) == (first, second)
    assert read(armour(first).rstrip("\n")) == (first,)
    assert pem.looks_like(armour(first).encode())
    assert not pem.looks_like(b"0\x82")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "text\n" + armour(b"x"),
        armour(b"x") + "text\n",
        BEGIN,
        BEGIN + "eA==\n",
        BEGIN + END,
        BEGIN + "\n" + END,
        BEGIN + "eA\n==\n" + END,
        BEGIN + "eB==\n" + END,
        BEGIN + "A" * 68 + "\n" + END,
        BEGIN + "A" * 60 + "\n" + "AAAA\n" + END,
        BEGIN + " eA==\n" + END,
        armour(b"x").replace("CERTIFICATE", "PUBLIC KEY"),
        armour(b"x") + "é",
        armour(b"x") * (pem.MAX_BLOCKS + 1),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MalformedEvidence):
        read(text)


def test_the_budget_is_that_of_the_text() -> None:
    with pytest.raises(MalformedEvidence, match="at most 10"):
        pem.decode(armour(b"x").encode(), what="file", max_bytes=10)
