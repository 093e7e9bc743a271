"""CSV reports, certificates, payloads: parsers are total, and nothing changed is accepted."""

from __future__ import annotations

from datetime import UTC, datetime

from fakes import hygon_machines
from hypothesis import example, given
from hypothesis import strategies as st

from sealward.verifier import registry
from sealward.verifier.formats.hygon_csv import certificate, evidence, report, verify
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.errors import MalformedEvidence, VerifierError

MACHINE = hygon_machines.standard
PARSERS = (report.parse, certificate.parse_ca, certificate.parse_csv, evidence.parse)
NOW = datetime(2026, 11, 23, tzinfo=UTC)

changes = st.lists(
    st.tuples(st.integers(0, 6400), st.integers(1, 255)),
    min_size=1,
    max_size=4,
    unique_by=lambda c: c[0],
)


def damaged(data: bytes, spots: list[tuple[int, int]], *, cut: int = 0) -> bytes:
    found = bytearray(data)
    for at, value in spots:
        found[at % len(found)] ^= value
    return bytes(found[: len(found) - cut])


def seeds() -> tuple[bytes, ...]:
    return (*MACHINE().files(), MACHINE().payload())


@given(which=st.integers(0, 4), spots=changes, cut=st.sampled_from([0, 0, 0, 1, 700]))
def test_parsers_return_or_raise_their_one_error(
    which: int, spots: list[tuple[int, int]], cut: int
) -> None:
    data = damaged(seeds()[which], spots, cut=cut)
    for parse in PARSERS:
        try:
            parse(data)
        except MalformedEvidence:
            continue


@given(st.binary(max_size=3000))
def test_arbitrary_bytes_are_no_report_and_no_certificate(data: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(data)
        except MalformedEvidence:
            continue


@example(spots=[(188, 1)])
@example(spots=[(2419, 128)])
@given(spots=changes)
def test_no_damaged_report_is_authenticated(spots: list[tuple[int, int]]) -> None:
    machine = MACHINE()
    data = damaged(machine.report(), spots)
    try:
        verify.authenticate(
            data, machine.endorsements(), anchors=machine.anchors(), cache=ChainCache()
        )
    except VerifierError:
        return
    assert data == machine.report()  # two changes of one byte may undo each other


@given(which=st.integers(0, 3), spots=changes)
def test_damaged_files_are_recognised_or_refused(which: int, spots: list[tuple[int, int]]) -> None:
    try:
        items = registry.recognise(damaged(MACHINE().files()[which], spots))
        context = registry.Context(MACHINE().anchors(), NOW, ChainCache())
        registry.authenticate_items(items, context)
    except VerifierError:
        return
