"""Strict base64: one text per value, in both alphabets."""

from __future__ import annotations

import pytest

from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire import base64

# RFC 4648 section 10, and a value that tells the alphabets apart.
EXAMPLES = [
    (b"", "", ""),
    (b"f", "Zg==", "Zg"),
    (b"fo", "Zm8=", "Zm8"),
    (b"foo", "Zm9v", "Zm9v"),
    (b"foob", "Zm9vYg==", "Zm9vYg"),
    (b"\xfb\xff\xfe", "+//+", "-__-"),
]


@pytest.mark.parametrize(("data", "standard", "url"), EXAMPLES)
def test_the_examples_of_the_rfc(data: bytes, standard: str, url: str) -> None:
    assert base64.encode(data) == standard
    assert base64.encode_url(data) == url
    assert base64.decode(standard, what="x", max_bytes=8) == data
    assert base64.decode_url(url, what="x", max_bytes=8) == data


@pytest.mark.parametrize(
    "text",
    [
        "Zg",
        "Zg=",
        "Zg===",
        "Zh==",
        "Z",
        "=",
        "Zm9v\n",
        " Zm9v",
        "Zm 9v",
        "-_-_",
        "é===",
        "Zg==Zg==",
    ],
)
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(MalformedEvidence):
        base64.decode(text, what="x", max_bytes=64)


@pytest.mark.parametrize("text", ["Zg==", "Zh", "Z", "Zm9v\n", "+//+", "Zm 9v", "é", "=", "Zg=a"])
def test_another_spelling_is_refused_for_urls(text: str) -> None:
    with pytest.raises(MalformedEvidence):
        base64.decode_url(text, what="x", max_bytes=64)


@pytest.mark.parametrize("read", [base64.decode, base64.decode_url])
def test_the_budget_is_checked_before_decoding(read: object) -> None:
    assert callable(read)
    with pytest.raises(MalformedEvidence, match="more than 3 bytes"):
        read("Zm9vYmFy", what="x", max_bytes=3)
