"""A quote is of a known boot when one set describes exactly it, and nothing of it is withdrawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from fakes.admin_plane import START, AdminPlane
from fakes.admin_requests import MEASUREMENT, REFERENCE_SET
from fakes.policy_schemas import read as schema
from fakes.policy_schemas import violations
from fakes.state import a_set
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.domain.horizon import Limit
from sealward.controlplane.services import reference_overlap
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.facts import ReferenceView, read_reference_view
from sealward.verifier.wire import json as wire_json

SOON = START + timedelta(days=1)
LATER = START + timedelta(days=2)


def digest(text: str) -> str:
    return text.encode().hex().ljust(64, "0")


FIRMWARE = {index: digest(f"firmware {index}") for index in range(8)}
GRUB = {**FIRMWARE, 4: digest("grub"), 8: digest("line"), 9: digest("kernel")}
UKI = {**FIRMWARE, 4: digest("uki"), 11: digest("sections")}
COVERS = {0: ["firmware"], 8: ["cmdline"], 9: ["kernel", "agent"], 11: ["rootfs"]}


class Fleet:
    """A control plane and its administrator, with boots to import and to ask for."""

    def __init__(self, plane: AdminPlane) -> None:
        self.plane = plane
        self.alice = plane.administrator().principal
        self.references = plane.services.references

    def describe(
        self,
        name: str,
        registers: Mapping[int, str],
        *,
        covers: Mapping[int, list[str]] = COVERS,
        trusting: int | None = 9,
        not_after: Any = None,  # noqa: ANN401 - an instant
    ) -> None:
        values = [
            {
                "kind": "pcr",
                "key": f"sha256/{index}/{value}",
                "value": {
                    "name": f"{name} {index}",
                    "components": covers.get(index, []),
                    "trust_config": "image" if index == trusting else None,
                },
            }
            for index, value in registers.items()
        ]
        end = None if not_after is None else not_after.strftime("%Y-%m-%dT%H:%M:%SZ")
        document = {"name": name, "not_after": end, "values": values}
        self.references.import_set(self.alice, json.dumps(document).encode(), activate=True)

    def withdraw(self, name: str, index: int, value: str) -> None:
        self.references.withdraw(self.alice, name, "pcr", f"sha256/{index}/{value}", reason="bad")

    def quoted(self, registers: Mapping[int, str], *, bank: str = "sha256") -> ReferenceView:
        return self.view(claims("tpm", [(f"pcr{n}", bank, v) for n, v in registers.items()]))

    def view(self, seen: ClaimsDocument, *, now: Any = START) -> ReferenceView:  # noqa: ANN401 - an instant
        return self.plane.database.read(lambda tx: read_reference_view(tx, seen, now))


@pytest.fixture
def fleet(plane: AdminPlane) -> Fleet:
    return Fleet(plane)


def claims(tee: str, measured: list[tuple[str, str, str]]) -> ClaimsDocument:
    items = [dict(zip(("name", "algorithm", "digest"), one, strict=True)) for one in measured]
    values: dict[str, wire_json.Canonical] = {
        "tee": tee, "product": "Milan", "measurements": items,
    }  # fmt: skip
    return ClaimsDocument(values, wire_json.canonical(values))


def seen_of(view: ReferenceView) -> Any:  # noqa: ANN401 - JSON
    """What a policy sees, after it was held against the schema."""
    found = wire_json.decode(view.document, what="reference", max_bytes=1 << 16)
    assert violations(found, schema("reference"), "reference") == []
    return found


def boot_of(view: ReferenceView) -> Any:  # noqa: ANN401 - JSON
    """The one boot that a policy sees; None where there is none."""
    found = seen_of(view)["boot"]
    assert [dict(entry) for entry in view.entries] == list(found.values())
    assert len(found) <= 1
    return next(iter(found.values()), None)


def test_a_described_boot_is_one_entry_over_all_its_registers(fleet: Fleet) -> None:
    fleet.describe("grub", GRUB)
    view = fleet.quoted(GRUB)
    found = seen_of(view)
    assert found["boot"] == {
        "grub": {
            "name": "grub",
            "set": "grub",
            "components": ["firmware", "kernel", "cmdline", "agent"],
            "clock": None,
            "trust_config": "image",
            "not_after": None,
        }
    }
    assert boot_of(view) == found["boot"]["grub"]
    assert (found["measurement"], found["tcb_floor"], found["nearest_boot"]) == ({}, {}, None)
    keys = sorted(f"sha256/{n}/{v}" for n, v in GRUB.items())
    assert [(match.kind, match.key) for match in view.matches] == [("pcr", key) for key in keys]
    assert sorted(found["pcr"]) == keys
    assert found["pcr"][keys[-1]] == {"sets": ["grub"]}


def test_a_register_names_the_first_of_many_sets(fleet: Fleet) -> None:
    for n in range(6):
        fleet.describe(f"boot-{n}", {**GRUB, 9: digest(f"kernel {n}")})
    found = seen_of(fleet.quoted({**GRUB, 9: digest("kernel 5")}))
    assert found["pcr"][f"sha256/0/{GRUB[0]}"]["sets"] == [f"boot-{n}" for n in range(4)]
    assert set(found["boot"]) == {"boot-5"}


def test_a_boot_without_the_trust_configuration_says_so(fleet: Fleet) -> None:
    fleet.describe("grub", GRUB, trusting=None)
    assert boot_of(fleet.quoted(GRUB))["trust_config"] is None


def test_registers_of_two_boots_are_no_boot(fleet: Fleet) -> None:
    """A known loader, and another fleet's kernel register, which it leaves alone, written later."""
    fleet.describe("grub", GRUB)
    fleet.describe("uki", UKI)
    mixed = {**FIRMWARE, 4: GRUB[4], 11: UKI[11]}
    view = fleet.quoted(mixed)
    assert len(seen_of(view)["pcr"]) == len(mixed), "all of them are known"
    assert boot_of(view) is None
    assert seen_of(view)["nearest_boot"] == {
        "set": "grub",
        "other_value": [],
        "not_quoted": ["sha256/8", "sha256/9"],
        "not_described": ["sha256/11"],
    }


