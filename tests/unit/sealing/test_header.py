"""The header has one encoding, and what breaks a rule of the specification is refused by name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
from fakes.sealed_models import CREATED, Owner

from sealward.sealing.container import SealedModel
from sealward.sealing.core import Core
from sealward.sealing.errors import Code, MalformedSealedModel
from sealward.sealing.header import (
    MAGIC,
    MAX_DIGEST_LIST_BYTES,
    MAX_HEADER_BYTES,
    MAX_WRAPS,
    PREFIX_BYTES,
    Prefix,
    SealedHeader,
)
from sealward.sealing.source import BytesSource
from sealward.verifier.wire import base64, json

Json = dict[str, json.Canonical]


def registration(sealed: bytes) -> bytes:
    return SealedModel.open(BytesSource(sealed)).registration()


def taken_apart(sealed: bytes) -> tuple[Json, bytes]:
    """Return the header's JSON value and the digest list."""
    data = registration(sealed)
    prefix = Prefix.parse(data[:PREFIX_BYTES])
    end = PREFIX_BYTES + prefix.header_bytes
    value = json.decode(data[PREFIX_BYTES:end], what="header", max_bytes=MAX_HEADER_BYTES)
    assert isinstance(value, dict)
    return value, data[end:]  # type: ignore[return-value] # it was canonical, so no floats


def put_together(header: bytes, digest_list: bytes) -> bytes:
    return Prefix(len(header), len(digest_list)).encode() + header + digest_list


def refusal(data: bytes) -> Code:
    with pytest.raises(MalformedSealedModel) as error:
        SealedHeader.parse(data)
    return error.value.code


def test_a_header_re_encodes_to_itself(sealed: bytes):
    data = registration(sealed)
    assert SealedHeader.parse(data).encode() == data


def test_the_core_survives_json(sealed: bytes):
    core = SealedHeader.parse(registration(sealed)).core
    core = replace(core, external_digest=bytes(32), optimised_by="onnxruntime 1.32.0 extended")
    value = json.decode(core.encode(), what="core", max_bytes=4096)
    assert Core.from_json(value) == core
    assert core.digest() == hashlib.sha256(core.encode()).digest()


def test_core_and_header_digest_cover_what_they_say(sealed: bytes):
    """The core digest moves with the core only; the header digest with all that is signed."""
    header = SealedHeader.parse(registration(sealed))
    other_list = replace(header, digest_list=bytes(len(header.digest_list)))
    other_core = replace(header, core=replace(header.core, version=2))
    other_commit = replace(header, commitment=bytes(32))
    no_wraps = replace(header, wraps=())
    assert other_list.core_digest == header.core_digest != other_core.core_digest
    digests = {h.header_digest for h in (header, other_list, other_core, other_commit)}
    assert len(digests) == 4
    assert no_wraps.header_digest == header.header_digest


CORE_EDITS: dict[str, json.Canonical] = {
    "v": 1,
    "tenant": "Acme",
    "workload": "a/b",
    "model": "",
    "version": 0,
    "format": "onnx",
    "parts": [],
    "total": 1,
    "segment_size": 4097,
    "content_key_id": "00",
    "plain_digest": "AA" * 32,
    "external_digest": "",
    "optimised_by": "two\nlines",
    "creator_key_id": None,
    "created": "2026-13-01T00:00:00Z",
    "digest_alg": "sha512",
}


def test_the_edits_below_cover_every_field(sealed: bytes):
    core = taken_apart(sealed)[0]["core"]
    assert isinstance(core, dict)
    assert core.keys() == CORE_EDITS.keys()


@pytest.mark.parametrize("name", sorted(CORE_EDITS))
def test_each_core_field_is_checked(sealed: bytes, name: str):
    value, digest_list = taken_apart(sealed)
    core = value["core"]
    assert isinstance(core, dict)
    for edited in (
        {**core, name: CORE_EDITS[name]},
        {**core, name: {"x": 1}},
        {**core, name: True},
        {key: item for key, item in core.items() if key != name},
        {**core, "other": 1},
    ):
        data = put_together(json.canonical({**value, "core": edited}), digest_list)
        assert refusal(data) is Code.MALFORMED_HEADER


