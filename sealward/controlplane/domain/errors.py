"""What the control plane refuses, told apart by whose fault it is.

    DomainError
    |-- NotFound      the caller names something that is not there (for this tenant)
    |-- Conflict      true a moment ago: read again and retry, or the name is taken
    |-- Refused       a rule says no; repeating the same request cannot help
    `-- Unavailable   our side cannot answer now; the same request may succeed later

Edges translate `code`, once (REST: problem document, gRPC: status), and never look into `detail`.
A node is shown the code and a correlation id only; `detail` and `hint` are for those with the
right to see them.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Code(StrEnum):
    """The closed list of problem codes.

    A code is part of the API: it may be added, never renamed or reused.
    """

    # NotFound
    not_found = "not_found"

    # Conflict
    already_exists = "already_exists"
    epoch_moved = (
        "epoch_moved"  # the scope was fenced while the decision was being made: evaluate again
    )
    state_changed = "state_changed"  # the row is no longer in the state that the caller acted on
    activation_replaced = (
        "activation_replaced"  # another activation took the slot that this one names
    )

    # Refused, the request
    invalid_request = "invalid_request"
    payload_too_large = "payload_too_large"
    unsupported_protocol = "unsupported_protocol"
    unauthenticated = "unauthenticated"
    forbidden = "forbidden"
    token_expired = "token_expired"  # noqa: S105 - a code, not a token
    token_revoked = "token_revoked"  # noqa: S105 - a code, not a token
    token_spent = "token_spent"  # noqa: S105 - a code, not a token
    rate_limited = "rate_limited"

    # Refused, freshness, binding, evidence
    challenge_invalid = "challenge_invalid"
    challenge_expired = "challenge_expired"
    challenge_spent = "challenge_spent"
    audience_mismatch = "audience_mismatch"  # made for another trust domain or server root
    tenant_mismatch = "tenant_mismatch"
    purpose_mismatch = "purpose_mismatch"  # an enrolment's evidence shown as an attestation's, ...
    key_mismatch = "key_mismatch"  # another key than the connection's or the challenge's
    challenge_mismatch = "challenge_mismatch"  # the binding answers another challenge
    evidence_malformed = "evidence_malformed"
    evidence_refused = "evidence_refused"
    binding_mismatch = "binding_mismatch"
    runtime_log_gap = "runtime_log_gap"  # it begins elsewhere than where the proven part ends
    instance_changed = "instance_changed"  # the same key, another instance of the TEE
    credential_missing = "credential_missing"  # TPM evidence, and no credential was opened
    credential_invalid = "credential_invalid"  # the proof is not of the credential for these keys
    clone_detected = "clone_detected"
    server_rolled_back = "server_rolled_back"

    # Refused, nodes and platforms
    node_unknown = "node_unknown"
    node_pending = "node_pending"
    node_rejected = "node_rejected"
    node_retired = "node_retired"
    node_quarantined = "node_quarantined"
    platform_denied = "platform_denied"
    device_elsewhere = "device_elsewhere"  # another live node holds this device too
    trust_anchor_invalid = "trust_anchor_invalid"  # a certificate that cannot be an anchor
    trust_anchor_removed = "trust_anchor_removed"  # the evidence rests on one that was removed
    join_token_invalid = "join_token_invalid"  # noqa: S105 - a code, not a token
    join_token_expired = "join_token_expired"  # noqa: S105 - a code, not a token
    join_token_spent = "join_token_spent"  # noqa: S105 - a code, not a token

    # Refused, appraisal and release
    posture_noncompliant = "posture_noncompliant"
    policy_denied = "policy_denied"
    policy_missing = "policy_missing"  # a layer that must answer has nothing active
    policy_invalid = "policy_invalid"
    reference_invalid = "reference_invalid"
    reference_withdrawn = "reference_withdrawn"
    collateral_invalid = "collateral_invalid"  # it does not parse, or nobody we trust signed it
    collateral_expired = "collateral_expired"  # past its next update
    collateral_rolled_back = "collateral_rolled_back"  # below what was accepted before (F19)
    collateral_missing = "collateral_missing"  # nobody fetches what the evidence needs
    agent_not_measured = "agent_not_measured"
    tpm_lock_missing = "tpm_lock_missing"  # keys for a TPM node need an object to lock them with
    # A development root met a production workload, or was brought into a production installation.
    development_refused = "development_refused"
    workload_unknown = "workload_unknown"
    workload_not_permitted = "workload_not_permitted"
    model_unknown = "model_unknown"
    model_refused = "model_refused"
    lease_ended = "lease_ended"
    too_many_instances = "too_many_instances"
    horizon_passed = "horizon_passed"

    # Refused because of our own state
    wrong_database = "wrong_database"  # another kind or trust domain than this process serves
    schema_mismatch = "schema_mismatch"
    key_unusable = "key_unusable"  # unwrapping under this context fails
    keystore_refused = "keystore_refused"  # permissions, a foreign or damaged key file

    # Unavailable
    database_unavailable = "database_unavailable"
    policy_engine_unavailable = "policy_engine_unavailable"
    collateral_pending = "collateral_pending"  # what the evidence needs is being fetched
    log_unavailable = "log_unavailable"
    clock_disagrees = "clock_disagrees"
    overloaded = "overloaded"
    shutting_down = "shutting_down"
    internal_error = "internal_error"  # an edge's answer to an unforeseen fault; never raised


class DomainError(Exception):
    """A refusal with data: a closed code, one sentence of detail, and what to do next.

    Raise one of the four subclasses. `detail` and `hint` never carry secrets.
    """

    def __init__(self, code: Code, detail: str, hint: str = "") -> None:
        if type(self) is DomainError:
            raise TypeError("raise NotFound, Conflict, Refused or Unavailable")
        super().__init__(f"{code}: {detail} ({hint})" if hint else f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.hint = hint


class NotFound(DomainError):
    """The caller names something that does not exist for this tenant."""


class Conflict(DomainError):
    """The state moved between reading and writing, or a unique name is taken."""


class Refused(DomainError):
    """A rule says no; the same request will be refused again."""


class Unavailable(DomainError):
    """The control plane cannot answer now; the same request may succeed later."""
