"""CAs of endorsement keys, as vendors of TPMs have them and as nobody should."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fakes import software_tpm
from fakes.software_tpm import ca_name


@dataclass(frozen=True, kw_only=True)
class Ca:
    """A CA of endorsement keys: the key with this label under this name."""

    name: str
    label: str
    kind: str = "p256"

    def certificate(
        self,
        now: datetime,
        *,
        issuer: Ca | None = None,
        life: tuple[timedelta, timedelta] = (timedelta(days=-1), timedelta(days=365)),
        ca: bool = True,
        sign: bool = True,
        digest: hashes.SHA256 | hashes.SHA512 | None = None,
        extension: x509.ExtensionType | None = None,
    ) -> bytes:
        """Its certificate, DER: self-signed, or by `issuer`."""
        above = issuer or self
        key, signer = (software_tpm.private(c.kind, c.label) for c in (self, above))
        builder = (
            x509.CertificateBuilder()
            .subject_name(ca_name(self.name))
            .issuer_name(ca_name(above.name))
            .public_key(key.public_key())
            .serial_number(7)
            .not_valid_before(now + life[0])
            .not_valid_after(now + life[1])
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(software_tpm.usage(sign=sign, encrypt=not sign), critical=True)
        )
        if extension is not None:
            builder = builder.add_extension(extension, critical=True)
        assert isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
        made = builder.sign(signer, digest or hashes.SHA256())
        return made.public_bytes(serialization.Encoding.DER)


ROOT = Ca(name="Example TPM Root", label="tpm-ca")
OTHER_ROOT = Ca(name="Other TPM Root", label="other-tpm-ca")
BELOW = Ca(name="Example TPM Issuing CA", label="tpm-issuing-ca")


@cache
def certificate_of(ca: Ca, now: datetime, issuer: Ca | None = None) -> bytes:
    """The one certificate of a CA in a test; `certificate` signs a new one each time."""
    return ca.certificate(now, issuer=issuer)