@pytest.mark.parametrize(
    "layout",
    [
        [("weights", 0, 5000), ("skeleton", 5000, 300), ("tensors", 5300, 4000)],
        [("weights", 0, 5000), ("tensors", 5001, 300), ("skeleton", 5301, 3999)],
        [("weights", 0, 5000), ("tensors", 4999, 301), ("skeleton", 5300, 4000)],
        [("weights", 1, 4999), ("tensors", 5000, 300), ("skeleton", 5300, 4000)],
        [("weights", 0, 5000), ("tensors", 5000, 300), ("skeleton", 5300, 3999)],
        [("weights", 0, 5300), ("tensors", 5300, 0), ("skeleton", 5300, 4000)],
        [("weights", 0, 5000), ("tensors", 5000, 4300)],
        [("model", 0, 9300)],
        [("weights", 0, 1 << 41), ("tensors", 1 << 41, 300), ("skeleton", (1 << 41) + 300, 1)],
    ],
    ids=["order", "gap", "overlap", "start", "short", "empty", "missing", "foreign", "huge"],
)
def test_parts_have_one_layout(sealed: bytes, layout: list[tuple[str, int, int]]):
    value, digest_list = taken_apart(sealed)
    core = value["core"]
    assert isinstance(core, dict)
    listed = [{"name": name, "offset": at, "length": size} for name, at, size in layout]
    edited = {**value, "core": {**core, "parts": listed}}
    assert refusal(put_together(json.canonical(edited), digest_list)) is Code.MALFORMED_HEADER


def _signature_edits(value: Json) -> list[Json]:
    sigs = value["sigs"]
    assert isinstance(sigs, dict)
    return [
        {**value, "sigs": edited}
        for edited in (
            {"ed25519": sigs["ed25519"]},
            {"ml-dsa-65": sigs["ml-dsa-65"]},
            {**sigs, "ed25519": base64.encode(bytes(63))},
            {**sigs, "ed25519": base64.encode(bytes(65))},
            {**sigs, "ml-dsa-65": base64.encode(bytes(3308))},
            {**sigs, "ml-dsa-65": "!"},
            {**sigs, "rsa": ""},
            [],
        )
    ]


def _wrap_edits(value: Json) -> list[tuple[Json, Code]]:
    wraps = value["wraps"]
    assert isinstance(wraps, list)
    wrap = wraps[0]
    assert isinstance(wrap, dict)
    low, high = {**wrap, "kid": "00" * 32}, {**wrap, "kid": "ff" * 32}
    crowd = [{**wrap, "kid": f"{number:064x}"} for number in range(MAX_WRAPS + 1)]
    edits: list[tuple[json.Canonical, Code]] = [
        ([], Code.MALFORMED_HEADER),
        ([wrap, wrap], Code.MALFORMED_HEADER),
        ([high, low], Code.MALFORMED_HEADER),
        (crowd, Code.MALFORMED_HEADER),
        (wrap, Code.MALFORMED_HEADER),
        ([{**wrap, "kid": "00"}], Code.MALFORMED_WRAP),
        ([{**wrap, "alg": "rot13"}], Code.MALFORMED_WRAP),
        ([{**wrap, "alg": "x25519"}], Code.MALFORMED_WRAP),
        ([{**wrap, "ct": base64.encode(bytes(1167))}], Code.MALFORMED_WRAP),
        ([{**wrap, "ct": 0}], Code.MALFORMED_WRAP),
        ([{**wrap, "more": 0}], Code.MALFORMED_WRAP),
        ([None], Code.MALFORMED_WRAP),
    ]
    return [({**value, "wraps": edited}, code) for edited, code in edits]


def test_signatures_and_wraps_are_checked(sealed: bytes):
    value, digest_list = taken_apart(sealed)
    edits = [(edited, Code.MALFORMED_HEADER) for edited in _signature_edits(value)]
    edits += _wrap_edits(value)
    edits += [
        ({**value, "commit": "00"}, Code.MALFORMED_HEADER),
        ({**value, "digests": "00" * 32}, Code.DIGEST_LIST_MISMATCH),
        ({**value, "unknown": 1}, Code.MALFORMED_HEADER),
        ({key: item for key, item in value.items() if key != "commit"}, Code.MALFORMED_HEADER),
    ]
    for edited, code in edits:
        assert refusal(put_together(json.canonical(edited), digest_list)) is code


