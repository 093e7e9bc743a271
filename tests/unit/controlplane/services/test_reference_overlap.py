"""Sets that name the same value: what counts is what all of them say."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from fakes.admin_plane import START, AdminPlane
from fakes.admin_requests import MEASUREMENT
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.facts import read_reference_view, rfc3339
from sealward.controlplane.services.reference_documents import COMPONENTS
from sealward.controlplane.services.reference_overlap import Described, floor, measurement
from sealward.verifier.wire import json as wire_json

LATER = datetime(2027, 1, 1, tzinfo=UTC)
COMPONENT_LISTS = st.lists(st.sampled_from(COMPONENTS), min_size=1, unique=True)
DESCRIPTIONS = st.lists(
    st.builds(
        Described,
        set_name=st.text(st.sampled_from("abc"), min_size=1, max_size=3),
        not_after=st.none() | st.datetimes(timezones=st.just(UTC)),
        value=st.fixed_dictionaries(
            {
                "name": st.sampled_from(["image 1", "image 2"]),
                "components": COMPONENT_LISTS,
                "clock": st.sampled_from([None, "protected"]),
                "trust_config": st.sampled_from(["host_data", "image"]),
            }
        ),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.set_name,
)
FLOORS = st.lists(
    st.dictionaries(st.sampled_from(["snp", "microcode"]), st.integers(0, 255)), max_size=4
)


@given(DESCRIPTIONS)
def test_an_overlap_promises_no_more_than_any_of_its_sets(found: list[Described]) -> None:
    entry, ends = measurement(found)
    for one in found:
        assert set(entry["components"]) <= set(one.value["components"])
        assert entry["clock"] is None or one.value["clock"] == "protected"
        assert entry["trust_config"] == "host_data" or one.value["trust_config"] == "image"
        assert one.not_after is None or (ends is not None and ends <= one.not_after)
        assert str(one.value["name"]) in str(entry["name"])
        assert one.set_name in str(entry["set"]).split(", ")
    assert ends is None or ends in [one.not_after for one in found]


@given(DESCRIPTIONS)
def test_and_no_less_than_all_of_them(found: list[Described]) -> None:
    entry, _ = measurement(found)
    common = set.intersection(*(set(one.value["components"]) for one in found))
    assert set(entry["components"]) == common
    assert (entry["clock"] == "protected") == all(o.value["clock"] == "protected" for o in found)
    assert measurement(found[::-1])[0]["set"] == entry["set"]
    if len(found) == 1:
        assert {name: entry[name] for name in found[0].value} == found[0].value


@given(FLOORS)
def test_a_floor_satisfies_every_set(found: list[dict[str, int]]) -> None:
    combined = floor(found)
    assert all(combined[name] >= number for one in found for name, number in one.items())
    assert all(any(one.get(name) == number for one in found) for name, number in combined.items())


@pytest.mark.parametrize("names", [("a-strict", "b-loose"), ("b-strict", "a-loose")])
def test_the_name_of_a_set_lends_it_no_weight(plane: AdminPlane, names: tuple[str, str]) -> None:
    alice = plane.administrator().principal
    strict = {
        "name": "reviewed",
        "components": ["firmware", "kernel"],
        "clock": None,
        "trust_config": "host_data",
    }
    loose = {
        "name": "generous",
        "components": list(COMPONENTS),
        "clock": "protected",
        "trust_config": "image",
    }
    for name, value, not_after in zip(
        names, (strict, loose), (LATER, LATER + timedelta(days=9)), strict=True
    ):
        document = {
            "name": name,
            "not_after": rfc3339(not_after).replace(".000", ""),
            "values": [{"kind": "measurement", "key": MEASUREMENT, "value": value}],
        }
        plane.services.references.import_set(alice, json.dumps(document).encode(), activate=True)
    claims: dict[str, wire_json.Canonical] = {
        "tee": "snp",
        "product": "Milan",
        "measurements": [{"name": "launch", "algorithm": "sha384", "digest": MEASUREMENT}],
    }
    seen = ClaimsDocument(claims, wire_json.canonical(claims))
    view = plane.database.read(lambda tx: read_reference_view(tx, seen, START))
    (entry,) = view.entries
    assert {name: entry[name] for name in ("components", "clock", "trust_config")} == {
        name: strict[name] for name in ("components", "clock", "trust_config")
    }
    assert entry["not_after"] == rfc3339(LATER)
    assert entry["set"] == ", ".join(sorted(names))
    decoded = wire_json.decode(view.document, what="reference", max_bytes=1 << 16)
    assert isinstance(decoded, dict)
    assert decoded["measurement"] == {MEASUREMENT: dict(entry)}