def test_registers_of_two_versions_are_no_boot(fleet: Fleet) -> None:
    newer = {**GRUB, 8: digest("newer line"), 9: digest("newer kernel")}
    fleet.describe("v1", GRUB)
    fleet.describe("v2", newer)
    view = fleet.quoted({**newer, 9: GRUB[9]})
    assert boot_of(view) is None
    nearest = seen_of(view)["nearest_boot"]
    assert (nearest["set"], nearest["other_value"]) == ("v1", ["sha256/8"])
    assert boot_of(fleet.quoted(newer))["set"] == "v2"


@pytest.mark.parametrize("index", GRUB)
def test_a_register_that_is_not_quoted_makes_it_another_boot(fleet: Fleet, index: int) -> None:
    fleet.describe("grub", GRUB)
    view = fleet.quoted({n: v for n, v in GRUB.items() if n != index})
    assert boot_of(view) is None
    assert seen_of(view)["nearest_boot"]["not_quoted"] == [f"sha256/{index}"]


def test_a_register_that_is_not_described_makes_it_another_boot(fleet: Fleet) -> None:
    fleet.describe("grub", GRUB)
    view = fleet.quoted({**GRUB, 14: digest("more")})
    assert boot_of(view) is None
    assert seen_of(view)["nearest_boot"]["not_described"] == ["sha256/14"]


def test_pcr_10_is_no_part_of_a_boot(fleet: Fleet) -> None:
    fleet.describe("grub", GRUB)
    assert boot_of(fleet.quoted({**GRUB, 10: digest("files")}))["set"] == "grub"


def test_a_boot_is_that_of_its_bank(fleet: Fleet) -> None:
    fleet.describe("grub", GRUB)
    assert boot_of(fleet.quoted(GRUB, bank="sha512")) is None
    both = [(f"pcr{n}", bank, v) for bank in ("sha256", "sha384") for n, v in GRUB.items()]
    view = fleet.view(claims("tpm", both))
    assert boot_of(view) is None
    assert seen_of(view)["nearest_boot"]["not_described"] == sorted(
        f"sha384/{index}" for index in GRUB
    )


def test_a_withdrawn_value_cannot_be_left_out_of_a_quote(fleet: Fleet) -> None:
    whole = {**GRUB, 14: digest("a boot loader with a hole")}
    fleet.describe("grub", whole)
    fleet.withdraw("grub", 14, whole[14])
    for quoted in (whole, GRUB):
        view = fleet.quoted(quoted)
        assert boot_of(view) is None
        found = seen_of(view)
        assert f"sha256/14/{whole[14]}" not in found["pcr"]
    assert found["nearest_boot"]["not_quoted"] == ["sha256/14"]


def test_a_value_that_another_set_saw_withdrawn_is_in_no_boot(fleet: Fleet) -> None:
    fleet.describe("a", GRUB)
    fleet.describe("b", {**GRUB, 12: digest("more")})
    fleet.withdraw("b", 9, GRUB[9])
    view = fleet.quoted(GRUB)
    assert boot_of(view) is None
    assert seen_of(view)["nearest_boot"]["other_value"] == ["sha256/9"]
    with pytest.raises(Refused) as caught:
        fleet.describe("c", GRUB)
    assert caught.value.code is Code.reference_withdrawn
    with pytest.raises(Conflict):
        fleet.withdraw("a", 9, GRUB[9])
    key = f"sha256/9/{GRUB[9]}"
    fleet.references.reinstate(fleet.alice, "a", "pcr", key, reason="it was another one")
    assert boot_of(fleet.quoted(GRUB))["set"] == "a"