def test_the_digest_list_has_one_entry_for_each_segment_and_the_floe_header(sealed: bytes):
    """A list that is consistent with its digest, but one entry short or long, is refused too."""
    value, digest_list = taken_apart(sealed)
    for edited in (digest_list[:-32], digest_list + bytes(32), b"", digest_list[:-1]):
        renamed = {**value, "digests": hashlib.sha256(edited).hexdigest()}
        data = put_together(json.canonical(renamed), edited)
        assert refusal(data) is Code.DIGEST_LIST_MISMATCH


def test_json_that_is_not_canonical_is_refused(sealed: bytes):
    value, digest_list = taken_apart(sealed)
    canonical = json.canonical(value)
    for header, code in (
        (canonical + b" ", Code.NOT_CANONICAL),
        (canonical.replace(b'"acme"', b'"\\u0061cme"'), Code.NOT_CANONICAL),
        (canonical.replace(b'"version":1', b'"version":1.0'), Code.NOT_CANONICAL),
        (canonical.replace(b'"version":1', b'"version":9007199254740993'), Code.NOT_CANONICAL),
        (canonical.replace(b'"version":1', b'"version":1,"version":1'), Code.MALFORMED_HEADER),
        (canonical[:-1], Code.MALFORMED_HEADER),
        (b"", Code.MALFORMED_HEADER),
        (b"null", Code.MALFORMED_HEADER),
        (b"\xff", Code.MALFORMED_HEADER),
    ):
        assert header != canonical
        assert refusal(put_together(header, digest_list)) is code, header[:60]


def test_the_prefix_is_checked_before_anything_is_read(sealed: bytes):
    data = registration(sealed)
    after = data[PREFIX_BYTES:]
    huge_header = Prefix(MAX_HEADER_BYTES + 1, 32).encode()
    huge_list = Prefix(100, MAX_DIGEST_LIST_BYTES + 1).encode()
    for prefix, code in (
        (b"SLWDMDM\x00" + data[8:PREFIX_BYTES], Code.NOT_A_SEALED_MODEL),
        (MAGIC + b"\x00\x00\x00\x01" + data[12:PREFIX_BYTES], Code.UNSUPPORTED_VERSION),
        (huge_header, Code.OVER_BUDGET),
        (huge_list, Code.OVER_BUDGET),
    ):
        assert refusal(prefix + after) is code
    assert refusal(data + b"\x00") is Code.TRAILING_BYTES
    for length in range(0, len(data), 97):
        assert refusal(data[:length]) is Code.TRUNCATED


def test_more_segments_than_the_budget_are_refused(sealed: bytes):
    """Decided from the header alone, whatever the digest list's length."""
    value, digest_list = taken_apart(sealed)
    core = value["core"]
    assert isinstance(core, dict)
    size = (4096 - 32) * ((1 << 17) + 1)
    listed = [
        {"name": "weights", "offset": 0, "length": size},
        {"name": "tensors", "offset": size, "length": 1},
        {"name": "skeleton", "offset": size + 1, "length": 1},
    ]
    edited = {**value, "core": {**core, "parts": listed, "total": size + 2}}
    assert refusal(put_together(json.canonical(edited), digest_list)) is Code.OVER_BUDGET


def test_wraps_are_put_in_order(owner: Owner, sealed: bytes):
    header = SealedHeader.parse(registration(sealed))
    wrap = header.wraps[0]
    low, high = replace(wrap, key_id=bytes(32)), replace(wrap, key_id=b"\xff" * 32)
    ordered = header.with_wraps((high, wrap, low))
    assert ordered.wraps == (low, wrap, high)
    assert SealedHeader.parse(ordered.encode()) == ordered
    ordered.verify_signatures(owner.creator.public)


def test_a_header_is_signed_only_by_the_creator_it_names(sealed: bytes):
    header = SealedHeader.parse(registration(sealed))
    with pytest.raises(ValueError, match="another creator"):
        header.signed_by(Owner.from_seed("stranger").creator)


def test_the_first_years_are_instants_too(sealed: bytes):
    """A year below 1000 keeps its four digits, so it re-encodes to itself."""
    header = SealedHeader.parse(registration(sealed))
    early = replace(header.core, created=CREATED - timedelta(days=365 * 2000))
    assert Core.from_json(json.decode(early.encode(), what="core", max_bytes=4096)) == early
