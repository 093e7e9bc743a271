"""What real vendors published is taken by a production installation, at an instant of its dates."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from fakes.admin_plane import AdminPlane
from fakes.snp_fixtures import NOW

from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import Principal, Role
from sealward.controlplane.services.collateral import Outcome
from sealward.verifier.rats.collateral import Key, Kind

ADMIN = Principal(principal_id="p-ada", name="ada", roles=(Role.admin,), created=NOW)
VBIOS = Key(Kind.NVIDIA_RIM, "NV_GPU_VBIOS_1010_0200_882_96005E0001")


@pytest.mark.parametrize(
    ("line", "vek"),
    [
        ("milan", "snp-milan-v2-coco"),
        ("milan", "snp-milan-v3-dstack"),
        ("genoa", "snp-genoa-v3-tsm"),
        ("turin", "snp-turin-v5-oak"),
    ],
)
def test_vceks_of_amd_below_their_published_chain(
    plane: AdminPlane, vectors_dir: Path, line: str, vek: str
) -> None:
    roots = vectors_dir / "roots"
    chain = b"\n".join((roots / f"amd_{ca}_{line}.pem").read_bytes() for ca in ("ask", "ark"))
    store = plane.services.collateral
    (imported,) = store.import_file(ADMIN, chain)
    assert imported.key == Key(Kind.AMD_CHAIN, f"{line.title()}/vcek")
    leaf = (vectors_dir / "sev-snp" / f"{vek}.vcek.der").read_bytes()
    (key,) = store.import_file(ADMIN, leaf)
    assert key.outcome is Outcome.stored
    assert key.key.name.startswith(f"{line.title()}/")
    assert store.import_file(ADMIN, store.export(ADMIN))[1].outcome is Outcome.held


def test_a_vcek_whose_signature_does_not_hold_is_refused(
    plane: AdminPlane, vectors_dir: Path
) -> None:
    roots = vectors_dir / "roots"
    chain = b"\n".join((roots / f"amd_{ca}_milan.pem").read_bytes() for ca in ("ask", "ark"))
    plane.services.collateral.import_file(ADMIN, chain)
    broken = (vectors_dir / "sev-snp" / "snp-bad-vcek-legacy.vcek.der").read_bytes()
    with pytest.raises(Refused) as caught:
        plane.services.collateral.import_file(ADMIN, broken)
    assert caught.value.code is Code.collateral_invalid


@pytest.mark.parametrize(
    ("file", "at", "named"),
    [
        ("nvidia-rim-driver-550", "2024-12-30T16:56:50+00:00", None),
        ("nvidia-rim-vbios-gh100", "2023-06-23T09:30:33+00:00", VBIOS),
    ],
)
def test_manifests_of_nvidia(
    plane: AdminPlane, vectors_dir: Path, file: str, at: str, named: Key | None
) -> None:
    plane.clock.instant = datetime.fromisoformat(at)
    data = (vectors_dir / "nvidia" / f"{file}.xml").read_bytes()
    (result,) = plane.services.collateral.import_file(ADMIN, data, named=named)
    assert result.key == (named or Key(Kind.NVIDIA_RIM, "NV_GPU_DRIVER_GH100_550.144.03"))


@pytest.mark.parametrize(
    ("file", "named", "told"),
    [
        ("nvidia-rim-vbios-gh100", None, "collateral_mismatch"),
        (
            "nvidia-rim-vbios-gh100",
            Key(Kind.NVIDIA_RIM, "NV_GPU_VBIOS_X_96"),
            "collateral_mismatch",
        ),
        ("nvidia-rim-driver-bad-sig", None, "signature_invalid"),
    ],
)
def test_a_manifest_without_its_id_or_its_signature_is_refused(
    plane: AdminPlane, vectors_dir: Path, file: str, named: Key | None, told: str
) -> None:
    at = "2024-12-30T16:56:50+00:00" if "driver" in file else "2023-06-23T09:30:33+00:00"
    plane.clock.instant = datetime.fromisoformat(at)
    data = (vectors_dir / "nvidia" / f"{file}.xml").read_bytes()
    with pytest.raises(Refused) as caught:
        plane.services.collateral.import_file(ADMIN, data, named=named)
    assert caught.value.code is Code.collateral_invalid
    assert f"{told}: " in caught.value.detail


@pytest.mark.parametrize(
    ("file", "at"),
    [
        ("sgx-00a067110000-2025-06", "2025-07-10"),
        ("tdx-20a06f000000-2025-09", "2025-10-02"),
        ("tdx-b0c06f000000-2025-06", "2025-07-10"),
        ("tdx-50806f000000-2023-06", "2023-07-08"),
    ],
)
def test_bundles_of_intel(plane: AdminPlane, vectors_dir: Path, file: str, at: str) -> None:
    plane.clock.instant = datetime.fromisoformat(f"{at}T00:00:00+00:00")
    data = (vectors_dir / "dcap-collateral" / f"{file}.json").read_bytes()
    results = plane.services.collateral.import_file(ADMIN, data)
    assert [result.outcome for result in results] == [Outcome.stored] * 4
    tee, _, fmspc = file.partition("-")
    assert results[0].key.name == f"{tee}/{fmspc.partition('-')[0]}"
