"""TPM structures and event logs: every parser is total, and a replay is what a naive model says."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from fakes import software_tpm, tpm_vectors
from fakes.software_tpm import EndorsementKey, SoftwareTpm
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, DrawFn
from property import strategies

from sealward.verifier.composite import tpm_files, tpm_node
from sealward.verifier.formats.event_log import ccel, facts
from sealward.verifier.formats.event_log import log as logs
from sealward.verifier.formats.event_log import replay as replays
from sealward.verifier.formats.event_log.log import Digest, Event, Header, Log
from sealward.verifier.formats.tpm import (
    attest,
    endorsement,
    evidence,
    pcr,
    pcr_file,
    quote,
    signature,
)
from sealward.verifier.formats.tpm import public as publics
from sealward.verifier.formats.tpm.endorsement import EndorsementRoot
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

EXAMPLES = settings(
    max_examples=int(os.environ.get("SEALWARD_EXAMPLES", "60")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TPM = SoftwareTpm(kind="p256", scheme=("ecdsa", "sha256"))
MESSAGE = TPM.message(bytes(32))
SIGNATURE = TPM.sign(MESSAGE)
PCRS = tuple(
    PcrBank(HashAlg[bank.upper()], tuple(sorted(values.items())))
    for bank, values in TPM.banks.items()
)
EK = EndorsementKey(kind="p256")


def record(register: int, kind: int, data: bytes) -> bytes:
    head = struct.pack("<III", register, kind, 1) + struct.pack("<H", 0xB)
    return head + hashlib.sha256(data).digest() + struct.pack("<I", len(data)) + data


def small_log() -> bytes:
    spec = b"Spec ID Event03\0" + struct.pack("<I", 0) + bytes((0, 2, 0, 2))
    spec += struct.pack("<IHHB", 1, 0xB, 32, 3) + b"abc"
    head = struct.pack("<II", 0, 3) + bytes(20) + struct.pack("<I", len(spec)) + spec
    records = (
        record(0, 3, b"StartupLocality\0\x03"),
        record(0, 4, bytes(4)),
        record(8, 0xD, b"x\0"),
    )
    return head + b"".join(records)


def sha1_log() -> bytes:
    data = b"POST CODE"
    digest = hashlib.sha1(data, usedforsecurity=False).digest()
    return (struct.pack("<II", 0, 1) + digest + struct.pack("<I", len(data)) + data) * 3


def tools_file() -> bytes:
    head = struct.pack("<I", 1) + struct.pack("<HB", 0xB, 3) + (0x81).to_bytes(4, "little") + b"\0"
    head = head.ljust(4 + 16 * 8, b"\0") + struct.pack("<I", 1)
    digests = b"".join(struct.pack("<H", 32) + bytes((n,)) * 32 + bytes(32) for n in (1, 7))
    return head + (struct.pack("<I", 2) + digests).ljust(4 + 8 * 66, b"\0")


SEEDS: dict[str, tuple[bytes, ...]] = {
    "attest": (
        MESSAGE,
        b"\xffTCG\x80\x17"
        + MESSAGE[6:101]
        + (b"\x00\x22" + software_tpm.name_of(TPM.ak_public)) * 2,
    ),
    "signature": (SIGNATURE, SoftwareTpm().sign(b"x")),
    "public": (TPM.ak_public, SoftwareTpm().ak_public, EK.public),
    "sized": (software_tpm.tpm2b(TPM.ak_public), software_tpm.tpm2b(EK.public)),
    "pcr-file": (tools_file(),),
    "payload": (
        evidence.encode(
            evidence.Evidence(
                message=MESSAGE,
                signature=SIGNATURE,
                ak_public=TPM.ak_public,
                pcrs=PCRS,
                event_log=small_log(),
                ek_certificate=software_tpm.ek_certificate(EK),
                ek_public=EK.public,
                lock_public=software_tpm.lock_object(TPM.banks),
            )
        ),
    ),
    "log": (small_log(), small_log() + bytes(40), small_log() + b"\xff" * 9, sha1_log()),
    "ccel": (
        ccel.encode_table(
            ccel.Table(
                revision=1,
                oem=bytes(range(26)),
                type=ccel.CcType.TDX,
                subtype=0,
                log_size=65536,
                log_address=1 << 40,
            )
        ),
    ),
}
PARSERS: dict[str, Callable[[bytes], bytes]] = {
    "attest": lambda data: attest.encode(attest.parse(data)),
    "signature": lambda data: signature.encode(signature.parse(data)),
    "public": lambda data: publics.encode(publics.parse(data)),
    "sized": lambda data: software_tpm.tpm2b(publics.encode(publics.parse_sized(data))),
    "pcr-file": lambda data: data if pcr_file.parse(data) else b"",
    "payload": lambda data: evidence.encode(evidence.parse(data)),
    "log": lambda data: logs.encode(logs.parse(data)),
    "ccel": lambda data: ccel.encode_table(ccel.parse_table(data)),
}


@pytest.fixture(scope="module")
def corpus(request: pytest.FixtureRequest) -> dict[str, tuple[bytes, ...]]:
    """Minted bytes of every format, and real ones where they are."""
    found = {name: list(seeds) for name, seeds in SEEDS.items()}
    folder: Path | None = None
    with suppress(pytest.skip.Exception):
        folder = request.getfixturevalue("vectors_dir")
    if folder is not None:
        for vector in tpm_vectors.load(folder, "tpm-eventlog", "ccel-eventlog").values():
            data = vector.read("event_log")
            found["log"].append(data.rstrip(b"\xff")[:8192])
        for vector in tpm_vectors.load(folder, "tpm").values():
            for role, path in vector.paths.items():
                if role in {"quote_msg", "q.msg"}:
                    found["attest"].append(path.read_bytes())
    return {name: tuple(seeds) for name, seeds in found.items()}


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_valid_is_read_and_written_back(name: str) -> None:
    for seed in SEEDS[name]:
        assert PARSERS[name](seed) == seed


@pytest.mark.parametrize("name", PARSERS)
@EXAMPLES
@given(data=st.data())
def test_a_parser_returns_what_encodes_to_its_input_or_its_one_error(
    corpus: dict[str, tuple[bytes, ...]], name: str, data: DataObject
) -> None:
    drawn = data.draw(strategies.hostile(corpus[name]))
    try:
        again = PARSERS[name](drawn)
    except MalformedEvidence:
        return
    assert again == drawn


@EXAMPLES
@given(data=st.data())
def test_recognising_a_part_is_total(
    corpus: dict[str, tuple[bytes, ...]], data: DataObject
) -> None:
    seeds = tuple(seed for name in corpus for seed in corpus[name])
    with suppress(MalformedEvidence):
        tpm_files.recognise(data.draw(strategies.hostile(seeds)))


@EXAMPLES
@given(data=st.data())
def test_no_damaged_part_of_a_quote_is_accepted(data: DataObject) -> None:
    parts = [MESSAGE, SIGNATURE, TPM.ak_public]
    at = data.draw(st.integers(0, 2))
    parts[at] = data.draw(strategies.hostile((parts[at],)))
    try:
        quote.authenticate(parts[0], parts[1], publics.parse(parts[2]), PCRS)
    except (MalformedEvidence, RefusedEvidence):
        return
    # Leading zeros of r and s are the one freedom that a signature has.
    assert (parts[0], parts[2]) == (MESSAGE, TPM.ak_public)
    theirs, ours = signature.parse(parts[1]), signature.parse(SIGNATURE)
    assert [part.lstrip(b"\0") for part in theirs.parts] == [
        part.lstrip(b"\0") for part in ours.parts
    ]


@st.composite
def selections(draw: DrawFn) -> tuple[tuple[str, int, frozenset[int]], ...]:
    """Banks of a quote, each with the size of its bitmap and its PCRs; also of no real TPM."""
    labels = draw(st.permutations(("sha1", "sha256", "sha384")))
    found = []
    for label in labels[: draw(st.integers(1, 3))]:
        size = draw(st.integers(0, 5))
        indices = st.frozensets(st.integers(0, max(8 * size - 1, 0)), max_size=3 if size else 0)
        found.append((label, size, draw(indices)))
    return tuple(found)


def quoting(banks: tuple[tuple[str, int, frozenset[int]], ...]) -> tuple[bytes, bytes]:
    """A quote of whatever PCRs, and a payload whose keys, digests and lock object are right."""
    values = {
        label: {
            index: hashlib.new(label, bytes((index,)), usedforsecurity=False).digest()
            for index in sorted(indices)
        }
        for label, _, indices in banks
    }
    selected = struct.pack(">I", len(banks)) + b"".join(
        struct.pack(">HB", software_tpm.ALG[label], size)
        + sum(1 << index for index in indices).to_bytes(size, "little")
        for label, size, indices in banks
    )
    digest = hashlib.sha256(b"".join(v for some in values.values() for v in some.values())).digest()
    end = software_tpm.tpm2b(digest)
    none = replace(TPM, banks={}).message(bytes(32), digest=digest)
    message = none.removesuffix(bytes(4) + end) + selected + end
    usual = {
        label: {index: value for index, value in some.items() if index < 24 and index != 10}
        for label, some in values.items()
    }
    payload = {
        1: message,
        2: TPM.sign(message),
        3: TPM.ak_public,
        4: sorted(
            [software_tpm.ALG[label], [[*pair] for pair in some.items()]]
            for label, some in values.items()
            if some
        ),
        5: None,
        6: SEEDS_CERTIFICATE,
        7: EK.public,
        8: software_tpm.lock_object({label: some for label, some in usual.items() if some}),
    }
    return message, cbor2.dumps(payload, canonical=True)


@EXAMPLES
@given(banks=selections())
@example(banks=(("sha256", 4, frozenset({0, 31})),))
@example(banks=(("sha256", 4, frozenset({0, 23})),))
@example(banks=(("sha256", 3, frozenset({10})),))
def test_a_signed_quote_of_any_selection_is_verified_with_its_lock_or_refused(
    banks: tuple[tuple[str, int, frozenset[int]], ...],
) -> None:
    message, payload = quoting(banks)
    selected = {index for _, _, indices in banks for index in indices}
    known = all(1 <= size <= 4 for _, size, _ in banks) and max(selected, default=0) < 24
    try:
        assert attest.encode(attest.parse(message)) == message
    except MalformedEvidence:
        assert not known
    else:
        assert known
    trust = tpm_node.Trust(roots=(EndorsementRoot(software_tpm.root_certificate_once()),))
    try:
        node = tpm_node.authenticate(evidence.parse(payload), trust=trust, now=software_tpm.NOW)
    except (MalformedEvidence, RefusedEvidence):
        assert not known or selected <= {10}
    else:
        assert known
        assert node.lock is not None


@EXAMPLES
@given(data=st.data())
def test_no_damaged_certificate_is_endorsed(data: DataObject) -> None:
    whole = SEEDS_CERTIFICATE
    drawn = data.draw(strategies.hostile((whole,)))
    root = EndorsementRoot(software_tpm.root_certificate_once())
    try:
        endorsement.endorse(drawn, (), roots=(root,), now=software_tpm.NOW)
    except (MalformedEvidence, RefusedEvidence):
        return
    assert drawn == whole


SEEDS_CERTIFICATE = software_tpm.ek_certificate(EK)

_BANKS = st.sampled_from(
    [
        (HashAlg.SHA1,),
        (HashAlg.SHA256,),
        (HashAlg.SHA256, HashAlg.SHA384),
        (HashAlg.SHA384,),
        (HashAlg.SM3_256,),
    ]
)
_EVENTS = st.lists(
    st.tuples(
        st.integers(0, 23),
        st.sampled_from([1, 3, 4, 5, 0xD, 0x80000001, 0x80000003]),
        st.binary(max_size=40),
    ),
    max_size=12,
)


def built(banks: tuple[HashAlg, ...], events: list[tuple[int, int, bytes]]) -> Log:
    header = Header(
        register=0,
        platform_class=0,
        version=(2, 0, 0),
        uintn_size=2,
        algorithms=tuple((int(bank), bank.size) for bank in banks),
        vendor_info=b"",
    )
    return Log(
        header,
        tuple(
            Event(
                register,
                kind,
                tuple(Digest(int(bank), bank.digest(data)) for bank in banks),
                data,
            )
            for register, kind, data in events
        ),
        (0, 0),
    )


@EXAMPLES
@given(banks=_BANKS, events=_EVENTS, locality=st.sampled_from([None, 0, 3, 4]))
def test_a_replay_equals_a_naive_model(
    banks: tuple[HashAlg, ...], events: list[tuple[int, int, bytes]], locality: int | None
) -> None:
    label = b"StartupLocality\0"  # Hypothesis knows it from the code; the next test is about it
    assume(not any(kind == 3 and data.startswith(label) for _, kind, data in events))
    if locality is not None:
        events = [(0, 3, label + bytes((locality,))), *events]
    log = logs.parse(logs.encode(built(banks, events)))
    replay = replays.replay(log)
    assert [bank for bank, _ in replay.banks] == list(banks)
    for bank in banks:
        for register in range(24):
            value = bytes(bank.size)
            touched = False
            if register == 0 and locality is not None:
                value, touched = bytes(bank.size - 1) + bytes((locality,)), True
            for at, kind, data in events:
                if at == register and kind != 3:
                    value, touched = bank.digest(value + bank.digest(data)), True
            assert replay.value(bank, register) == (value if touched else None)
    for register in replay.repeated_separators:
        assert sum(1 for at, kind, _ in events if (at, kind) == (register, 4)) > 1
    facts.extract(log, banks[0], replay.repeated_separators)


def test_a_startup_locality_in_the_wrong_place_is_refused() -> None:
    locality = (0, 3, b"StartupLocality\0\x03")
    extended = (0, 5, b"action")
    for events in (
        [extended, locality],
        [locality, locality],
        [(1, 3, locality[2])],
        [(0, 3, b"StartupLocality\0\x02")],
        [(0, 3, b"StartupLocality\0")],
    ):
        with pytest.raises(RefusedEvidence):
            replays.replay(built((HashAlg.SHA256,), events))
    replays.replay(built((HashAlg.SHA256,), [(1, 5, b"x"), locality, extended]))


def test_no_action_events_never_extend_and_other_no_actions_are_ignored() -> None:
    log = built((HashAlg.SHA256,), [(0xFFFFFFFF, 3, b"SP800-155 Event3"), (3, 3, b"anything")])
    assert replays.replay(logs.parse(logs.encode(log))).banks == ((HashAlg.SHA256, ()),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        small_log()[:-1],
        small_log() + b"\0" * 12 + b"\1",
        small_log() + b"\xff" * 12 + b"\0",
        small_log().replace(struct.pack("<IHH", 1, 0xB, 32), struct.pack("<IHH", 1, 0xB, 31)),
        small_log().replace(struct.pack("<IHH", 1, 0xB, 32), struct.pack("<IHH", 9, 0xB, 32)),
        small_log().replace(
            struct.pack("<II", 8, 0xD) + struct.pack("<I", 1), struct.pack("<III", 8, 0xD, 2)
        ),
        small_log()[:-6] + struct.pack("<I", logs.MAX_EVENT_BYTES + 1) + b"x\0",
        bytes(logs.MAX_LOG_BYTES + 1),
    ],
    ids=["empty", "cut", "zero", "ff", "size", "hashes", "count", "event", "budget"],
)
def test_a_log_outside_its_format_or_budgets_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        logs.parse(data)


def test_a_log_with_too_many_events_is_malformed() -> None:
    whole = small_log()
    one = record(1, 1, b"")
    logs.parse(whole + one * (logs.MAX_EVENTS - 3))
    with pytest.raises(MalformedEvidence):
        logs.parse(whole + one * (logs.MAX_EVENTS - 2))


def test_raw_pcr_values_have_exactly_the_size_of_the_selection() -> None:
    selections = quote.require_quote(attest.parse(MESSAGE)).selections
    raw = b"".join(digest for bank in PCRS for _, digest in bank.values)
    assert pcr.split_raw(raw, selections) == PCRS
    for wrong in (raw[1:], raw + b"\0", b""):
        with pytest.raises(MalformedEvidence):
            pcr.split_raw(wrong, selections)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 0),
        (0, 17),
        (4, 0xFE),
        (6, 5),
        (10, 0x80),
        (11, 1),
        (12, 1),
        (132, 33),
        (136, 9),
        (136, 0),
    ],
)
def test_a_pcr_file_with_one_byte_out_of_its_format_is_malformed(at: int, value: int) -> None:
    data = bytearray(tools_file())
    data[at] = value
    with pytest.raises(MalformedEvidence):
        pcr_file.parse(bytes(data))


def variable(name: bytes, content: bytes) -> bytes:
    vendor = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")  # EFI_GLOBAL_VARIABLE
    return vendor + struct.pack("<QQ", len(name) // 2, len(content)) + name + content


def test_facts_are_authenticated_only_where_firmware_alone_can_have_put_them() -> None:
    on = variable("SecureBoot".encode("utf-16-le"), b"\x01")
    driver = 0x80000001
    events = [(7, driver, on), (7, 4, bytes(4)), (7, driver, on)]
    found = facts.extract(built((HashAlg.SHA256,), events), HashAlg.SHA256, ())
    assert [(fact.value, fact.standing) for fact in found] == [
        ("enabled", facts.Standing.AUTHENTICATED),
        ("enabled", facts.Standing.DESCRIBED),
    ]
    found = facts.extract(built((HashAlg.SHA256,), events), HashAlg.SHA256, (7,))
    assert {fact.standing for fact in found} == {facts.Standing.DESCRIBED}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (0x80000001, b"short"),
        (0x80000001, variable(b"\x00\xd8", b"\x01")),
        (0x80000001, variable("Other".encode("utf-16-le"), b"\x01")),
        (0x80000001, variable("SecureBoot".encode("utf-16-le"), b"\x02")),
        (0xD, b"grub_cmd: ls"),
    ],
)
def test_what_is_not_understood_says_nothing(kind: int, data: bytes) -> None:
    assert facts.extract(built((HashAlg.SHA256,), [(7, kind, data)]), HashAlg.SHA256, ()) == ()
