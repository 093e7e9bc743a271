"""Nothing but the documented errors escapes the NVIDIA parsers, whatever the bytes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes import nvidia_devices as lab
from hypothesis import given, settings
from hypothesis import strategies as st

from sealward.verifier.formats.nvidia_gpu import chain, evidence, fwid, manifest, report
from sealward.verifier.pki import certificate, ocsp
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.errors import VerifierError
from sealward.verifier.wire import xml

LEAF = certificate.parse(lab.device("GH100", 0).path[0])
SUBJECT, ISSUER = (certificate.parse(item) for item in lab.gpu_authority("GH100").path[:2])


def _answer() -> bytes:
    authority = lab.gpu_authority("GH100")
    return lab.answer(authority.path[0], authority.path[1], authority.keys[1])


def _fwid(data: bytes) -> object:
    return fwid._composite(data), fwid._tcb_info(data)  # noqa: SLF001 - both forms


PARSERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "report": (report.parse, lab.gpu_report()),
    "manifest": (manifest.parse, lab.driver_rim()),
    "xml": (lambda data: xml.canonical(xml.parse(data, what="x", max_bytes=65536)), b'<a b="1"/>'),
    "payload": (
        evidence.parse,
        evidence.encode(evidence.Evidence(lab.gpu_report(), lab.gpu_chain())),
    ),
    "chain": (
        lambda data: chain.endorse(data, anchors=lab.anchors(), now=lab.NOW, cache=ChainCache()),
        lab.gpu_chain(),
    ),
    "firmware": (_fwid, next(e.value for e in LEAF.extensions if e.oid == fwid.OID_COMPOSITE)),
    "ocsp": (
        lambda data: ocsp.verify(data, SUBJECT, ISSUER, rules=chain.CHAIN_RULES),
        _answer(),
    ),
}


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with a few changed, cut out, or put in."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.integers(0, 8))
        data[at : at + size] = draw(st.binary(max_size=8))
    return bytes(data)


@pytest.mark.parametrize("name", PARSERS)
def test_mutations_raise_only_what_is_documented(name: str) -> None:
    parse, good = PARSERS[name]

    @settings(max_examples=300, deadline=None)
    @given(mutated(good))
    def run(data: bytes) -> None:
        try:
            parse(data)
        except VerifierError:
            return

    run()


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_raise_only_what_is_documented(name: str, data: bytes) -> None:
    try:
        PARSERS[name][0](data)
    except VerifierError:
        return


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='<>/="ab: x\n', max_size=60))
def test_what_the_xml_reader_takes_it_reads_again_from_its_own_canonical_form(text: str) -> None:
    try:
        first = xml.canonical(xml.parse(text.encode(), what="x", max_bytes=100))
    except VerifierError:
        return
    assert xml.canonical(xml.parse(first, what="x", max_bytes=1000)) == first
