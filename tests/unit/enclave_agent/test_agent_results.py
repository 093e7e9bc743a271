"""An agent asks for attestation results where its settings name a relying party."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealward.enclave_agent.config import ConfigurationError, load
from sealward.enclave_agent.messages import ProtocolViolation, read_attestation
from sealward.protos import agent_pb2

SETTINGS = """workloads = ["invoices"]
trust_file = "trust.json"
models = "models"
{line}
[control_plane]
enrollment = "control.example:8444"
agent = "control.example:8445"
[attester]
name = "snp"
"""


def audience(folder: Path, line: str) -> str:
    path = folder / "agent.toml"
    path.write_text(SETTINGS.format(line=line))
    return load(path).result_audience


def test_the_relying_party_is_optional_and_one_word(tmp_path: Path) -> None:
    assert audience(tmp_path, "") == ""
    assert audience(tmp_path, 'result_audience = "https://bank.example"') == "https://bank.example"
    for wrong in ('"two words"', '"caf\u00e9"', '""', "7", f'"{"a" * 257}"'):
        with pytest.raises(ConfigurationError, match="result_audience"):
            audience(tmp_path, f"result_audience = {wrong}")


def test_a_result_is_kept_as_it_came_within_its_budget() -> None:
    answer = agent_pb2.AttestResponse(attestation_result="aGVhZA.Y2xhaW1z.c2ln")
    assert read_attestation(answer).attestation_result == "aGVhZA.Y2xhaW1z.c2ln"
    assert read_attestation(agent_pb2.AttestResponse()).attestation_result == ""
    for wrong in ("a b", "a\n", "\u00e9", "<script>", "a" * 65_537):
        with pytest.raises(ProtocolViolation):
            read_attestation(agent_pb2.AttestResponse(attestation_result=wrong))
