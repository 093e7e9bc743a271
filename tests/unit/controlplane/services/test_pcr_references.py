"""Reference values of TPM registers: a set describes one boot, or is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealward.controlplane.domain import boots
from sealward.controlplane.domain.errors import Code, Refused
from sealward.controlplane.domain.reference_values import COMPONENTS
from sealward.controlplane.services import reference_documents, reference_overlap
from sealward.controlplane.services.reference_overlap import Described

SHA256 = "0a" * 32
SEVEN = f"sha256/7/{SHA256}"
FIRMWARE = tuple(f"sha256/{index}/{SHA256}" for index in range(8))


def item(key: str, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - any member
    value = {"name": "n", "components": [], "trust_config": None, **changes}
    return {"kind": "pcr", "key": key, "value": value}


def document(*items: dict[str, Any]) -> bytes:
    return json.dumps({"name": "golden", "not_after": None, "values": items}).encode()


def with_one(key: str, **changes: Any) -> bytes:  # noqa: ANN401 - any member
    """A whole boot in the bank of `key`, in which this value takes the place of its register's."""
    bank, index, value = (*key.split("/"), "", "")[:3]
    others = [f"{bank}/{n}/{'0b' * (len(value) // 2)}" for n in range(8) if str(n) != index]
    return document(*map(item, others), item(key, **changes))


def refusal(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        reference_documents.read(data)
    assert caught.value.code is Code.reference_invalid
    return caught.value.detail


# What one value says.


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (SEVEN, {}),
        (SEVEN, {"components": list(COMPONENTS), "trust_config": "image"}),
        ("sha384/0/" + "0a" * 48, {}),
        ("sha512/22/" + "0a" * 64, {}),
        ("sha256/8/" + "0a" * 32, {"components": ["kernel"]}),
        ("sha256/9/" + "00" * 32, {}),  # nothing measures there on many machines
        ("sha256/17/" + "ff" * 32, {}),  # nor starts there what could
        ("sha256/0/" + "00" * 31 + "05", {}),  # no locality
        ("sha256/8/" + "00" * 31 + "04", {"components": ["kernel"]}),  # nobody starts PCR 8 in one
    ],
)
def test_a_register_is_read_as_it_was_written(key: str, changes: Mapping[str, object]) -> None:
    read = reference_documents.read(with_one(key, **changes)).values[-1]
    assert (read.kind, read.key) == ("pcr", key)
    assert json.loads(read.value) == item(key, **changes)["value"]  # noqa: TID251 - our own output


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
    ],
)
def test_what_is_no_key_of_a_register_is_refused(key: str) -> None:
    others = [item(f"sha256/{n}/{SHA256}") for n in range(7)]
    assert "key is not <bank>/<index>/<hex value>" in refusal(document(*others, item(key)))


@pytest.mark.parametrize(
    "changes",
    [
        {"trust_config": "host_data"},
        {"trust_config": "Image"},
        {"trust_config": False},
        {"components": None},
        {"components": ["moon"]},
        {"components": ["kernel", "kernel"]},
        {"name": ""},
        {"extra": 1},
        {"clock": None},
        {"clock": "protected"},
    ],
)
def test_what_does_not_describe_a_register_is_refused(changes: Mapping[str, object]) -> None:
    assert "values[7]" in refusal(with_one(SEVEN, **changes))


# Registers and values that prove nothing.


@pytest.mark.parametrize("index", [10, 16, 23, 24, 31])
def test_a_register_that_others_than_a_boot_write_is_refused(index: int) -> None:
    assert f"PCR {index} " in refusal(with_one(f"sha256/{index}/{SHA256}"))


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize(
    "value",
    ["ff" * 32, *("00" * 31 + f"0{n}" for n in range(5))],
)
def test_firmware_registers_that_nobody_wrote_are_refused(index: int, value: str) -> None:
    told = refusal(with_one(f"sha256/{index}/{value}"))
    assert f"PCR {index} is " in told
    assert "nothing was measured into it" in told


@pytest.mark.parametrize("value", ["00" * 32, "ff" * 32])
@pytest.mark.parametrize("said", [{"components": ["agent"]}, {"trust_config": "image"}])
@pytest.mark.parametrize("index", [8, 17])
def test_a_register_that_nobody_wrote_covers_nothing(
    index: int, said: Mapping[str, object], value: str
) -> None:
    told = refusal(with_one(f"sha256/{index}/{value}", **said))
    assert f"PCR {index} is all {'zeros' if value[0] == '0' else 'ones'}" in told


# A set describes one boot.


def test_two_values_of_one_register_are_two_boots() -> None:
    told = refusal(document(*map(item, FIRMWARE), item("sha256/4/" + "0b" * 32)))
    assert told == (
        "a set describes one boot of a TPM, and it has two values of PCR 4: make a set for each"
        " boot"
    )


def test_two_banks_are_two_histories() -> None:
    told = refusal(document(*map(item, FIRMWARE), item("sha384/8/" + "0a" * 48)))
    assert "banks sha256 and sha384" in told


@pytest.mark.parametrize("index", range(8))
def test_a_boot_is_described_by_all_of_pcrs_0_to_7(index: int) -> None:
    rest = [item(key) for key in FIRMWARE if f"/{index}/" not in key]
    assert f"it has no value of PCR {index}" in refusal(document(*rest))


def test_a_boot_may_stand_beside_values_of_other_kinds() -> None:
    other = {"kind": "file", "key": SHA256, "value": {"name": "/usr/bin/agent"}}
    read = reference_documents.read(document(*map(item, FIRMWARE), other))
    assert len(read.values) == 9
    assert len(reference_documents.read(document(other)).values) == 1


@given(
    st.sampled_from(boots.PCR_BANKS),
    st.integers(0, 31),
    st.binary(min_size=64, max_size=64),
)
def test_a_register_is_known_again_by_its_key(bank: Any, index: int, value: bytes) -> None:  # noqa: ANN401 - HashAlg
    register = boots.Register(bank.label, index, value[: bank.size].hex())
    assert boots.register_of(register.key) == register


# What several sets say.


DESCRIPTIONS = st.lists(
    st.builds(
        Described,
        set_name=st.text(st.sampled_from("abc"), min_size=1, max_size=3),
        not_after=st.none() | st.datetimes(timezones=st.just(UTC)),
        value=st.fixed_dictionaries(
            {
                "name": st.sampled_from(["one", "two"]),
                "components": st.lists(st.sampled_from(COMPONENTS), unique=True),
                "trust_config": st.sampled_from([None, "image"]),
            }
        ),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one.set_name,
)


@given(DESCRIPTIONS)
def test_a_boot_of_several_sets_is_what_all_say(found: list[Described]) -> None:
    entry, ends = reference_overlap.boot(found)
    common = set.intersection(*(set(one.value["components"]) for one in found))
    assert set(entry["components"]) == common
    everywhere = all(o.value["trust_config"] == "image" for o in found)
    assert entry["trust_config"] == ("image" if everywhere else None)
    assert ends == min((o.not_after for o in found if o.not_after is not None), default=None)
    assert entry["clock"] is None
