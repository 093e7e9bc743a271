"""Evidence of every kind that this repository can mint, over the binding that it is asked for.

Under the development kit's roots where the kit has some for the kind, under a root or key of a test
where it has none: no installation believes either unless it was told to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fakes import arm_tokens, dcap_fixtures, google_cas, hygon_machines, tdx_world, tpm_machines
from fakes.fleet import AzureInstance, GpuInstance, NitroInstance, TdxInstance
from fakes.instances import Instance
from fakes.snp_fixtures import stream
from fakes.software_tpm import NOW
from fakes.tpm_machines import Machine
from sealward_devkit.dcap.platform import Tee, new_quoting_enclave
from sealward_devkit.dcap.quote import Shape, mint_quote

from sealward.protos.trust import TrustConfiguration
from sealward.verifier.formats.cca import evidence as cca_evidence
from sealward.verifier.formats.dcap import evidence as dcap_evidence
from sealward.verifier.formats.gce import evidence as gce_evidence
from sealward.verifier.formats.psa import evidence as psa_evidence
from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes
from sealward.verifier.rats.evidence import Record

Payload = Callable[[bytes], bytes]  # 64 bytes to bind -> payload


@dataclass
class Bound(Instance):
    """Sends a payload of a kind, made for its binding."""

    media_type: str = ""
    payload: Payload = bytes

    def evidence(self, encoded: bytes, **_: Any) -> bytes:  # noqa: ANN401 - as in Instance
        return envelopes.encode(Record(self.media_type, self.payload(bindings.digest(encoded))))


def sgx(bound: bytes) -> bytes:
    enclave = new_quoting_enclave(Tee.SGX, stream("quoting enclave of today"))
    made = replace(dcap_fixtures.ENCLAVE, report_data=bound)
    quote = mint_quote(Shape.SGX_3, made, tdx_world.machine(), enclave)
    return dcap_evidence.encode_sgx(dcap_evidence.Evidence(quote=quote))


def google(bound: bytes, now: datetime = NOW) -> bytes:
    machine = Machine()
    tpm = envelopes.decode(tpm_machines.tpm_record(machine, bound[:32], made=now))
    assert isinstance(tpm, Record)
    chain = (google_cas.ak_certificate(machine.quoting, now=now), google_cas.root(now))
    return gce_evidence.encode(gce_evidence.Evidence(tpm.value, chain))


def cca(bound: bytes) -> bytes:
    return cca_evidence.encode(arm_tokens.cca(realm_changes={10: bound}))


def psa(bound: bytes) -> bytes:
    claims = arm_tokens.psa_claims({10: bound})
    return psa_evidence.encode(arm_tokens.sign1(arm_tokens.key("maker"), claims))


def hygon(bound: bytes) -> bytes:
    return hygon_machines.Machine(report_data=bound).payload()


def _bound(name: str, payload: Payload) -> Callable[[TrustConfiguration], Instance]:
    media_type = str(getattr(envelopes, name))
    return lambda trust: Bound(trust, media_type=media_type, payload=payload)


MINTED: dict[str, Callable[[TrustConfiguration], Instance]] = {
    "TDX_EVIDENCE": TdxInstance,
    "NITRO_EVIDENCE": NitroInstance,
    "AZURE_EVIDENCE": AzureInstance,
    "NVIDIA_EVIDENCE": GpuInstance,  # in a collection, since it never stands alone
    "SGX_EVIDENCE": _bound("SGX_EVIDENCE", sgx),
    "GOOGLE_EVIDENCE": _bound("GOOGLE_EVIDENCE", google),
    "CCA_EVIDENCE": _bound("CCA_EVIDENCE", cca),
    "PSA_EVIDENCE": _bound("PSA_EVIDENCE", psa),
    "HYGON_EVIDENCE": _bound("HYGON_EVIDENCE", hygon),
}
