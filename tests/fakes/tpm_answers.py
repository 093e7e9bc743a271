"""A TPM's answers written by hand, for the agent's TPM commands."""

from __future__ import annotations

from sealward.enclave_agent.attesters.tpm.commands import Tpm

SUCCESS = bytes.fromhex("8001 0000000a 00000000")


class Script:
    """Answers in order, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        self.asked: list[bytes] = []

    def execute(self, command: bytes) -> bytes:
        self.asked.append(command)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def speak(script: Script, pauses: list[float] | None = None) -> Tpm:
    slept = [] if pauses is None else pauses
    return Tpm(script, random_bytes=lambda size: b"\x5a" * size, sleep=slept.append)


def refusal(code: int) -> bytes:
    return bytes.fromhex("8001 0000000a") + code.to_bytes(4, "big")


def plain(body: bytes) -> bytes:
    """A response to a command without authorisations."""
    return b"\x80\x01" + (10 + len(body)).to_bytes(4, "big") + bytes(4) + body


def authorised(parameters: bytes, handle: bytes = b"") -> bytes:
    """A response to a command with one authorisation."""
    area = bytes.fromhex("0000 01 0000")
    body = handle + len(parameters).to_bytes(4, "big") + parameters + area
    return b"\x80\x02" + (10 + len(body)).to_bytes(4, "big") + bytes(4) + body
