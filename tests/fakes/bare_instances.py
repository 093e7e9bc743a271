"""An instance whose host gave it no certificates: only the report leaves the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cbor2
from fakes.instances import Instance
from sealward_devkit.guest import Guest, report_of_guest

from sealward.verifier.rats import binding as bindings
from sealward.verifier.rats import evidence as envelopes


@dataclass
class BareInstance(Instance):
    """See the module; everything else is an instance's."""

    def evidence(self, encoded: bytes, **guest: Any) -> bytes:  # noqa: ANN401 - fields of Guest
        """Evidence with an empty certificate table."""
        host_data = self.trust.digest() if self.host_data is None else self.host_data
        launched = Guest(measurement=self.measurement, host_data=host_data, **guest)
        report = report_of_guest(self.platform, launched, self.report_id, bindings.digest(encoded))
        payload = cbor2.dumps({1: report, 3: b""}, canonical=True)
        return envelopes.encode(envelopes.Record(envelopes.SNP_EVIDENCE, payload))
