"""Measurement lists: the parser is total, and any split into increments gives the same."""

from __future__ import annotations

import hashlib
import os
import struct
from itertools import pairwise

import pytest
from fakes import software_tpm
from fakes.file_signer import FileSigner
from fakes.ima_kernel import ImaKernel, d_ng, digest_of, name, sized
from fakes.software_tpm import SoftwareTpm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from property import strategies

from sealward.verifier.composite import ima_log
from sealward.verifier.composite.ima_log import ConfirmedList, ListPart
from sealward.verifier.formats.ima import keys as file_keys
from sealward.verifier.formats.ima import measurements
from sealward.verifier.formats.ima import state as states
from sealward.verifier.formats.ima.measurements import Entry
from sealward.verifier.formats.ima.state import State
from sealward.verifier.formats.tpm import public, quote
from sealward.verifier.formats.tpm.pcr import PcrBank
from sealward.verifier.formats.tpm.quote import VerifiedQuote
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

EXAMPLES = settings(
    max_examples=int(os.environ.get("SEALWARD_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
BANKS = ("sha256", "sha384")
DIGEST = bytes(range(32))
SIGNER = FileSigner()
KEYS = (file_keys.of_certificate(SIGNER.certificate()),)
SIGNATURES = [SIGNER.sign(digest_of(bytes((content,)))) for content in range(4)]


def every_template() -> ImaKernel:
    kernel = ImaKernel()
    kernel.boot(dict.fromkeys(range(10), bytes(32)))
    kernel.measure("/usr/bin/agent", b"agent", SIGNER.sign(digest_of(b"agent")))
    kernel.measure(b"/srv/\xff", b"bytes")
    kernel.violate("/var/log/wtmp", digest_size=20)
    kernel.measure_buffer("kexec-cmdline", b"root=/dev/vda")
    kernel.append(
        b"ima-sigv2", d_ng(DIGEST, "verity:sha256"), name("/bin/sh"), SIGNER.sign_verity(DIGEST)
    )
    kernel.append(b"ima-modsig", d_ng(DIGEST), name("/m.ko"), b"", d_ng(DIGEST), b"PKCS#7")
    kernel.append(b"d-ng|n-ng|imode", d_ng(DIGEST), name("/bin/sh"), b"\xed\x81")
    kernel.append_first("/usr/bin/old", DIGEST[:20])
    return kernel


LISTS = {
    HashAlg[bank.upper()]: (every_template().runtime_measurements(bank),)
    for bank in ("sha1", "sha256")
}


def written(entry: Entry) -> bytes:
    """The entry in the list's form, from the format's description and not from the parser."""
    head = struct.pack("<I", entry.register) + entry.digest + sized(entry.template)
    return head + (entry.data if entry.template == b"ima" else sized(entry.data))


@pytest.mark.parametrize("template_hash", LISTS)
@EXAMPLES
@given(data=st.data())
def test_a_list_reads_as_entries_that_write_it_again_or_is_malformed(
    template_hash: HashAlg, data: DataObject
) -> None:
    drawn = data.draw(strategies.hostile(LISTS[template_hash]))
    try:
        entries = measurements.parse(drawn, template_hash)
    except MalformedEvidence:
        return
    assert b"".join(map(written, entries)) == drawn


@pytest.mark.parametrize("template_hash", LISTS)
def test_the_seeds_of_these_properties_are_valid(template_hash: HashAlg) -> None:
    entries = measurements.parse(LISTS[template_hash][0], template_hash)
    assert len(entries) == len(every_template().appended)
    assert b"".join(map(written, entries)) == LISTS[template_hash][0]


def quoted(registers: dict[str, bytes]) -> VerifiedQuote:
    tpm = SoftwareTpm(
        kind="p256",
        scheme=("ecdsa", "sha256"),
        banks={bank: {10: value} for bank, value in registers.items()},
    )
    message = tpm.message(bytes(32))
    pcrs = tuple(
        PcrBank(HashAlg[bank.upper()], tuple(values.items())) for bank, values in tpm.banks.items()
    )
    return quote.authenticate(message, tpm.sign(message), public.parse(tpm.ak_public), pcrs)


def confirm(part: ListPart, registers: dict[str, bytes], before: State | None) -> ConfirmedList:
    return ima_log.confirm(part, quoted(registers), before=before, now=software_tpm.NOW, keys=KEYS)


WHOLE = every_template()
STATE = confirm(ListPart(first=0, data=WHOLE.runtime_measurements()), WHOLE.registers, None).state


@EXAMPLES
@given(data=st.data())
def test_a_kept_state_reads_as_what_was_kept_or_is_malformed(data: DataObject) -> None:
    drawn = data.draw(strategies.hostile((states.encode(STATE),)))
    try:
        state = states.parse(drawn)
    except MalformedEvidence:
        return
    assert states.encode(state) == drawn


def test_a_kept_state_is_read_and_written_back() -> None:
    assert states.parse(states.encode(STATE)) == STATE
    assert len(STATE.measured) == len(WHOLE.appended) - 2  # neither aggregate nor violation
    assert sum(item.signer == SIGNER.sha256 for item in STATE.measured) == 2


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["file", "signed", "violation", "boot_aggregate", "old", "buffer"]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=14,
)


def run(kernel: ImaKernel, what: str, path: int, content: int) -> None:
    data = bytes((content,))
    match what:
        case "file":
            kernel.measure(f"/usr/bin/{path}", data)
        case "signed":
            kernel.measure(f"/usr/bin/{path}", data, SIGNATURES[content])
        case "violation":
            kernel.violate(f"/usr/bin/{path}")
        case "boot_aggregate":
            kernel.append_ng("boot_aggregate", hashlib.sha256(data).digest())
        case "old":
            kernel.append_first(f"/usr/bin/{path}", hashlib.sha256(data).digest()[:20])
        case _:
            kernel.measure_buffer(f"buffer-{path}", data)


@EXAMPLES
@given(events=_EVENTS, data=st.data())
def test_any_split_into_increments_gives_the_claims_and_the_state_of_the_whole(
    events: list[tuple[str, int, int]], data: DataObject
) -> None:
    kernel = ImaKernel(banks=BANKS)
    history = [dict(kernel.registers)]
    for event in events:
        run(kernel, *event)
        history.append(dict(kernel.registers))
    quoted_at = data.draw(st.integers(0, len(events)))
    whole = confirm(ListPart(first=0, data=kernel.runtime_measurements()), history[quoted_at], None)
    assert whole.log.entries == quoted_at
    assert whole.log.not_proven == len(events) - quoted_at
    cuts = sorted(data.draw(st.sets(st.integers(0, quoted_at))) | {0, quoted_at})
    state: State | None = None
    for start, end in pairwise([0, *cuts]):
        seen_late = data.draw(st.integers(end, len(events)))
        lines = [entry.line("sha1") for entry in kernel.appended[start:seen_late]]
        part = ListPart(first=start, data=b"".join(lines))
        state = states.parse(states.encode(confirm(part, history[end], state).state))
    assert state == whole.state
    last = ListPart(first=quoted_at, data=kernel.runtime_measurements(first=quoted_at))
    assert confirm(last, history[quoted_at], state) == whole


@EXAMPLES
@given(data=st.data())
def test_a_damaged_list_is_refused_or_proves_what_the_kernel_measured(data: DataObject) -> None:
    honest = WHOLE.runtime_measurements()
    drawn = data.draw(strategies.hostile((honest,)))
    try:
        found = confirm(ListPart(first=0, data=drawn), WHOLE.registers, None)
    except (MalformedEvidence, RefusedEvidence):
        return
    assert found.state == STATE
