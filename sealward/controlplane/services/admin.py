"""The administrative use cases together: what the admin API is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from sealward.controlplane.services.administration import Dependencies
from sealward.controlplane.services.attestation_results import ResultIssuer
from sealward.controlplane.services.audit_log import AuditLog
from sealward.controlplane.services.client_tokens import ClientTokens
from sealward.controlplane.services.collateral import CollateralStore
from sealward.controlplane.services.collateral_forecast import Forecasts
from sealward.controlplane.services.creators import Creators
from sealward.controlplane.services.explanations import Explanations
from sealward.controlplane.services.join_tokens import JoinTokens
from sealward.controlplane.services.leases import Leases
from sealward.controlplane.services.models import Models
from sealward.controlplane.services.node_results import NodeResults
from sealward.controlplane.services.nodes import Nodes
from sealward.controlplane.services.platforms import Platforms
from sealward.controlplane.services.policies import Policies, PolicyCheck
from sealward.controlplane.services.principals import Principals
from sealward.controlplane.services.references import References
from sealward.controlplane.services.status import Status
from sealward.controlplane.services.trust import Trust
from sealward.controlplane.services.trust_anchors import TrustAnchors
from sealward.controlplane.services.workloads import Workloads
from sealward.protos.trust import TrustConfiguration


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServices:
    """One of each."""

    audit_log: AuditLog
    client_tokens: ClientTokens
    collateral: CollateralStore
    creators: Creators
    explanations: Explanations
    forecasts: Forecasts
    join_tokens: JoinTokens
    leases: Leases
    models: Models
    node_results: NodeResults
    nodes: Nodes
    platforms: Platforms
    policies: Policies
    principals: Principals
    references: References
    status: Status
    trust: Trust
    trust_anchors: TrustAnchors
    workloads: Workloads

    @classmethod
    def build(
        cls,
        on: Dependencies,
        *,
        check: PolicyCheck,
        trust: TrustConfiguration,
        collateral: CollateralStore,
        forecasts: Forecasts,
    ) -> Self:
        """Build them over the same dependencies."""
        return cls(
            audit_log=AuditLog(on, trust.trust_domain),
            client_tokens=ClientTokens(on, trust.trust_domain),
            collateral=collateral,
            creators=Creators(on),
            explanations=Explanations(on),
            forecasts=forecasts,
            join_tokens=JoinTokens(on),
            leases=Leases(on),
            models=Models(on),
            node_results=NodeResults(on, ResultIssuer(on.keystore, trust.trust_domain)),
            nodes=Nodes(on),
            platforms=Platforms(on),
            policies=Policies(on, check),
            principals=Principals(on),
            references=References(on),
            status=Status(on),
            trust=Trust(trust),
            trust_anchors=TrustAnchors(on, development=trust.development),
            workloads=Workloads(on),
        )
