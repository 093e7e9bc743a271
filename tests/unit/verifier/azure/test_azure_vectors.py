"""Real Azure machines come out as the manifest says, and nothing that was changed does."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from fakes import azure_vectors, snp_vectors, tpm_vectors
from fakes.azure_vectors import Machine
from unit.verifier.rats.test_claims_json import SCHEMA, check

from sealward.controlplane.cli.verify import verify as verify_command
from sealward.verifier import registry
from sealward.verifier.composite import azure_vtpm
from sealward.verifier.formats.dcap import verify as dcap
from sealward.verifier.formats.dcap import view as dcap_view
from sealward.verifier.formats.dcap.td_report import TdReport
from sealward.verifier.formats.hcl import report as hcl
from sealward.verifier.formats.hcl import runtime, td_report
from sealward.verifier.formats.snp import claims as snp_claims
from sealward.verifier.formats.snp import verify as snp
from sealward.verifier.formats.snp.endorsements import Endorsements
from sealward.verifier.formats.tpm import attest
from sealward.verifier.pki.anchors import TrustAnchors
from sealward.verifier.pki.chain_cache import ChainCache
from sealward.verifier.rats.claims import KeyResidency, Scope, Tee
from sealward.verifier.rats.collateral import Kind
from sealward.verifier.rats.errors import Code, RefusedEvidence, VerifierError

if TYPE_CHECKING:
    from sealward.verifier.rats.claims import Claims

SNP = ("az-snp-v1", "az-snp-v2-userdata")
TDX = "az-tdx-v1"
_SNP_KEYS = {
    *("hcl_header", "vm_configuration", "user_data", "keys", "runtime_json_sha256"),
    *("tpm_quote", "pcr0", "snp_report"),
}


@pytest.fixture(scope="module")
def machines(vectors_dir: Path) -> dict[str, Machine]:
    return azure_vectors.load(vectors_dir)


def test_every_entry_of_the_manifest_is_known_to_this_file(machines: dict[str, Machine]) -> None:
    assert set(machines) == {*SNP, TDX}
    assert {machine.vector.entry["result"] for machine in machines.values()} == {"verifies"}


def shared_fields(machine: Machine) -> dict[str, Any]:
    """What the manifest expects of report and quote, from our own reading."""
    report = hcl.parse(machine.hcl)
    assert hcl.encode(report) == machine.hcl
    said = runtime.parse(report.claims)
    (bank,) = machine.banks()
    return {
        **azure_vectors.hcl_in_manifest_words(report, said),
        "runtime_json_sha256": report.hash.digest(report.claims).hex(),
        "tpm_quote": tpm_vectors.attest_in_manifest_words(attest.parse(machine.message)),
        "pcr0": dict(bank.values)[0].hex(),
    }


@pytest.mark.parametrize("id_", SNP)
def test_a_machine_on_snp_verifies_with_every_field_that_the_manifest_expects(
    machines: dict[str, Machine], id_: str
) -> None:
    machine = machines[id_]
    verified = machine.verify()
    native = verified.native
    assert isinstance(native, azure_vtpm.VerifiedMachine)
    hardware: Any = verified.details()["hardware"]
    words = snp_vectors.in_manifest_words(hardware["report"], hardware["vek"], 0)
    ours = {**shared_fields(machine), "snp_report": words["report"]}
    assert ours.keys() == machine.vector.expect.keys() == _SNP_KEYS
    assert ours == machine.vector.expect
    assert set(machine.vector.checked) == {
        *("tpm_quote_sig_by_hcl_ak", "pcr_digest", "report_data_is_sha256_of_runtime_json"),
        *("snp_report_sig", "vcek_chain", "tcb_match", "hwid_match"),
    }
    window = (verified.claims.collateral.not_before, verified.claims.collateral.not_after)
    assert window == machine.vector.window


@pytest.mark.parametrize("id_", SNP)
def test_the_claims_of_a_machine_on_snp_say_whose_word_they_are(
    machines: dict[str, Machine], id_: str
) -> None:
    machine = machines[id_]
    claims = machine.verify().claims
    shown: dict[str, Any] = claims.to_json()
    check(shown, SCHEMA)
    expect = machine.vector.expect
    assert claims.tee is Tee.AZURE_SNP
    assert claims.product == "Milan"
    assert claims.report_data == expect["tpm_quote"]["extra_data"]
    assert claims.instance_value == expect["snp_report"]["report_id"]
    assert claims.platform_id == f"snp:chip:{expect['snp_report']['chip_id']}"
    assert (claims.provider_in_tcb, claims.memory_encrypted, claims.vmpl) == (True, True, None)
    assert (claims.verdicts, claims.development, claims.provider) == ((), False, None)
    measured = {item.name: item.digest for item in claims.measurements}
    assert measured["launch"] == expect["snp_report"]["measurement"]
    assert measured["pcr0"] == expect["pcr0"]
    assert len(measured) == 25
    assert shown["azure"] == {
        "report_version": 1,
        "hardware_vmpl": 0,
        "secure_boot": True,
        "console": True,
        "tpm": True,
        "tpm_persisted": None,
        "vm_id": expect["vm_configuration"]["vmUniqueId"],
        "root_certificate_thumbprint": None,
        "user_data": expect["user_data"].lower(),
    }
    assert claims.tpm is not None
    assert (claims.tpm.residency, claims.tpm.ak_name) == (KeyResidency.MEASURED, None)
    scopes = {path: item.scope for path, item in claims.provenance().items()}
    assert (scopes["measurements"], scopes["azure"]) == (Scope.BOOT, Scope.LAUNCH)


def test_a_machine_on_tdx_names_the_collateral_that_judges_its_platform(
    machines: dict[str, Machine],
) -> None:
    with pytest.raises(RefusedEvidence) as caught:
        machines[TDX].verify()
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    named = {key.name for key in caught.value.needs if key.kind is Kind.INTEL_TCB_INFO}
    assert named == {"tdx/" + machines[TDX].vector.expect["pck"]["fmspc"]}


def test_the_parts_of_a_machine_on_tdx_verify_with_every_field_that_the_manifest_expects(
    machines: dict[str, Machine],
) -> None:
    machine = machines[TDX]
    expect = machine.vector.expect
    report = hcl.parse(machine.hcl)
    assert machine.td_quote is not None
    signed = dcap.check_signatures(
        machine.td_quote, anchors=TrustAnchors(), now=machine.vector.verify_at, cache=ChainCache()
    )
    body = signed.quote.body
    assert isinstance(body, TdReport)
    azure_vtpm.check_td_report(report, body)
    hcl.require_bound(report, body.report_data)
    said = runtime.parse(report.claims)
    quote = azure_vtpm.check_quote(
        azure_vtpm.Evidence(
            report=machine.hcl,
            message=machine.message,
            signature=machine.wrapped_signature(),
            pcrs=machine.banks(),
        ),
        said,
        ChainCache(),
    )
    assert quote.nonce.hex() == expect["tpm_quote"]["extra_data"]
    ours = shared_fields(machine)
    assert expect.keys() == {*ours, "td_quote_body", "pck"}
    assert ours == {name: expect[name] for name in ours}
    for name, value in expect["td_quote_body"].items():
        if name != "td_flags":
            assert getattr(body, name).hex() == value
    flags = dict(body.flags)
    assert expect["td_quote_body"]["td_flags"] == {
        name: flags[name] for name in expect["td_quote_body"]["td_flags"]
    }
    pck: Any = dcap_view.describe_pck(signed.endorsed.pck)
    assert pck["fmspc"] == expect["pck"]["fmspc"]
    assert pck["ppid"] == expect["pck"]["ppid"]
    assert set(machine.vector.checked) == {
        *("tpm_quote_sig_by_hcl_ak", "pcr_digest", "td_quote_report_data_equal"),
        *("tdreport_report_data_is_sha256_of_runtime_json", "tdreport_tee_info_hash"),
        *("quote_sig_by_ak", "qe_report_binds_ak", "qe_report_sig_by_pck"),
        "pck_chain_to_intel_root",
    }


@pytest.mark.parametrize("part", ["hcl", "message", "signature", "values", "vcek"])
def test_a_part_of_another_machine_is_refused(machines: dict[str, Machine], part: str) -> None:
    for one, other in permutations(SNP, 2):
        swapped = replace(machines[one], **{part: getattr(machines[other], part)})
        with pytest.raises(RefusedEvidence) as caught:
            swapped.verify()
        assert caught.value.code in (
            *(Code.SIGNATURE_INVALID, Code.PCR_MISMATCH),
            *(Code.CHIP_MISMATCH, Code.TCB_MISMATCH),
        )


def test_runtime_claims_of_another_machine_are_not_vouched_for(
    machines: dict[str, Machine],
) -> None:
    for one, other in permutations(machines, 2):
        mine, theirs = hcl.parse(machines[one].hcl), hcl.parse(machines[other].hcl)
        mixed = replace(mine, claims=theirs.claims)
        bound = (
            td_report.parse(mixed.hardware_report).report_data
            if one == TDX
            else mixed.hardware_report[0x50:0x90]
        )
        with pytest.raises(RefusedEvidence) as caught:
            hcl.require_bound(mixed, bound)
        assert caught.value.code is Code.PARTS_MISMATCH


@pytest.mark.parametrize("id_", SNP)
def test_one_changed_byte_anywhere_is_refused(machines: dict[str, Machine], id_: str) -> None:
    machine = machines[id_]
    assert machine.vcek is not None
    endorsements, chains = Endorsements(machine.vcek, *machine.chain), ChainCache()

    @cache  # of what was accepted alone; bytes that did not change need no second look
    def hardware(report: bytes) -> Claims:
        now = machine.vector.verify_at
        verified = snp.authenticate(
            report, endorsements, anchors=TrustAnchors(), now=now, cache=chains
        )
        return snp_claims.normalise(verified, now=now)

    def refused(changed: Machine) -> bool:
        try:
            report = hcl.parse(changed.hcl)
            azure_vtpm.authenticate(
                azure_vtpm.Evidence(
                    report=changed.hcl,
                    message=changed.message,
                    signature=changed.wrapped_signature(),
                    pcrs=changed.banks(),
                ),
                report,
                hardware(report.hardware_report),
                own_payload=False,
                scopes=snp_claims.SCOPES,
                cache=ChainCache(),
            )
        except VerifierError:
            return True
        return False

    assert not refused(machine)
    for part in ("hcl", "message", "signature", "values"):
        data: bytes = getattr(machine, part)
        for at in range(len(data)):
            changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
            assert refused(replace(machine, **{part: changed})), (part, at)


def test_one_changed_byte_of_a_td_report_is_refused_but_in_its_mac(
    machines: dict[str, Machine],
) -> None:
    machine = machines[TDX]
    report = hcl.parse(machine.hcl)
    assert machine.td_quote is not None
    body = dcap.check_signatures(
        machine.td_quote, anchors=TrustAnchors(), now=machine.vector.verify_at, cache=ChainCache()
    ).quote.body
    assert isinstance(body, TdReport)
    accepted = set()
    for at in range(td_report.SIZE):
        data = bytearray(report.hardware_report)
        data[at] ^= 1
        try:
            azure_vtpm.check_td_report(replace(report, hardware_report=bytes(data)), body)
        except VerifierError:
            continue
        accepted.add(at)
    # CPU_SVN and MAC: nobody but the processor can check them, and nothing is read from them. The
    # version, where 0 and 1 differ in what the last field of TDINFO means.
    assert accepted == {2, *range(16, 32), *range(224, 256)}


def test_the_command_verifies_the_files_of_a_machine(
    machines: dict[str, Machine], tmp_path: Path
) -> None:
    machine = machines[SNP[1]]
    vector = machine.vector
    values = tmp_path / "values"
    values.write_bytes(machine.values)
    roots = [str(path) for path in vector.paths.values() if path.suffix == ".pem"]
    intermediate = vector.paths["root"].with_name("amd_ask_milan.pem")
    files = [str(vector.paths[role]) for role in ("hcl_report", "tpm_quote_msg", "vcek")]
    arguments = [
        *("--json", "--at", vector.entry["verify_at"], *files, *roots, str(intermediate)),
        *("--role", f"tpm-rsassa-signature={vector.paths['tpm_quote_sig']}"),
        *("--role", f"tpm-pcr-values={values}"),
        *("--nonce", vector.expect["tpm_quote"]["extra_data"]),
    ]
    answer = CliRunner().invoke(verify_command, arguments)
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.output)  # noqa: TID251 - our own output
    claims: Claims = machine.verify().claims
    assert document["claims"] == claims.to_json()
    assert document["hcl"]["keys"] == ["HCLAkPub", "HCLEkPub"]


def test_a_report_alone_says_what_is_missing(machines: dict[str, Machine]) -> None:
    machine = machines[SNP[0]]
    context = registry.Context(TrustAnchors(), machine.vector.verify_at, ChainCache())
    with pytest.raises(RefusedEvidence) as caught:
        registry.authenticate_items(registry.recognise(machine.hcl), context)
    assert caught.value.code is Code.EVIDENCE_MISSING
    assert "tpm-quote" in caught.value.detail
    with pytest.raises(RefusedEvidence) as caught:
        replace(machine, vcek=None, chain=()).verify()
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    assert {key.kind for key in caught.value.needs} == {Kind.AMD_VEK, Kind.AMD_CHAIN}
