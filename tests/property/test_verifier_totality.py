"""Whatever arrives, a parser of the verifier returns a value or its one documented error.

And what it returns encodes to what arrived, so that nothing has two readings or two spellings. Fed
with minted evidence always, and with the real vectors where they are.
"""

from __future__ import annotations

import json as stdlib_json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from fakes import snp_fixtures, snp_vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from property import strategies

from sealward.verifier import registry
from sealward.verifier.formats.snp import evidence, ghcb, report, vek
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.formats.snp.verify import authenticate
from sealward.verifier.pki import certificate
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import base64, cbor, cose, json, pem

# `make soak` sets more. No database: minted keys differ from run to run, and so do the examples.
EXAMPLES = settings(
    max_examples=int(os.environ.get("SEALWARD_EXAMPLES", "60")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@cache
def minted() -> tuple[snp_fixtures.Minted, ...]:
    chips = (snp_fixtures.platform(), snp_fixtures.provider_platform())
    return tuple(
        snp_fixtures.mint(chip, version=version) for chip in chips for version in (2, 3, 4, 5)
    )


def _armour(data: bytes) -> bytes:
    text = base64.encode(data)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    blocks = ["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""]
    return "\n".join(blocks).encode()


def _table(chain: tuple[bytes, ...]) -> bytes:
    offset, entries = 24 * 4, []
    for guid, data in zip((ghcb.ARK, ghcb.ASK, ghcb.VCEK), reversed(chain), strict=True):
        entries.append(ghcb.Entry(guid, offset, data))
        offset += len(data) + 3  # a gap, zero
    return ghcb.encode(ghcb.Table(offset, tuple(entries)))


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> dict[str, tuple[bytes, ...]]:
    """Valid bytes of every format, by name."""
    found: dict[str, list[bytes]] = {
        "report": [item.report for item in minted()],
        "certificate": sorted({part for item in minted() for part in item.certificates}),
        "table": [_table(minted()[0].certificates)],
        "payload": [
            *(
                evidence.encode(evidence.Evidence(item.report, item.certificates))
                for item in minted()
            ),
            evidence.encode(
                evidence.Evidence(minted()[0].report, (), _table(minted()[0].certificates))
            ),
        ],
    }
    folder: Path | None = None
    with suppress(pytest.skip.Exception):  # minted evidence alone, unless CI requires the parts
        folder = request.getfixturevalue("vectors_dir")
    for vector in snp_vectors.load(folder) if folder else ():
        chain = vector.endorsements
        found["report"].append(vector.report)
        found["certificate"] += [chain.vek, chain.intermediate, chain.root]
        if vector.auxblob is not None:
            found["table"].append(vector.auxblob)
    found["envelope"] = [
        envelopes.encode(envelopes.Record(envelopes.SNP_EVIDENCE, payload))
        for payload in found["payload"]
    ]
    found["pem"] = [_armour(data) for data in found["certificate"]]
    return {name: tuple(values) for name, values in found.items()}


def total(parse: Callable[[bytes], bytes], data: bytes) -> bool:
    """Run `parse`, which re-encodes what it read; say whether it was read."""
    try:
        again = parse(data)
    except MalformedEvidence:
        return False
    assert again == data
    return True


def _vek(data: bytes) -> bytes:
    parsed = certificate.parse(data)
    vek.parse(parsed)
    return parsed.der


PARSERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "report": ("report", lambda data: report.encode(report.parse(data))),
    "certificate": ("certificate", lambda data: _der_again(certificate.parse(data).der)),
    "vek": ("certificate", _vek),
    "table": ("table", lambda data: ghcb.encode(ghcb.parse(data))),
    "payload": ("payload", lambda data: evidence.encode(evidence.parse(data))),
    "envelope": ("envelope", lambda data: envelopes.encode(envelopes.decode(data))),
}


def _der_again(data: bytes) -> bytes:
    """Re-encode DER from its elements; lengths that were not minimal would come out shorter."""
    out, at = b"", 0
    while at < len(data):
        tag, first = data[at], data[at + 1]
        count = first & 0x7F if first & 0x80 else 0
        start = at + 2 + count
        size = int.from_bytes(data[at + 2 : start], "big") if count else first
        content = data[start : start + size]
        inside = _der_again(content) if tag & 0x20 else content
        octets = len(inside).to_bytes((len(inside).bit_length() + 7) // 8, "big")
        head = (
            bytes((len(inside),)) if len(inside) < 0x80 else bytes((0x80 | len(octets),)) + octets
        )
        out += bytes((tag,)) + head + inside
        at = start + size
    return out


@pytest.mark.parametrize("name", PARSERS)
def test_the_seeds_themselves_are_read(name: str, corpus: dict[str, tuple[bytes, ...]]) -> None:
    seeds, parse = PARSERS[name]
    read = [total(parse, seed) for seed in corpus[seeds]]
    assert any(read) if name == "vek" else all(read)


@pytest.mark.parametrize("name", PARSERS)
@EXAMPLES
@given(data=st.data())
def test_parsing_is_total_and_not_malleable(
    name: str, corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    seeds, parse = PARSERS[name]
    total(parse, data.draw(strategies.hostile(corpus[seeds])))


@EXAMPLES
@given(data=st.data())
def test_cbor_is_total_and_not_malleable(
    corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    drawn = data.draw(strategies.hostile(corpus["envelope"], max_size=64))
    total(lambda raw: cbor.encode(cbor.decode(raw, what="x", max_bytes=1 << 16)), drawn)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.binary(max_size=300)
    | st.text(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.integers(-300, 300) | st.text(max_size=5) | st.binary(max_size=5), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@EXAMPLES
@given(value=_VALUES)
def test_every_cbor_value_comes_back(value: cbor.Value) -> None:
    encoded = cbor.encode(value)
    assert cbor.decode(encoded, what="x", max_bytes=1 << 20, max_depth=30) == value
    for end in range(0, len(encoded), max(1, len(encoded) // 8)):
        with pytest.raises(MalformedEvidence):
            cbor.decode(encoded[:end], what="x", max_bytes=1 << 20, max_depth=30)


@EXAMPLES
@given(data=st.data())
def test_cose_is_total_and_not_malleable(data: DataObject) -> None:
    seeds = tuple(
        cose.sign1(payload, alg=-8, kid=b"key", sign=lambda tbs: tbs[-64:])
        for payload in (b"", b"terms", bytes(300))
    )

    def again(raw: bytes) -> bytes:
        parsed = cose.parse_sign1(raw, what="x", max_bytes=4096)
        return cose.sign1(
            parsed.payload, alg=parsed.alg, kid=parsed.kid, sign=lambda _: parsed.signature
        )

    total(again, data.draw(strategies.hostile(seeds)))


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner)
    ),
    max_leaves=20,
)


@EXAMPLES
@given(value=_JSON)
def test_canonical_json_is_read_back_and_is_the_same_again(value: json.Value) -> None:
    encoded = json.canonical(value)  # type: ignore[arg-type]  # no floats are drawn
    assert json.decode(encoded, what="x", max_bytes=1 << 20) == value
    assert stdlib_json.JSONDecoder().decode(encoded.decode()) == value


@EXAMPLES
@given(data=st.data())
def test_json_is_total(data: DataObject) -> None:
    seeds = (
        b'{"a": [1, -2.5e3, "\\u00e9\\ud83d\\ude00", null, true], "b": {"c": {}}}',
        b'[[[[]]], {"": "\\\\\\"]"}]',
        b"18446744073709551615",
    )
    raw = data.draw(strategies.hostile(seeds, max_size=64))
    for given_as in (raw, raw.decode("latin-1")):
        try:
            value = json.decode(given_as, what="x", max_bytes=256, max_depth=4)
        except MalformedEvidence:
            continue
        assert stdlib_json.dumps(value, allow_nan=False).encode()


@EXAMPLES
@given(raw=st.binary(max_size=100), noise=st.text(max_size=12))
def test_base64_is_total_and_not_malleable(raw: bytes, noise: str) -> None:
    pairs = ((base64.encode, base64.decode), (base64.encode_url, base64.decode_url))
    for encode, decode in pairs:
        assert decode(encode(raw), what="x", max_bytes=100) == raw
        for text in (noise, encode(raw) + noise):
            try:
                value = decode(text, what="x", max_bytes=200)
            except MalformedEvidence:
                continue
            assert encode(value) == text


@EXAMPLES
@given(data=st.data())
def test_pem_is_total(corpus: dict[str, tuple[bytes, ...]], data: DataObject) -> None:
    drawn = data.draw(strategies.hostile(corpus["pem"]))
    try:
        blocks = pem.decode(drawn, what="x", max_bytes=1 << 16)
    except MalformedEvidence:
        return
    assert blocks


@EXAMPLES
@given(data=st.data())
def test_recognising_a_file_raises_nothing_but_the_documented_errors(
    corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    seeds = tuple(seed for name in corpus for seed in corpus[name])
    try:
        items = registry.recognise(data.draw(strategies.hostile(seeds)))
    except (MalformedEvidence, RefusedEvidence):
        return
    assert all(item.data for item in items)


@EXAMPLES
@given(data=st.data())
def test_authentication_raises_nothing_but_the_documented_errors(
    corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    """Any mix of damaged parts is refused; only what was minted, whole, is accepted."""
    whole = data.draw(st.sampled_from(minted()))
    parts = [whole.report, *whole.certificates]
    at = data.draw(st.integers(0, 3))
    seeds = corpus["report"] if at == 0 else corpus["certificate"]
    parts[at] = data.draw(strategies.hostile((parts[at], *seeds)))
    root = import_root(whole.root, now=snp_fixtures.NOW)
    try:
        authenticate(
            parts[0],
            Endorsements(*parts[1:]),
            anchors=TrustAnchors(development_roots=(root,)),
            now=snp_fixtures.NOW,
            cache=ChainCache(),
        )
    except (MalformedEvidence, RefusedEvidence):
        return
    assert parts[1:] == list(whole.certificates)
    assert parts[0] in [item.report for item in minted()]


@EXAMPLES
@given(data=st.data())
def test_an_envelope_raises_nothing_but_the_documented_errors(
    corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    root = import_root(minted()[0].root, now=snp_fixtures.NOW)
    context = registry.Context(
        TrustAnchors(development_roots=(root,)), snp_fixtures.NOW, ChainCache()
    )
    drawn = data.draw(strategies.hostile(corpus["envelope"]))
    try:
        registry.authenticate(drawn, context)
    except (MalformedEvidence, RefusedEvidence):
        return
    assert drawn in corpus["envelope"]
