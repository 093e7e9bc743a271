"""Files from anywhere: the inspector and the archive reader raise their one error or answer."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from fakes import collateral_files as files
from fakes import snp_fixtures
from fakes.snp_fixtures import NOW
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealward.controlplane.adapters.collateral.inspector import VendorInspector
from sealward.controlplane.services import collateral_archive
from sealward.verifier.rats.collateral import NO_COLLATERAL, Key, Kind
from sealward.verifier.rats.errors import VerifierError

_QUICK = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@cache
def genuine() -> tuple[bytes, ...]:
    chip = snp_fixtures.platform()
    return (
        files.amd_chain(),
        files.pem(chip.vek, chip.intermediate, chip.root),
        chip.vek,
        files.amd_crl(),
        files.tcb_info(),
        files.bundle(),
        b'{"format":"sealward-collateral/1","items":[{"content":"","issuers":"","kind":"amd-vek","name":"x"}]}',
        b'<SoftwareIdentity xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd"/>',
    )


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A genuine file with a piece cut out, put in or changed."""
    data = draw(st.sampled_from(genuine()))
    at = draw(st.integers(0, len(data)))
    until = draw(st.integers(at, min(len(data), at + 40)))
    return data[:at] + draw(st.binary(max_size=40)) + data[until:]


@given(data=mutated() | st.binary(max_size=200), issuers=st.sampled_from([b"", b"-----BEGIN"]))
@_QUICK
def test_the_inspector_raises_nothing_but_its_error(data: bytes, issuers: bytes) -> None:
    inspector = VendorInspector(files.anchors())
    expected = Key(Kind.NVIDIA_RIM, "NV")
    with suppress(VerifierError):
        for piece in inspector.inspect(
            data, issuers=issuers, expected=expected, held=NO_COLLATERAL, now=NOW
        ):
            assert piece.content
            assert piece.issued <= piece.next_update


@given(data=mutated() | st.binary(max_size=200))
@_QUICK
def test_the_archive_reader_raises_nothing_but_its_error(data: bytes) -> None:
    with suppress(VerifierError):
        for item in collateral_archive.read(data):
            assert str(item.key.kind) in {str(kind) for kind in Kind}
