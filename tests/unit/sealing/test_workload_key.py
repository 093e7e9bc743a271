"""Workload public key files."""

from __future__ import annotations

import pytest
from fakes.sealed_models import Owner

from sealward.sealing import hpke
from sealward.sealing.errors import Code, MalformedSealedModel
from sealward.sealing.workload_key import WorkloadKey
from sealward.verifier.wire import base64, json


@pytest.mark.parametrize("suite", list(hpke.Suite))
def test_a_file_gives_the_same_key_back(suite: hpke.Suite):
    """With a final newline and with indentation too: people open this file."""
    key = Owner.from_seed("file", suite).workload
    assert WorkloadKey.parse(key.encode()) == key
    assert WorkloadKey.parse(key.encode().replace(b",", b",\n  ") + b"\n") == key


def test_anything_but_a_key_file_is_malformed(owner: Owner):
    encoded = owner.workload.encode()
    value = json.decode(encoded, what="key", max_bytes=8192)
    assert isinstance(value, dict)
    public = owner.workload.public.encoded
    edited = [
        {**value, "v": 0},
        {**value, "tenant": "A"},
        {**value, "tenant": ""},
        {**value, "workload": "../x"},
        {**value, "workload": "a" * 64},
        {**value, "key_id": value["key_id"].upper() if isinstance(value["key_id"], str) else ""},
        {**value, "key_id": "00" * 32},
        {**value, "suite": "x25519"},
        {**value, "suite": "rot13"},
        {**value, "public_key": base64.encode(public[:-1])},
        {**value, "public_key": base64.encode(public[:-1] + bytes([public[-1] ^ 1]))},
        {**value, "public_key": base64.encode(public) + "\n"},
        {**value, "more": None},
        {k: v for k, v in value.items() if k != "tenant"},
        [],
    ]
    for data in [json.canonical(item) for item in edited] + [b"", encoded[:-1], encoded + b"{}"]:
        with pytest.raises(MalformedSealedModel) as refusal:
            WorkloadKey.parse(data)
        assert refusal.value.code is Code.MALFORMED_KEY, data
