"""The failure corpus: what a running control plane denies, and what policies say of samples."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

import cbor2
from fakes import tpm_machines
from fakes.control_plane import (
    UNMEASURED_AGENT,
    World,
    chip,
    create_workload,
    masked_chip,
    provider_chip,
)
from fakes.failure_corpus import Other
from fakes.instances import Instance, admitted, leased
from fakes.tpm_machines import Machine, TpmInstance
from sealward_devkit.snp.products import Product, Tcb, encode_tcb
from sealward_devkit.snp.report import (
    DEFAULT_POLICY,
    Policy,
    key_info,
    mint_report,
    typical_fields,
)

from sealward.controlplane.domain.errors import DomainError
from sealward.controlplane.services.evidence import Presented
from sealward.controlplane.services.nodes import NodeMove
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.binding import Audience, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """One denial by a running control plane.

    Attributes:
        name: unlike any other's.
        of: its class.
        code: of its one top cause.
        make: has it happen, and returns the correlation id that the node was told.
        claim: what its path begins with.
    """

    name: str
    of: str
    code: str
    make: Callable[[World], str]
    claim: str | None = None


@dataclass
class Launched(Instance):
    """A guest whose launch is told field by field."""

    launch: dict[str, Any] = field(default_factory=dict)  # fields of the report

    def evidence(self, encoded: bytes, **changes: Any) -> bytes:  # noqa: ANN401 - fields of the report
        del changes
        machine = self.platform
        fields = replace(
            typical_fields(machine.product, machine.tcb, version=5, chip_id=machine.chip_id),
            key_info=key_info(machine.signing_key),
            report_data=bindings.digest(encoded),
            measurement=self.measurement,
            host_data=self.trust.digest(),
            report_id=self.report_id,
        )
        report = mint_report(replace(fields, **self.launch), machine.key)
        payload = cbor2.dumps({1: report, 2: [machine.vek, machine.intermediate, machine.root]})
        return envelopes.encode(envelopes.Record(envelopes.SNP_EVIDENCE, payload))


def told(call: Callable[[str], object]) -> str:
    """Make a call under a correlation id of its own; whether it is refused is its own affair."""
    quote = secrets.token_hex(8)
    try:
        call(quote)
    except DomainError:
        return quote
    return quote


def enrolled(here: World, instance: Instance, *, join_token: str = "", **changes: Any) -> str:  # noqa: ANN401 - fields of Presented
    shown = replace(instance.presented(here, Purpose.ENROLL), **changes)
    call = instance.enroll_call(shown, join_token=join_token)
    return told(lambda quote: here.plane.enrollment.enroll(replace(call, correlation_id=quote)))


def attested(
    here: World,
    instance: Instance,
    *workloads: str,
    shown: Presented | None = None,
    binding: dict[str, Any] | None = None,
) -> str:
    presented = shown or instance.presented(here, Purpose.ATTEST, **(binding or {}))
    call = instance.attest_call(presented, workloads)
    return told(lambda quote: here.plane.attestation.attest(replace(call, correlation_id=quote)))


def launched(here: World, **launch: Any) -> str:  # noqa: ANN401 - fields of the report
    return enrolled(here, Launched(here.plane.trust, launch=launch))


def with_other_evidence(here: World) -> str:
    """Genuine evidence of the node, and over another binding than the one beside it."""
    instance = admitted(here)
    first, second = (instance.presented(here, Purpose.ATTEST) for _ in range(2))
    return attested(here, instance, shown=replace(second, evidence=first.evidence))


def with_another_challenge(here: World) -> str:
    """Evidence for one challenge, shown with the ticket of another."""
    instance = admitted(here)
    first, second = (instance.presented(here, Purpose.ATTEST) for _ in range(2))
    return attested(here, instance, shown=replace(second, ticket=first.ticket))


def elsewhere(here: World, **changes: Any) -> Audience:  # noqa: ANN401 - any field
    return replace(here.plane.trust.audience(), **changes)


def of_another_instance(here: World) -> str:
    instance = admitted(here)
    instance.report_id = secrets.token_bytes(32)
    return attested(here, instance)


def of_a_clone(here: World) -> str:
    instance = leased(here)
    thief = instance.copy()
    for _ in range(2):
        instance.attest(here)
    return attested(here, thief)


def of_a_quarantined(here: World) -> str:
    instance = admitted(here)
    here.plane.admin.nodes.quarantine(here.admin, instance.node_id, reason="a test")
    return attested(here, instance)


def of_a_retired(here: World) -> str:
    instance = admitted(here)
    here.plane.admin.nodes.move(here.admin, instance.node_id, NodeMove.retire, reason="")
    return attested(here, instance)


def of_one_that_waits(here: World) -> str:
    instance = Instance(here.plane.trust, platform=chip("a basement"))
    enrolled(here, instance)
    return attested(here, instance)


def with_a_spent_token(here: World) -> str:
    token = here.plane.admin.join_tokens.create(here.admin).text
    first, second = (
        Instance(here.plane.trust, platform=chip(name)) for name in ("token a", "token b")
    )
    enrolled(here, first, join_token=token)
    return enrolled(here, second, join_token=token)


def on_a_denied_platform(here: World) -> str:
    machine = chip("denied")
    assert machine.platform_id is not None
    here.plane.admin.platforms.deny(here.admin, machine.platform_id, note="broken")
    return enrolled(here, Instance(here.plane.trust, platform=machine))


def late(here: World) -> str:
    instance = admitted(here)
    shown = instance.presented(here, Purpose.ATTEST)
    received = here.clock.now() + timedelta(seconds=31)
    return attested(here, instance, shown=replace(shown, received=received))


def for_a_workload(here: World, *, production: bool = False, others: int | None = None) -> str:
    name = f"w{secrets.token_hex(4)}"
    create_workload(here.plane, here.admin, name, production=production, max_instances=others)
    if others is not None:
        admitted(here).attest(here, (name,))
    return attested(here, admitted(here), name)


def unmeasured(here: World) -> str:
    return attested(here, admitted(here, measurement=UNMEASURED_AGENT), "scanner")


def uncommitted(here: World) -> str:
    low = encode_tcb(Product.MILAN, Tcb(bootloader=3, tee=0, snp=1, microcode=1))
    instance = Launched(here.plane.trust, launch={"committed_tcb": low})
    enrolled(here, instance)
    return enrolled(here, instance)


BOOTED: Final = "a machine of the corpus"


def machine_of(here: World, **registers: bytes) -> TpmInstance:
    """A machine that boots as reviewed but for some registers."""
    changed = tuple((int(name.removeprefix("pcr")), value) for name, value in registers.items())
    machine = Other(label=BOOTED, registers=changed)
    return TpmInstance(here.plane.trust, machine=machine, made=here.clock.now())


def reviewed(here: World) -> None:
    """Have the reviewed boot described, once."""
    machine = Machine(label=BOOTED)
    if not here.rows("SELECT 1 FROM reference_sets WHERE name = ?", tpm_machines.BOOT_SET):
        tpm_machines.ready(here, machine)


def rebooted(here: World, **registers: bytes) -> str:
    reviewed(here)
    return enrolled(here, machine_of(here, **registers))


def without_a_credential(here: World) -> str:
    reviewed(here)
    return enrolled(here, machine_of(here), credential_proof=b"")


DENIALS: Final = (
    Denial(
        name="an image that nobody reviewed",
        of="unknown measurement",
        code="unknown_measurement",
        claim="claims.measurements[",
        make=lambda here: enrolled(
            here, Instance(here.plane.trust, measurement=secrets.token_bytes(48))
        ),
    ),
    Denial(
        name="an image that nobody reviewed, on a chip that nobody knows",
        of="unknown measurement",
        code="unknown_measurement",
        make=lambda here: enrolled(
            here,
            Instance(
                here.plane.trust, platform=chip("another"), measurement=secrets.token_bytes(48)
            ),
        ),
    ),
    Denial(
        name="a guest with another control plane's trust configuration",
        of="trust configuration",
        code="trust_config_mismatch",
        claim="claims.host_data",
        make=lambda here: launched(here, host_data=bytes(32)),
    ),
    Denial(
        name="a guest that may be debugged, whose image nobody knows either",
        of="debug",
        code="debug_enabled",
        make=lambda here: launched(
            here, policy=DEFAULT_POLICY | Policy.DEBUG, measurement=bytes(48)
        ),
    ),
    Denial(
        name="a guest that may migrate, on an old level",
        of="migration",
        code="migration_enabled",
        make=lambda here: launched(here, policy=DEFAULT_POLICY | Policy.MIGRATE_MA),
    ),
    Denial(
        name="a chip that nobody knows",
        of="platform pends",
        code="platform_unknown",
        claim="claims.platform_id",
        make=lambda here: enrolled(here, Instance(here.plane.trust, platform=chip("unknown"))),
    ),
    Denial(
        name="a provider's chip, without a join token",
        of="platform pends",
        code="platform_unknown",
        make=lambda here: enrolled(here, Instance(here.plane.trust, platform=provider_chip())),
    ),
    Denial(
        name="a chip that an administrator denied",
        of="platform denied",
        code="platform_denied",
        claim="claims.platform_id",
        make=on_a_denied_platform,
    ),
    Denial(
        name="an answer to another challenge",
        of="wrong nonce",
        code="challenge_mismatch",
        claim="binding.nonce",
        make=with_another_challenge,
    ),
    Denial(
        name="evidence that binds something else",
        of="wrong nonce",
        code="binding_mismatch",
        claim="report_data",
        make=with_other_evidence,
    ),
    Denial(
        name="a binding for another trust domain",
        of="wrong audience",
        code="audience_mismatch",
        claim="binding.audience",
        make=lambda here: attested(
            here, admitted(here), binding={"audience": elsewhere(here, trust_domain="b.example")}
        ),
    ),
    Denial(
        name="a binding for another tenant",
        of="wrong audience",
        code="tenant_mismatch",
        make=lambda here: attested(here, admitted(here), binding={"tenant": "another"}),
    ),
    Denial(
        name="a challenge of half a minute ago",
        of="stale challenge",
        code="challenge_expired",
        claim="challenge",
        make=late,
    ),
    Denial(
        name="the same key in another guest",
        of="another instance",
        code="instance_changed",
        claim="claims.instance_value",
        make=of_another_instance,
    ),
    Denial(name="a guest that was copied", of="clone", code="clone_detected", make=of_a_clone),
    Denial(
        name="a node in quarantine",
        of="standing of the node",
        code="node_quarantined",
        make=of_a_quarantined,
    ),
    Denial(
        name="a node that was retired",
        of="standing of the node",
        code="node_retired",
        make=of_a_retired,
    ),
    Denial(
        name="a node that waits for a person",
        of="standing of the node",
        code="node_pending",
        make=of_one_that_waits,
    ),
    Denial(
        name="a join token that another node used",
        of="join token",
        code="join_token_spent",
        make=with_a_spent_token,
    ),
    Denial(
        name="a join token of nobody",
        of="join token",
        code="join_token_invalid",
        make=lambda here: enrolled(
            here, Instance(here.plane.trust, platform=masked_chip()), join_token="x" * 8
        ),
    ),
    Denial(
        name="an agent that no measurement covers",
        of="agent not measured",
        code="agent_not_measured",
        make=unmeasured,
    ),
    Denial(
        name="a workload that is none",
        of="workload unknown",
        code="workload_unknown",
        make=lambda here: attested(here, admitted(here), "nothing"),
    ),
    Denial(
        name="one instance more than a workload has",
        of="too many instances",
        code="too_many_instances",
        make=lambda here: for_a_workload(here, others=1),
    ),
    Denial(
        name="a development node for a production workload",
        of="development root",
        code="development_refused",
        make=lambda here: for_a_workload(here, production=True),
    ),
    Denial(
        name="a level that may go back below the floor",
        of="TCB not committed",
        code="tcb_not_committed",
        claim="claims.tcb.committed.",
        make=uncommitted,
    ),
    Denial(
        name="another kernel command line",
        of="wrong kernel command line",
        code="unknown_measurement",
        claim="claims.measurements[pcr8]",
        make=lambda here: rebooted(here, pcr8=b"\x08" * 32),
    ),
    Denial(
        name="another firmware and another kernel command line",
        of="wrong kernel command line",
        code="unknown_measurement",
        claim="claims.measurements[pcr0]",
        make=lambda here: rebooted(here, pcr8=b"\x08" * 32, pcr0=b"\x01" * 32),
    ),
    Denial(
        name="a TPM without the proof of its key",
        of="AK not resident",
        code="credential_missing",
        make=without_a_credential,
    ),
)

# Of the samples that the shipped policies carry: class and cause, by kind and name.
SAMPLES: Final = MappingProxyType(
    {
        "appraisal/azure_in_order": ("provider in the TCB", "provider_in_tcb"),
        "appraisal/azure_unknown_paravisor": ("unknown measurement", "unknown_measurement"),
        "appraisal/cca_unvouched": ("unknown instance key", "platform_not_vouched_for"),
        "appraisal/gpu_alone": ("device without a machine", "tee_unknown"),
        "appraisal/nitro_debug": ("Nitro debug", "debug_enabled"),
        "appraisal/nitro_in_order": ("memory not encrypted", "memory_not_encrypted"),
        "appraisal/tdx_hardening_needed": ("stale TCB", "tcb_status_not_accepted"),
        "appraisal/tdx_mixed_launches": ("mixed boots", "boot_unknown"),
        "appraisal/tdx_out_of_date": ("stale TCB", "tcb_out_of_date"),
        "appraisal/tdx_pins_missing": ("trust configuration", "trust_config_mismatch"),
        "appraisal/tdx_unknown_register": ("unknown register", "unknown_measurement"),
        "appraisal/tdx_with_gpu_agent_unmeasured": (
            "GPU that nothing binds",
            "device_binding_unproven",
        ),
        "appraisal/tdx_with_gpu_unknown_driver": (
            "GPU firmware without RIM",
            "device_firmware_unknown",
        ),
        "appraisal/debug_and_migration": ("debug", "debug_enabled"),
        "appraisal/development_root": ("development root", "development_root"),
        "appraisal/no_floor_for_product": ("no TCB floor", "tcb_floor_missing"),
        "appraisal/reference_expired": ("reference expired", "reference_expired"),
        "appraisal/runtime_log_stopped": ("runtime log", "unknown_file"),
        "appraisal/tcb_below_floor": ("TCB below floor", "tcb_below_floor"),
        "appraisal/tcb_not_committed": ("TCB not committed", "tcb_not_committed"),
        "appraisal/tpm_key_unproven": ("AK not resident", "key_residency_unproven"),
        "appraisal/tpm_mixed_boots": ("mixed boots", "boot_unknown"),
        "appraisal/tpm_unknown_register": ("unknown register", "unknown_measurement"),
        "appraisal/tpm_register_missing": ("register missing", "register_missing"),
        "appraisal/tpm_sha1_bank": ("register missing", "register_missing"),
        "appraisal/trust_config_mismatch": ("trust configuration", "trust_config_mismatch"),
        "appraisal/unknown_file": ("unknown file", "unknown_file"),
        "appraisal/unknown_measurement": ("unknown measurement", "unknown_measurement"),
        "enrollment/unknown_measurement": ("unknown measurement", "unknown_measurement"),
        "enrollment/unknown_platform": ("platform pends", "platform_unknown"),
        "enrollment/masked_platform": ("platform pends", "platform_unknown"),
        "enrollment/tpm_unknown_platform": ("platform pends", "platform_unknown"),
        "release/agent_not_measured": ("agent not measured", "agent_not_measured"),
        "release/tpm_agent_not_covered": ("agent not measured", "agent_not_measured"),
        "release/development_node_production": ("development root", "development_node"),
        "release/posture_not_compliant": ("posture", "posture_not_compliant"),
        "release/azure_restricted": ("provider in the TCB", "provider_in_tcb"),
        "release/nitro_confidential": ("data class", "data_class_above_internal"),
        "release/tpm_confidential": ("data class", "data_class_above_internal"),
    }
)
