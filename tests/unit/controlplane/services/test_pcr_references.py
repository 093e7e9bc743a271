"""Reference values of TPM registers: read strictly, matched as those of their own register."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from fakes.admin_plane import START, AdminPlane
from fakes.admin_requests import MEASUREMENT, REFERENCE_SET
from fakes.policy_schemas import read as schema
from fakes.policy_schemas import violations
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain.errors import Code, Conflict, Refused
from sealward.controlplane.services import reference_documents, reference_overlap
from sealward.controlplane.services.claims_document import ClaimsDocument
from sealward.controlplane.services.facts import ReferenceView, read_reference_view
from sealward.controlplane.services.reference_documents import COMPONENTS
from sealward.controlplane.services.reference_overlap import Described
from sealward.verifier.wire import json as wire_json

SHA256 = "0a" * 32
SEVEN = f"sha256/7/{SHA256}"


def value(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    return {"name": "n", "components": [], "clock": None, "trust_config": None, **changes}


def document(key: str = SEVEN, name: str = "golden", **changes: Any) -> bytes:  # noqa: ANN401 - any member
    item = {"kind": "pcr", "key": key, "value": value(**changes)}
    return json.dumps({"name": name, "not_after": None, "values": [item]}).encode()


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (SEVEN, {}),
        (SEVEN, {"components": list(COMPONENTS), "clock": "protected", "trust_config": "image"}),
        ("sha384/0/" + "0a" * 48, {}),
        ("sha512/23/" + "0a" * 64, {}),
        ("sha256/31/" + "ff" * 32, {}),
        ("sha256/9/" + "00" * 32, {}),  # nothing measures there on many machines
    ],
)
def test_a_register_is_read_as_it_was_written(key: str, changes: Mapping[str, object]) -> None:
    (read,) = reference_documents.read(document(key, **changes)).values
    assert (read.kind, read.key) == ("pcr", key)
    assert json.loads(read.value) == value(**changes)  # noqa: TID251 - our own output


@pytest.mark.parametrize(
    "key",
    [
        SHA256,
        "sha1/7/" + "0a" * 20,
        "sm3_256/7/" + "0a" * 32,
        "SHA256/7/" + SHA256,
        "sha256/07/" + SHA256,
        "sha256/32/" + SHA256,
        "sha256/-1/" + SHA256,
        "sha256//" + SHA256,
        "sha256/7/" + "0a" * 31,
        "sha256/7/" + "0a" * 48,
        "sha384/7/" + SHA256,
        "sha256/7/" + "0A" * 32,
        "sha256/7/" + SHA256 + "\n",
        "sha256/7/" + "0a" * 31 + "\u0661\u0661",
        "sha256/\u0667/" + SHA256,
        "/sha256/7/" + SHA256,
        "sha256/0/" + "00" * 32,
        "sha384/7/" + "00" * 48,
    ],
)
def test_what_is_no_key_of_a_register_is_refused(key: str) -> None:
    with pytest.raises(Refused) as caught:
        reference_documents.read(document(key))
    assert caught.value.code is Code.reference_invalid


def test_firmware_registers_that_nobody_wrote_are_refused_by_name() -> None:
    with pytest.raises(Refused, match="PCR 3 is all zeros: nothing was measured"):
        reference_documents.read(document("sha256/3/" + "00" * 32))


@pytest.mark.parametrize(
    "changes",
    [
        {"trust_config": "host_data"},
        {"trust_config": "Image"},
        {"trust_config": False},
        {"components": None},
        {"components": ["moon"]},
        {"components": ["kernel", "kernel"]},
        {"clock": "host"},
        {"name": ""},
        {"extra": 1},
    ],
)
def test_what_does_not_describe_a_register_is_refused(changes: Mapping[str, object]) -> None:
    with pytest.raises(Refused) as caught:
        reference_documents.read(document(**changes))
    assert caught.value.code is Code.reference_invalid


@given(
    st.lists(
        st.builds(
            Described,
            set_name=st.text(st.sampled_from("abc"), min_size=1, max_size=3),
            not_after=st.none() | st.datetimes(timezones=st.just(UTC)),
            value=st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["one", "two"]),
                    "components": st.lists(st.sampled_from(COMPONENTS), unique=True),
                    "clock": st.sampled_from([None, "protected"]),
                    "trust_config": st.sampled_from([None, "image"]),
                }
            ),
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda one: one.set_name,
    )
)
def test_an_overlap_of_registers_is_what_all_sets_say(found: list[Described]) -> None:
    entry, ends = reference_overlap.pcr(found)
    common = set.intersection(*(set(one.value["components"]) for one in found))
    assert set(entry["components"]) == common
    assert (entry["clock"] == "protected") == all(o.value["clock"] == "protected" for o in found)
    everywhere = all(o.value["trust_config"] == "image" for o in found)
    assert entry["trust_config"] == ("image" if everywhere else None)
    assert ends == min((o.not_after for o in found if o.not_after is not None), default=None)


def claims(tee: str, measured: Iterable[tuple[str, str, str]]) -> ClaimsDocument:
    items = [dict(zip(("name", "algorithm", "digest"), one, strict=True)) for one in measured]
    values: dict[str, wire_json.Canonical] = {
        "tee": tee, "product": "Milan", "measurements": items,
    }  # fmt: skip
    return ClaimsDocument(values, wire_json.canonical(values))


def viewed(plane: AdminPlane, seen: ClaimsDocument, now: datetime = START) -> ReferenceView:
    return plane.database.read(lambda tx: read_reference_view(tx, seen, now))


def documented(view: ReferenceView) -> Any:  # noqa: ANN401 - JSON
    found = wire_json.decode(view.document, what="reference", max_bytes=1 << 16)
    assert violations(found, schema("reference"), "reference") == []
    return found


def test_a_quote_sees_its_registers_and_nothing_else(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    references = plane.services.references
    references.import_set(alice, json.dumps(REFERENCE_SET).encode(), activate=True)
    references.import_set(alice, document(components=["kernel"]), activate=True)
    references.import_set(
        alice, document("sha256/8/" + "08" * 32, "more", trust_config="image"), activate=True
    )
    view = viewed(
        plane,
        claims(
            "tpm",
            [
                ("pcr7", "sha256", SHA256),
                ("pcr8", "sha256", "08" * 32),
                ("pcr9", "sha256", "08" * 32),  # the value of another register
                ("pcr10", "sha384", MEASUREMENT),  # the digest of a launch
            ],
        ),
    )
    eight = "sha256/8/" + "08" * 32
    found = documented(view)
    assert (found["measurement"], found["tcb_floor"]) == ({}, {})
    assert {key: entry["set"] for key, entry in found["pcr"].items()} == {
        SEVEN: "golden", eight: "more",
    }  # fmt: skip
    assert [(match.kind, match.key) for match in view.matches] == [("pcr", SEVEN), ("pcr", eight)]
    assert [dict(entry) for entry in view.entries] == list(found["pcr"].values())
    assert found["pcr"][eight]["trust_config"] == "image"
    assert found["pcr"][SEVEN]["components"] == ["kernel"]


def test_a_launch_sees_no_register(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    plane.services.references.import_set(alice, json.dumps(REFERENCE_SET).encode(), activate=True)
    plane.services.references.import_set(alice, document(), activate=True)
    seen = claims("snp", [("pcr7", "sha256", SHA256), ("launch", "sha384", MEASUREMENT)])
    view = viewed(plane, seen)
    assert set(documented(view)) == {"measurement", "tcb_floor"}
    assert {match.kind for match in view.matches} == {"measurement", "tcb_floor"}


def test_two_sets_that_name_a_register_are_heard_together(plane: AdminPlane) -> None:
    alice = plane.administrator().principal
    for name, components in (("a", ["kernel", "agent"]), ("b", ["kernel"])):
        plane.services.references.import_set(
            alice, document(name=name, components=components, trust_config="image"), activate=True
        )
    (entry,) = viewed(plane, claims("tpm", [("pcr7", "sha256", SHA256)])).entries
    assert (entry["set"], entry["components"]) == ("a, b", ["kernel"])


def test_a_withdrawn_register_is_known_nowhere_and_comes_back_on_purpose(
    plane: AdminPlane,
) -> None:
    alice = plane.administrator().principal
    references = plane.services.references
    seen = claims("tpm", [("pcr7", "sha256", SHA256)])
    for name in ("a", "b"):
        references.import_set(alice, document(name=name), activate=True)
    withdrawn = references.withdraw(alice, "a", "pcr", SEVEN, reason="a boot loader with a hole")
    assert withdrawn.withdraw_reason
    assert viewed(plane, seen).entries == ()
    with pytest.raises(Refused) as caught:
        references.import_set(alice, document(name="c"), activate=True)
    assert caught.value.code is Code.reference_withdrawn
    with pytest.raises(Conflict):
        references.withdraw(alice, "b", "pcr", SEVEN, reason="once more")
    references.reinstate(alice, "b", "pcr", SEVEN, reason="it was another one")
    assert len(viewed(plane, seen).entries) == 1
    assert [v.key for v in references.values(alice, "a", limit=10, after=None).items] == [SEVEN]
