"""Whatever an Azure or Google guest sends, and whatever a log says: a value or a documented error.

Where a parser has an encoder, what it returns encodes to what arrived.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from fakes import azure_machines, azure_vtpm, dcap_fixtures, google_cas, tpm_vectors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject
from property import strategies
from unit.verifier.composite.test_tpm_node import LOG, evidence_of
from unit.verifier.composite.test_tpm_node import TPM as LOGGED

from sealward.verifier import registry
from sealward.verifier.composite import azure_evidence, measured_boot, td_boot
from sealward.verifier.formats.event_log import dstack
from sealward.verifier.formats.gce import evidence as gce_evidence
from sealward.verifier.formats.gce import instance
from sealward.verifier.formats.hcl import report, runtime, td_report
from sealward.verifier.formats.tpm import evidence as tpm_evidence
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.errors import MalformedEvidence, RefusedEvidence
from sealward.verifier.rats.evidence import GOOGLE_EVIDENCE, Record, encode
from sealward.verifier.registry import Context
from sealward.verifier.wire import cbor

# `make soak` sets more. No database: minted keys differ from run to run, and so do the examples.
EXAMPLES = settings(
    max_examples=int(os.environ.get("SEALWARD_EXAMPLES", "60")),
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
RUNTIME = azure_vtpm.claims(azure_machines.public_key(), azure_machines.BOUND)
REPORTS = tuple(azure_vtpm.mint_report(tee, RUNTIME) for tee in (azure_vtpm.SNP, azure_vtpm.TDX))
DSTACK = json.dumps(
    [
        {"imr": 0, "event_type": 4, "digest": "11" * 48, "event": "", "event_payload": ""},
        {"imr": 3, "event_type": 134217729, "digest": "", "event": "a", "event_payload": "01"},
    ]
).encode()


@cache
def azure() -> tuple[azure_machines.Azure, ...]:
    return azure_machines.on_snp(), azure_machines.on_tdx()


@cache
def google() -> bytes:
    tpm = tpm_evidence.encode(evidence_of())
    chain = (google_cas.ak_certificate(LOGGED), google_cas.root())
    return gce_evidence.encode(gce_evidence.Evidence(tpm, chain))


@cache
def _seeds(name: str) -> tuple[bytes, ...]:
    """Valid input of each parser; made at its first use, for keys take time."""
    found: dict[str, Callable[[], tuple[bytes, ...]]] = {
        "hcl report": lambda: REPORTS,
        "runtime claims": lambda: (RUNTIME, azure_vtpm.claims(azure_machines.public_key(), None)),
        "td report": lambda: (azure_machines.td_report(dcap_fixtures.TD),),
        "azure payload": lambda: tuple(cbor.encode(machine.members) for machine in azure()),
        "google payload": lambda: (google(),),
        "gce instance": lambda: (google_cas.instance(), google_cas.instance(tail=b"")),
        "dstack log": lambda: (DSTACK,),
    }
    return found[name]()


def _reads(read: Callable[[bytes], object]) -> Callable[[bytes], bytes]:
    def again(data: bytes) -> bytes:
        read(data)
        return data

    return again


PARSERS: dict[str, Callable[[bytes], bytes]] = {
    "hcl report": lambda data: report.encode(report.parse(data)),
    "runtime claims": _reads(runtime.parse),
    "td report": _reads(td_report.parse),
    "azure payload": _reads(azure_evidence.parse),
    "google payload": lambda data: gce_evidence.encode(gce_evidence.parse(data)),
    "gce instance": _reads(instance.parse),
    "dstack log": _reads(dstack.parse),
}


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_valid_is_read_and_written_back(name: str) -> None:
    for seed in _seeds(name):
        assert PARSERS[name](seed) == seed


@pytest.mark.parametrize("name", PARSERS)
@EXAMPLES
@given(data=st.data())
def test_a_parser_returns_what_encodes_to_its_input_or_its_documented_error(
    name: str, data: DataObject
) -> None:
    drawn = data.draw(strategies.hostile(_seeds(name)))
    try:
        again = PARSERS[name](drawn)
    except MalformedEvidence:
        return
    except RefusedEvidence:
        assert name == "td report"  # whose hashes are part of reading it
        return
    assert again == drawn


@EXAMPLES
@given(data=st.data())
def test_no_damaged_evidence_of_azure_is_accepted(data: DataObject) -> None:
    machine = data.draw(st.sampled_from(azure()))
    name = data.draw(st.sampled_from([1, 2, 3, 4, 8]))
    original = machine.members[name]
    if original is None:
        return
    drawn = data.draw(strategies.hostile((original,)))
    try:
        found = machine.changed(**{f"m{name}": drawn}).verify()
    except (MalformedEvidence, RefusedEvidence):
        return
    # What nobody signed: the MAC and CPU_SVN of a TDREPORT, what a public area says of its key
    # besides the key, and the padding of a quote.
    assert drawn == original or name in (1, 4, 8)
    assert found.claims.report_data == azure_machines.BOUND.hex()


@EXAMPLES
@given(data=st.data())
def test_verifying_evidence_of_google_is_total(data: DataObject) -> None:
    drawn = data.draw(strategies.hostile((google(),)))
    context = Context(google_cas.anchors(), azure_machines.NOW, ChainCache())
    with suppress(MalformedEvidence, RefusedEvidence):
        registry.authenticate(encode(Record(GOOGLE_EVIDENCE, drawn)), context)


@pytest.fixture(scope="module")
def event_logs(request: pytest.FixtureRequest) -> tuple[bytes, ...]:
    """Small logs, and real ones where they are."""
    found = [LOG, DSTACK]
    folder: Path | None = None
    with suppress(pytest.skip.Exception):
        folder = request.getfixturevalue("vectors_dir")
    if folder is not None:
        logs = tpm_vectors.load(folder, "tpm-eventlog", "ccel-eventlog").values()
        found += [vector.read("event_log")[:24_000] for vector in logs]
    return tuple(found)


@EXAMPLES
@given(data=st.data())
def test_holding_a_log_against_registers_is_total(
    event_logs: tuple[bytes, ...], data: DataObject
) -> None:
    drawn = data.draw(strategies.hostile(event_logs))
    with suppress(MalformedEvidence, RefusedEvidence):
        measured_boot.confirm(drawn, evidence_of().pcrs)
    with suppress(MalformedEvidence, RefusedEvidence):
        boot = td_boot.confirm(drawn, (bytes(48),) * 4)
        assert not set(boot.confirmed) & set(boot.contradicted)
