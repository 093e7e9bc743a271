"""Nitro documents, CCA and PSA tokens: every parser is total, and nothing changed is accepted.

Fed with minted evidence always, and with the real vectors where they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cbor2
import pytest
from fakes import arm_tokens, arm_vectors, nitro_documents, nitro_vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from property import strategies

from sealward.verifier import registry
from sealward.verifier.formats.cca import evidence as cca_evidence
from sealward.verifier.formats.cca import token as cca_token
from sealward.verifier.formats.cca import verify as cca_verify
from sealward.verifier.formats.nitro import document as nitro_document
from sealward.verifier.formats.nitro import evidence as nitro_evidence
from sealward.verifier.formats.nitro import verify as nitro_verify
from sealward.verifier.formats.psa import evidence as psa_evidence
from sealward.verifier.formats.psa import token as psa_token
from sealward.verifier.formats.psa import verify as psa_verify
from sealward.verifier.pki import instance_keys
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import cbor, foreign_cbor, foreign_cose

EXAMPLES = settings(
    max_examples=int(os.environ.get("SEALWARD_EXAMPLES", "60")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = InstanceKey(
    scheme=Scheme.PSA, secret=arm_tokens.SECRET, instance_id=arm_tokens.INSTANCE_ID
)


@cache
def minted() -> dict[str, tuple[bytes, ...]]:
    signer = arm_tokens.key("maker")
    return {
        "nitro": (nitro_documents.document(), nitro_documents.document(tag=18, nonce=bytes(32))),
        "cca": tuple(
            arm_tokens.cca(tag=tag, legacy=legacy) for tag in (399, 907) for legacy in (True, False)
        ),
        "psa": (
            arm_tokens.sign1(signer, arm_tokens.psa_claims()),
            arm_tokens.sign1(signer, arm_tokens.psa_claims_1()),
            arm_tokens.mac0(arm_tokens.SECRET, arm_tokens.psa_claims()),
        ),
    }


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> dict[str, tuple[bytes, ...]]:
    """Valid bytes of every format, by name."""
    found = {name: list(values) for name, values in minted().items()}
    folder: Path | None = None
    with suppress(pytest.skip.Exception):  # minted evidence alone, unless CI requires the parts
        folder = request.getfixturevalue("vectors_dir")
    if folder is not None:
        found["nitro"] += [one.document for one in nitro_vectors.load(folder)]
        found["cca"] += [one.token for one in arm_vectors.load(folder, Scheme.CCA)]
        found["psa"] += [one.token for one in arm_vectors.load(folder, Scheme.PSA)]
    payloads = {"nitro": nitro_evidence, "cca": cca_evidence, "psa": psa_evidence}
    for name, module in payloads.items():
        found[f"{name} payload"] = [module.encode(one) for one in found[name]]
    parsed = [nitro_document.parse(one).message for one in found["nitro"]]
    parsed += [psa_token.parse(one).message for one in found["psa"]]
    found["cbor"] = [message.payload for message in parsed]
    public = b"-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n"
    found["pem"] = [public % (b"QUJD" * 16), public % b"QUJD"]
    return {name: tuple(values) for name, values in found.items()}


def _cose(data: bytes) -> object:
    tags: frozenset[int | None] = frozenset({None, 17, 18})
    return foreign_cose.parse(data, what="x", max_bytes=1 << 14, tags=tags).to_be_signed()


PARSERS: dict[str, tuple[str, Callable[[bytes], object]]] = {
    "nitro document": ("nitro", nitro_document.parse),
    "cca token": ("cca", cca_token.parse),
    "psa token": ("psa", psa_token.parse),
    "nitro payload": ("nitro payload", nitro_evidence.parse),
    "cca payload": ("cca payload", cca_evidence.parse),
    "psa payload": ("psa payload", psa_evidence.parse),
    "cose": ("nitro", _cose),
    "cbor": ("cbor", lambda data: foreign_cbor.decode(data, what="x", max_bytes=1 << 14)),
    "tag": ("cca", lambda data: foreign_cbor.split_tag(data, what="x", max_bytes=1 << 14)),
    "public key": ("pem", instance_keys.from_pem),
}


@pytest.mark.parametrize("name", PARSERS)
def test_the_seeds_themselves_are_read(name: str, corpus: dict[str, tuple[bytes, ...]]) -> None:
    seeds, parse = PARSERS[name]
    for seed in corpus[seeds]:
        assert parse(seed)


@pytest.mark.parametrize("name", PARSERS)
@EXAMPLES
@given(data=st.data())
def test_parsing_is_total(
    name: str, corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    seeds, parse = PARSERS[name]
    with suppress(MalformedEvidence):
        parse(data.draw(strategies.hostile(corpus[seeds])))


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.binary(max_size=300)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.integers(-300, 300) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


def _indefinite(value: cbor.Value) -> bytes:
    """Encode with containers of indefinite length."""
    if isinstance(value, list):
        return b"\x9f" + b"".join(_indefinite(item) for item in value) + b"\xff"
    if isinstance(value, dict):
        entries = (cbor.encode(key) + _indefinite(item) for key, item in value.items())
        return b"\xbf" + b"".join(entries) + b"\xff"
    return cbor.encode(value)


@EXAMPLES
@given(value=_VALUES)
def test_every_value_comes_back_from_either_encoding_and_from_no_part_of_one(
    value: cbor.Value,
) -> None:
    for encoded in (cbor2.dumps(value), _indefinite(value)):
        again = foreign_cbor.decode(encoded, what="x", max_bytes=1 << 20, max_depth=30)
        assert again == value
        for end in range(0, len(encoded), max(1, len(encoded) // 8)):
            with pytest.raises(MalformedEvidence):
                foreign_cbor.decode(encoded[:end], what="x", max_bytes=1 << 20, max_depth=30)


@EXAMPLES
@given(data=st.data())
def test_what_both_readers_take_they_read_alike(
    corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    """The deterministic subset is read the same by the reader of our own formats."""
    seeds = (*corpus["nitro payload"], cbor.encode({1: [b"x", {"a": None}], 24: -300}))
    drawn = data.draw(strategies.hostile(seeds, max_size=64))
    with suppress(MalformedEvidence):
        ours = cbor.decode(drawn, what="x", max_bytes=1 << 14, max_depth=6)
        with suppress(MalformedEvidence):  # byte strings as keys are in our subset alone
            assert foreign_cbor.decode(drawn, what="x", max_bytes=1 << 14) == ours


def _nitro(data: bytes) -> object:
    anchors = nitro_documents.standard().anchors()
    return nitro_verify.authenticate(
        data, anchors=anchors, now=nitro_documents.NOW, cache=ChainCache()
    )


def _cca(data: bytes) -> object:
    keys = (arm_tokens.anchor(Scheme.CCA),)
    return cca_verify.authenticate(data, keys=keys, cache=ChainCache())


def _psa(data: bytes) -> object:
    key = SECRET if data[:1] == b"\xd1" else arm_tokens.anchor(Scheme.PSA)
    return psa_verify.authenticate(data, keys=(key,), cache=ChainCache())


AUTHENTICATE = {"nitro": _nitro, "cca": _cca, "psa": _psa}


@pytest.mark.parametrize("name", AUTHENTICATE)
@EXAMPLES
@given(data=st.data())
def test_only_what_was_signed_whole_is_accepted(name: str, data: DataObject) -> None:
    drawn = data.draw(strategies.hostile(minted()[name]))
    try:
        AUTHENTICATE[name](drawn)
    except (MalformedEvidence, RefusedEvidence):
        return
    assert drawn in minted()[name] or _same_signed(name, drawn)


def _same_signed(name: str, drawn: bytes) -> bool:
    """Whether all that was signed is what was minted.

    A document may lose its tag, which AWS leaves out; and a splice of two tokens of one platform
    may be whole again, with a part of each.
    """
    if name == "nitro":
        return _signed(drawn) in [_signed(one) for one in minted()["nitro"]]
    if name == "psa":
        return False
    parsed = cca_token.parse(drawn)
    known = [cca_token.parse(one) for one in minted()["cca"]]
    return any(parsed.platform_bytes == one.platform_bytes for one in known) and any(
        parsed.realm_message == one.realm_message for one in known
    )


def _signed(data: bytes) -> tuple[bytes, bytes, bytes]:
    message = nitro_document.parse(data).message
    return message.protected, message.payload, message.authenticator


@pytest.mark.parametrize("name", AUTHENTICATE)
@EXAMPLES
@given(data=st.data())
def test_files_raise_nothing_but_the_documented_errors(
    name: str, corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    drawn = data.draw(strategies.hostile((*corpus[name], *corpus["pem"])))
    context = registry.Context(nitro_documents.standard().anchors(), NOW, ChainCache())
    with suppress(MalformedEvidence, RefusedEvidence):
        registry.authenticate_items(registry.recognise(drawn), context)