def test_sets_that_describe_one_boot_are_heard_together(fleet: Fleet) -> None:
    fleet.describe("b", GRUB, not_after=SOON)
    fleet.describe("a", GRUB, covers={**COVERS, 0: []}, trusting=None, not_after=LATER)
    fleet.describe("c", {**GRUB, 9: digest("newer kernel")}, not_after=SOON)
    view = fleet.quoted(GRUB)
    assert boot_of(view) == {
        "name": "a, b",
        "set": "a, b",
        "components": ["kernel", "cmdline", "agent"],
        "clock": None,
        "trust_config": None,
        "not_after": SOON.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
    }
    assert set(seen_of(view)["boot"]) == {"a, b"}
    assert view.limits == (Limit("reference set a", LATER), Limit("reference set b", SOON))


def test_a_set_that_ended_describes_nothing(fleet: Fleet) -> None:
    fleet.describe("grub", GRUB, not_after=SOON)
    seen = claims("tpm", [(f"pcr{n}", "sha256", v) for n, v in GRUB.items()])
    assert boot_of(fleet.view(seen, now=SOON - timedelta(seconds=1))) is not None
    assert boot_of(fleet.view(seen, now=SOON)) is None


def test_a_revoked_set_describes_nothing(fleet: Fleet) -> None:
    fleet.describe("grub", GRUB)
    fleet.references.revoke(fleet.alice, "grub", reason="another boot loader")
    assert boot_of(fleet.quoted(GRUB)) is None


def test_a_value_counts_as_that_of_its_own_register(fleet: Fleet) -> None:
    fleet.describe("grub", GRUB)
    swapped = {**GRUB, 8: GRUB[9], 9: GRUB[8]}
    view = fleet.quoted(swapped)
    assert len(seen_of(view)["pcr"]) == len(GRUB) - 2
    assert boot_of(view) is None


def test_the_nearest_set_knows_most_of_the_registers(fleet: Fleet) -> None:
    for name, registers in (("a", UKI), ("b", GRUB), ("c", FIRMWARE | {4: digest("third")})):
        fleet.describe(name, registers)
    view = fleet.quoted({**GRUB, 12: digest("more")})
    assert seen_of(view)["nearest_boot"]["set"] == "b"


def test_what_keeps_the_nearest_set_away_is_told_in_part(fleet: Fleet) -> None:
    """A policy's text holds 512 characters."""
    fleet.describe("grub", GRUB)
    others = [(f"pcr{n}", "sha384", "0a" * 48) for n in range(24)]
    quoted = [(f"pcr{n}", "sha256", value) for n, value in GRUB.items()]
    nearest = seen_of(fleet.view(claims("tpm", quoted + others)))["nearest_boot"]
    assert nearest["not_described"] == [f"sha384/{n}" for n in (*range(10), 11, 12)]


def test_what_no_set_knows_is_near_none(fleet: Fleet) -> None:
    assert seen_of(fleet.quoted(GRUB))["nearest_boot"] is None
    assert boot_of(fleet.quoted({})) is None


def test_a_quote_sees_no_launch_and_a_launch_no_register(fleet: Fleet) -> None:
    document = json.dumps(REFERENCE_SET).encode()
    fleet.references.import_set(fleet.alice, document, activate=True)
    fleet.describe("grub", GRUB)
    quote = claims("tpm", [("pcr7", "sha384", MEASUREMENT)])
    assert seen_of(fleet.view(quote)) == {
        "measurement": {}, "tcb_floor": {}, "pcr": {}, "boot": {}, "nearest_boot": None,
    }  # fmt: skip
    launch = claims("snp", [("pcr7", "sha256", GRUB[7]), ("launch", "sha384", MEASUREMENT)])
    view = fleet.view(launch)
    assert set(seen_of(view)) == {"measurement", "tcb_floor"}
    assert {match.kind for match in view.matches} == {"measurement", "tcb_floor"}


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "components": st.lists(st.sampled_from(["firmware", "kernel", "agent"])),
                "trust_config": st.sampled_from([None, "image"]),
            }
        ),
        max_size=4,
    )
)
def test_a_boot_covers_what_any_of_its_registers_does(registers: list[dict[str, Any]]) -> None:
    told = reference_overlap.whole(a_set(), registers).value
    assert set(told["components"]) == {c for r in registers for c in r["components"]}
    assert (told["trust_config"] == "image") == any(r["trust_config"] for r in registers)
