"""A model host and an attester for agents under test: they do what the real ones do, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fakes.sealed_models import Owner

from sealward.enclave_agent.attesters.port import (
    REPORT_DATA_SIZE,
    AttesterUnavailable,
    Availability,
    Evidence,
)
from sealward.enclave_agent.config import AgentSettings, Listen
from sealward.enclave_agent.inference.errors import ModelUnavailable
from sealward.enclave_agent.inference.signature import Signature, TensorSpec
from sealward.enclave_agent.inference.tensors import Datatype, Tensor
from sealward.enclave_agent.inference.worker_client import ModelIdentity, WipeReport
from sealward.enclave_agent.models import ModelUnusable
from sealward.protos.terms import ModelTerms
from sealward.sealing.container import SealedModel
from sealward.sealing.source import BytesSource
from sealward.sealing.wrap import unwrap_content_key

WEIGHTS = 4096
_SPEC = TensorSpec("x", Datatype.INT32, (1,))


@dataclass
class EchoModel:
    """A model that answers its input while it lives."""

    identity: ModelIdentity
    weights: bytearray = field(default_factory=lambda: bytearray(b"\x5a" * WEIGHTS))
    ended: str | None = None
    wiped: int = 0
    fails_to_wipe: bool = False

    @property
    def signature(self) -> Signature:
        return Signature(inputs=(_SPEC,), outputs=(_SPEC,))

    @property
    def unavailable_because(self) -> str | None:
        return self.ended

    async def infer(
        self,
        inputs: tuple[Tensor, ...],
        outputs: tuple[str, ...] = (),  # noqa: ARG002 - one output is all there is
    ) -> tuple[Tensor, ...]:
        if self.ended is not None:
            raise ModelUnavailable(self.ended)
        return inputs

    async def revoke(self, reason: str) -> WipeReport:
        if self.fails_to_wipe:
            raise OSError("the pages are gone")
        self.wiped = self.wiped or len(self.weights)
        self.weights[:] = bytes(len(self.weights))
        self.ended = self.ended or reason
        await asyncio.sleep(0)
        return WipeReport(
            model=self.identity,
            reason=reason,
            worker_pid=4242,
            exit_status=-9,
            bytes_wiped=self.wiped,
            cannot_be_known=("copies that nobody wrote down",),
        )


@dataclass
class MemoryHost:
    """Opens models whose content key it knows; `delay` seconds each, `broken` names fail."""

    keys: dict[bytes, bytes]
    delay: float = 0.0
    broken: set[str] = field(default_factory=set)
    opened: list[EchoModel] = field(default_factory=list)

    async def open(self, model: ModelTerms, content_key: bytearray) -> EchoModel:
        await asyncio.sleep(self.delay)
        if model.name in self.broken or self.keys[model.content_key_id] != bytes(content_key):
            raise ModelUnusable(f"{model.name} does not open")
        echo = EchoModel(ModelIdentity(model.name, model.version, model.content_key_id))
        self.opened.append(echo)
        return echo

    def alive(self) -> list[EchoModel]:
        return [model for model in self.opened if model.ended is None]


@dataclass
class QuotingAttester:
    """Evidence that carries its report data, or none when it is `broken`."""

    broken: bool = False
    collected: int = 0
    kind: str = "quoting"

    def probe(self) -> Availability:
        return Availability(available=not self.broken, why="it is a test.")

    def collect(self, report_data: bytes) -> Evidence:
        assert len(report_data) == REPORT_DATA_SIZE
        if self.broken:
            raise AttesterUnavailable("it is broken.")
        self.collected += 1
        return Evidence(report_data)


def agent_settings(
    *, enrollment: int, agent: int, port: int, workloads: tuple[str, ...], folder: Path
) -> AgentSettings:
    """Settings for an agent of a plane on loopback."""
    return AgentSettings(
        enrollment=f"127.0.0.1:{enrollment}",
        agent=f"127.0.0.1:{agent}",
        trust_file=folder / "trust.json",
        attester="quoting",
        attester_table={},
        workloads=workloads,
        result_audience="",
        models=folder,
        listen=Listen("127.0.0.1", port),
        join_token_file=None,
        log_level="info",
        log_json=True,
    )


def quoting(settings: Mapping[str, object]) -> QuotingAttester:
    """The entry point of an attester, for agents that run as processes."""
    return QuotingAttester(broken=bool(settings.get("broken", False)))


def sealed_model(model: bytes, version: int = 1) -> tuple[bytes, ModelTerms, bytes]:
    """Seal an ONNX model whole; return the file, what terms say of it, and its content key."""
    owner = Owner.from_seed("agent")
    file = owner.seal(model, version=version)
    header = SealedModel.open(BytesSource(file)).header
    wrap = header.wrap_for(owner.workload_private.public.key_id)
    key = unwrap_content_key(wrap, owner.workload_private, header.core_digest)
    terms = ModelTerms(
        name=header.core.model,
        version=version,
        core_digest=header.core_digest,
        header_digest=header.header_digest,
        content_key_id=header.core.content_key_id,
        min_version=1,
    )
    return file, terms, bytes(key)
