"""What the kit mints for TDX, SGX and Nitro is what the registry verifies, end to end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from fakes import dcap_fixtures, nitro_fixtures
from fakes.snp_fixtures import NOW, VALIDITY, stream
from sealward_devkit.attester import from_settings
from sealward_devkit.attesters.nitro import SoftwareNitro
from sealward_devkit.dcap import boot
from sealward_devkit.dcap import directories as dcap_directories
from sealward_devkit.dcap.collateral import Collateral, judging, mint_collateral
from sealward_devkit.dcap.platform import Tee
from sealward_devkit.dcap.quote import Shape
from sealward_devkit.nitro import directories as nitro_directories
from sealward_devkit.nitro import image

from sealward.verifier import registry
from sealward.verifier.formats.dcap import collateral as formats
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.pki.development import import_root
from sealward.verifier.rats.errors import Code, RefusedEvidence

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

REPORT_DATA = bytes(range(64))
ROOTS = (
    import_root(dcap_fixtures.hierarchy().root, now=NOW),
    import_root(nitro_fixtures.hierarchy().root, now=NOW),
)
ANCHORS = TrustAnchors(development_roots=ROOTS)


def context(anchors: TrustAnchors = ANCHORS, now: datetime = NOW) -> registry.Context:
    return registry.Context(anchors, now, ChainCache())


def verify(
    quote: bytes, collateral: Collateral, given: registry.Context | None = None
) -> registry.Verified:
    """As `sealward verify quote.bin collateral.json` does it."""
    pieces = (*registry.recognise(quote), *registry.recognise(collateral.to_json().encode()))
    return registry.authenticate_items(pieces, context() if given is None else given)


def minted(shape: Shape) -> dcap_fixtures.Minted:
    if shape.tee is Tee.SGX:
        return dcap_fixtures.mint_sgx(report_data=REPORT_DATA)
    return dcap_fixtures.mint_tdx(shape=shape, report_data=REPORT_DATA)


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_every_shape_of_quote_is_genuine_under_its_root(shape: Shape) -> None:
    claims = verify(minted(shape).quote, minted(shape).collateral).claims
    assert claims.tee == shape.tee.id.lower()
    assert claims.development
    assert claims.tcb_status == "UpToDate"
    assert claims.report_data == REPORT_DATA.hex()
    assert claims.platform_id == dcap_fixtures.platform().platform_id
    digests = {item.name: item.digest for item in claims.measurements}
    if shape.tee is Tee.SGX:
        assert digests["mrenclave"] == dcap_fixtures.ENCLAVE.mr_enclave.hex()
    else:
        assert digests["mrtd"] == dcap_fixtures.MR_TD.hex()
        assert digests["rtmr3"] == dcap_fixtures.TD.rtmrs[3].hex()


@pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.name)
def test_without_its_root_nothing_minted_is_evidence(shape: Shape) -> None:
    evidence = minted(shape)
    with pytest.raises(RefusedEvidence) as caught:
        verify(evidence.quote, evidence.collateral, context(TrustAnchors()))
    assert caught.value.code is Code.ROOT_NOT_PINNED
    only_nitro = TrustAnchors(development_roots=ROOTS[1:])
    with pytest.raises(RefusedEvidence):
        verify(evidence.quote, evidence.collateral, context(only_nitro))


@dataclass(frozen=True)
class Generation:
    status: str
    advisories: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "told",
    [
        Generation("UpToDate"),
        Generation("SWHardeningNeeded", ("INTEL-SA-00615",)),
        Generation("OutOfDate", ("INTEL-SA-00837", "INTEL-SA-00960")),
        Generation("Revoked"),
    ],
    ids=lambda told: told.status,
)
def test_a_generation_of_tcb_info_decides_the_status(told: Generation) -> None:
    info = judging(dcap_fixtures.tcb_info(), told.status, told.advisories)
    collateral = mint_collateral(dcap_fixtures.hierarchy(), info, dcap_fixtures.qe_identity())
    claims = verify(dcap_fixtures.mint_tdx().quote, collateral).claims
    assert (claims.tcb_status, claims.advisories) == (told.status, told.advisories)


def test_what_ends_first_ends_the_evidence() -> None:
    soon = NOW + timedelta(hours=5)
    info = dcap_fixtures.tcb_info(next_update=soon)
    collateral = mint_collateral(dcap_fixtures.hierarchy(), info, dcap_fixtures.qe_identity())
    quote = dcap_fixtures.mint_tdx().quote
    assert verify(quote, collateral).claims.collateral.not_after == soon
    with pytest.raises(RefusedEvidence):
        verify(quote, collateral, context(now=soon + timedelta(seconds=1)))
    with pytest.raises(RefusedEvidence):
        verify(quote, collateral, context(now=VALIDITY.not_after + timedelta(seconds=1)))


@dataclass(frozen=True)
class Held:
    """What a control plane holds after an import."""

    pieces: tuple[registry.Item, ...]

    def get(self, key: object) -> bytes | None:
        return next((i.data for i in self.pieces if formats.key_of(i.data) == key), None)


def test_the_tdx_attester_and_its_log_are_believed_whole(tmp_path: Path) -> None:
    dcap_directories.save_platform(dcap_fixtures.platform(), tmp_path / "machine")
    (tmp_path / "ccel.bin").write_bytes(boot.ccel("agent"))
    attester = from_settings(
        {
            "kind": "tdx",
            "platform": str(tmp_path / "machine"),
            "event_log": str(tmp_path / "ccel.bin"),
            "mr_td": boot.mr_td().hex(),
            "mr_config_id": boot.mr_config_id(b"{}").hex(),
        }
        | {f"rtmr{at}": value.hex() for at, value in enumerate(boot.registers("agent"))}
    )
    bundle = registry.recognise(dcap_fixtures.collateral().to_json().encode())
    envelope = attester.collect(REPORT_DATA).cmw
    given = replace(context(), collateral=Held(bundle))
    claims = registry.authenticate(envelope, given).claims
    assert claims.host_data == boot.mr_config_id(b"{}")[:32].hex()
    assert claims.boot is not None
    assert claims.report_data == REPORT_DATA.hex()


def test_the_nitro_attester_is_believed(tmp_path: Path) -> None:
    nitro_directories.save_instance(nitro_fixtures.instance(), tmp_path / "instance")
    pcrs = tuple(image.measure("agent", b"{}").items())
    attester = SoftwareNitro(tmp_path / "instance", pcrs, stream("agent"), lambda: NOW)
    envelope = attester.collect(REPORT_DATA).cmw
    claims = registry.authenticate(envelope, context()).claims
    assert claims.platform_id == nitro_fixtures.instance().platform_id
    digests = {item.name: item.digest for item in claims.measurements}
    assert [digests[f"pcr{index}"] for index, _ in pcrs] == [value.hex() for _, value in pcrs]
    assert claims.development
    with pytest.raises(RefusedEvidence):
        registry.authenticate(envelope, context(TrustAnchors(development_roots=ROOTS[:1])))
