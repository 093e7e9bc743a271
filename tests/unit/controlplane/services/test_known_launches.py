"""A launch is known when one set describes all of its registers, whatever other sets know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from fakes.admin_plane import START, AdminPlane
from fakes.policy_schemas import read as schema
from fakes.policy_schemas import violations

from sealward.controlplane.domain import launches
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.principals import Principal
from sealward.controlplane.services import reference_documents
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.facts import ReferenceView, read_reference_view
from sealward.verifier.wire import json as wire_json


def digest(text: str, size: int = 48) -> str:
    return text.encode().hex().ljust(2 * size, "0")


ZERO = "00" * 48
TDX = {
    "mrtd": digest("td"),
    "rtmr0": digest("fw"),
    "rtmr1": digest("os"),
    "rtmr2": ZERO,
    "rtmr3": ZERO,
}
NITRO = {"pcr0": digest("image"), "pcr1": digest("kernel"), "pcr2": digest("app")}
COVERS = {
    "mrtd": ["firmware"],
    "rtmr1": ["kernel", "cmdline", "rootfs", "agent"],
    "pcr0": ["kernel", "cmdline", "rootfs", "agent"],
}


def content(
    name: str, tee: str, registers: Mapping[str, str], *, trusting: str | None = None
) -> dict[str, Any]:
    values = [
        {
            "kind": "register",
            "key": f"{tee}/{register}/{value}",
            "value": {
                "name": f"{name} {register}",
                "components": COVERS.get(register, []),
                "trust_config": "image" if register == trusting else None,
            },
        }
        for register, value in registers.items()
    ]
    return {"name": name, "not_after": None, "values": values}


def document(name: str, tee: str, registers: Mapping[str, str], **how: Any) -> bytes:  # noqa: ANN401
    return json.dumps(content(name, tee, registers, **how)).encode()


def claims(tee: str, registers: Mapping[str, str], **more: Any) -> ClaimsDocument:  # noqa: ANN401
    measured = [
        {"name": name, "algorithm": "sha384", "digest": value} for name, value in registers.items()
    ]
    values: dict[str, Any] = {"tee": tee, "product": "TDX 1.5", "measurements": measured, **more}
    return ClaimsDocument(values, wire_json.canonical(values))


class Fleet:
    def __init__(self, plane: AdminPlane) -> None:
        self.plane = plane
        self.alice: Principal = plane.administrator().principal

    def describe(self, name: str, tee: str, registers: Mapping[str, str], **how: Any) -> None:  # noqa: ANN401
        self.activate(document(name, tee, registers, **how))

    def activate(self, data: bytes) -> None:
        self.plane.services.references.import_set(self.alice, data, activate=True)

    def view(self, seen: ClaimsDocument) -> ReferenceView:
        return self.plane.database.read(lambda tx: read_reference_view(tx, seen, START))

    def seen(self, tee: str, registers: Mapping[str, str], **more: Any) -> Any:  # noqa: ANN401
        view = self.view(claims(tee, registers, **more))
        found: Any = wire_json.decode(view.document, what="reference", max_bytes=1 << 16)
        assert violations(found, schema("reference"), "reference") == []
        assert [dict(entry) for entry in view.entries] == list(found["boot"].values())
        return found


@pytest.fixture
def fleet(plane: AdminPlane) -> Fleet:
    return Fleet(plane)


def test_a_described_launch_is_one_entry_over_all_its_registers(fleet: Fleet) -> None:
    fleet.describe("agents", "tdx", TDX, trusting="rtmr1")
    assert fleet.seen("tdx", TDX)["boot"] == {
        "agents": {
            "name": "agents",
            "set": "agents",
            "components": ["firmware", "kernel", "cmdline", "rootfs", "agent"],
            "trust_config": "image",
            "clock": None,
            "not_after": None,
        }
    }


@pytest.mark.parametrize("name", list(TDX))
def test_another_value_of_any_register_is_another_launch(fleet: Fleet, name: str) -> None:
    fleet.describe("agents", "tdx", TDX)
    found = fleet.seen("tdx", {**TDX, name: digest("other")})
    assert found["boot"] == {}
    assert found["nearest_boot"]["other_value"] == [f"tdx/{name}"]
    assert f"tdx/{name}/{TDX[name]}" not in found["register"]
    assert len(found["register"]) == len(TDX) - 1


def test_registers_of_two_launches_are_no_launch(fleet: Fleet) -> None:
    fleet.describe("first", "tdx", TDX)
    fleet.describe("second", "tdx", {**TDX, "rtmr0": digest("new fw"), "rtmr1": digest("new os")})
    assert fleet.seen("tdx", {**TDX, "rtmr1": digest("new os")})["boot"] == {}


def test_the_registers_of_a_nitro_parent_instance_are_no_part_of_a_launch(fleet: Fleet) -> None:
    fleet.describe("enclave", "nitro", NITRO)
    beside = {**NITRO, "pcr3": digest("role"), "pcr4": digest("instance"), "pcr16": digest("own")}
    assert list(fleet.seen("nitro", beside)["boot"]) == ["enclave"]
    assert fleet.seen("nitro", {**beside, "pcr8": digest("signer")})["boot"] == {}


def test_the_components_of_a_cca_platform_are_part_of_a_launch(fleet: Fleet) -> None:
    firmware = digest("tf-a")
    fleet.describe("realm", "cca", {"rim": digest("rim"), "platform0": firmware})
    platform = {"components": [{"measurement": firmware}]}
    assert list(fleet.seen("cca", {"rim": digest("rim")}, cca=platform)["boot"]) == ["realm"]
    other = {"components": [{"measurement": digest("tf-b")}]}
    assert fleet.seen("cca", {"rim": digest("rim")}, cca=other)["boot"] == {}


def test_a_value_counts_for_its_own_kind_and_register_only(fleet: Fleet) -> None:
    fleet.describe("agents", "tdx", TDX)
    swapped = {**TDX, "rtmr0": TDX["rtmr1"], "rtmr1": TDX["rtmr0"]}
    assert fleet.seen("tdx", swapped)["boot"] == {}
    assert fleet.seen("sgx", {"mrenclave": TDX["mrtd"], "mrsigner": TDX["rtmr0"]})["register"] == {}


def test_a_launch_sees_the_floor_of_its_product(fleet: Fleet) -> None:
    floor = {"kind": "tcb_floor", "key": "tdx/TDX-1.5", "value": {"tdx01": 5, "pcesvn": 13}}
    fleet.activate(json.dumps({"name": "floors", "not_after": None, "values": [floor]}).encode())
    assert fleet.seen("tdx", TDX)["tcb_floor"] == {"tdx/TDX-1.5": {"tdx01": 5, "pcesvn": 13}}


def test_azure_s_evidence_sees_its_boot_and_its_paravisor(fleet: Fleet) -> None:
    pcrs = {index: digest(f"pcr {index}", 32) for index in range(8)}
    registers = [
        {
            "kind": "pcr",
            "key": f"sha256/{index}/{value}",
            "value": {"name": f"pcr {index}", "components": [], "trust_config": None},
        }
        for index, value in pcrs.items()
    ]
    launch = {
        "kind": "measurement",
        "key": digest("paravisor"),
        "value": {
            "name": "paravisor",
            "components": ["firmware", "paravisor"],
            "clock": None,
            "trust_config": "image",
        },
    }
    sets: tuple[tuple[str, list[Any]], ...] = (("boot", registers), ("azure", [launch]))
    for name, values in sets:
        fleet.activate(json.dumps({"name": name, "not_after": None, "values": values}).encode())
    measured = [{"name": "launch", "algorithm": "sha384", "digest": digest("paravisor")}]
    measured += [
        {"name": f"pcr{index}", "algorithm": "sha256", "digest": value}
        for index, value in pcrs.items()
    ]
    seen: dict[str, Any] = {"tee": "azure-snp", "product": "Milan", "measurements": measured}
    view = fleet.view(ClaimsDocument(seen, wire_json.canonical(seen)))
    found: Any = wire_json.decode(view.document, what="reference", max_bytes=1 << 16)
    assert violations(found, schema("reference"), "reference") == []
    assert list(found["boot"]) == ["boot"]
    assert list(found["measurement"]) == [digest("paravisor")]
    assert [entry["set"] for entry in view.entries] == ["boot"]  # the paravisor is no chain


# --- documents ----------------------------------------------------------------------------------


def why(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        reference_documents.read(data)
    assert caught.value.code is Code.reference_invalid
    return caught.value.detail


@pytest.mark.parametrize("missing", list(TDX))
def test_a_set_describes_a_whole_launch(missing: str) -> None:
    less = {name: value for name, value in TDX.items() if name != missing}
    assert f"it has no value of {missing}" in why(document("agents", "tdx", less))


@pytest.mark.parametrize(
    "key",
    [
        "tdx/rtmr4/" + ZERO,
        "tdx/mrtd/" + ZERO[2:],
        "tdx/mrtd/" + "A0" * 48,
        "nitro/pcr4/" + ZERO,
        "snp/launch/" + ZERO,
        "tdx//" + ZERO,
        "tdx/mrtd",
        "tdx/mrtd/" + ZERO + "/x",
    ],
)
def test_a_key_that_names_no_register_is_refused(key: str) -> None:
    assert launches.register_of(key) is None
    value = {"name": "x", "components": [], "trust_config": None}
    data = {
        "name": "x",
        "not_after": None,
        "values": [{"kind": "register", "key": key, "value": value}],
    }
    assert "key is not <tee>/<name>/<hex value>" in why(json.dumps(data).encode())


def test_a_register_that_nothing_was_measured_into_covers_nothing() -> None:
    assert "nothing was measured into rtmr2" in why(
        document("agents", "tdx", TDX, trusting="rtmr2")
    )


def test_two_launches_in_one_set_are_refused() -> None:
    both = content("agents", "tdx", TDX)
    both["values"] += content("agents", "tdx", {"mrtd": digest("other")})["values"]
    assert "two values of mrtd" in why(json.dumps(both).encode())
    kinds = content("agents", "tdx", TDX)
    kinds["values"] += content("agents", "nitro", NITRO)["values"]
    assert "registers of tdx and nitro" in why(json.dumps(kinds).encode())
