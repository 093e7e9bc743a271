"""Authenticates a TPM 2.0 quote.

Numbered procedure of `authenticate`:

    (1) the message parses as a TPMS_ATTEST and attests a quote (attest.py: the magic);
    (2) the public area is that of an attestation key (keys.py);
    (3) the signature is of the scheme and hash that this key is fixed to;
    (4) the signature over the whole message verifies;
    (5) the presented PCR values are those of the quote's selection, bank by bank, bit by bit, and
        at least one PCR is quoted;
    (6) the hash of the presented values, in the quote's order of banks and ascending within each,
        is the quote's PCR digest. The hash is the signing scheme's, whatever the banks are.

The caller MUST check that `nonce` binds what it expects (docs/specs/evidence-binding.md) and that
the key is in a TPM it knows: a quote by itself proves only that somebody holds a key
(credential.py). `authenticate_under` runs all but (2) and (3), for a key that something else than a
public area vouches for.

Checks that could make sense but do not exist:
  - low s, and leading zeros of r and s: TPMs differ, so a quote has more than one valid signature;
    replay protection must rest on nonces, never on digests of evidence;
  - the clock's `safe` bit and counters: a fact about a boot, for the appraisal policy;
  - firmwareVersion: each vendor's own.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealward.verifier.formats.tpm import attest as attests
from sealward.verifier.formats.tpm import keys, name
from sealward.verifier.formats.tpm import public as publics
from sealward.verifier.formats.tpm import signature as signatures
from sealward.verifier.formats.tpm.algorithms import SigningScheme
from sealward.verifier.formats.tpm.attest import Attest, Quoted
from sealward.verifier.formats.tpm.public import Scheme
from sealward.verifier.rats.errors import Code, RefusedEvidence
from sealward.verifier.wire.tcg_hash import HashAlg

if TYPE_CHECKING:
    from sealward.verifier.formats.tpm.pcr import PcrBank, PcrSelection
    from sealward.verifier.formats.tpm.public import Public
    from sealward.verifier.formats.tpm.signature import Signature
    from sealward.verifier.pki.chain_cache import ChainCache

NONCE_SIZE: Final = 32  # docs/specs/evidence-binding.md, section 2

_HASHES: Final[dict[HashAlg, hashes.HashAlgorithm]] = {
    HashAlg.SHA256: hashes.SHA256(),
    HashAlg.SHA384: hashes.SHA384(),
    HashAlg.SHA512: hashes.SHA512(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenQuote:
    """A quote whose signature and PCR values were checked; built only in this module.

    Attributes:
        attest: the parsed attestation.
        quoted: its selections and digest.
        pcrs: the values that were quoted, in the quote's order of banks.
        evidence_sha256: over message and signature as given.
        signed_sha256: of the message.
    """

    attest: Attest
    quoted: Quoted
    pcrs: tuple[PcrBank, ...]
    evidence_sha256: str = field(repr=False)
    signed_sha256: str = field(repr=False)

    @property
    def nonce(self) -> bytes:
        """What the quote was asked to carry (extraData)."""
        return self.attest.extra_data


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedQuote(ProvenQuote):
    """A quote whose key was checked too, by its public area; built only by `authenticate`.

    Attributes:
        ak: public area of the key that signed.
        ak_name: its Name.
    """

    ak: Public
    ak_name: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationKey:
    """A key that may sign quotes, by its public area; built only by `attestation_key`.

    Attributes:
        area: the public area.
        scheme: what it signs with.
        name: its Name.
        key: verifies quotes.
    """

    area: Public
    scheme: Scheme
    name: bytes
    key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey = field(repr=False)


def attestation_key(area: Public) -> AttestationKey:
    """Step 2 alone.

    Raises:
        RefusedEvidence: KEY_ATTRIBUTES_FORBIDDEN or ALGORITHM_FORBIDDEN.
    """
    scheme = keys.check_attestation_key(area)
    loaded = keys.load(area, owner="the attestation key")
    return AttestationKey(area=area, scheme=scheme, name=name.name(area), key=loaded)


def read_key(data: bytes, cache: ChainCache) -> AttestationKey:
    """Read a public area that quotes come under again and again, or find it in the cache.

    Raises:
        MalformedEvidence: not a public area.
        RefusedEvidence: as `attestation_key`.
    """
    return cache.get(_key_name(data), AttestationKey) or attestation_key(publics.parse(data))


def keep_key(data: bytes, key: AttestationKey, cache: ChainCache) -> None:
    """Keep what `read_key` gave, after evidence under it was verified."""
    cache.put(_key_name(data), key)


def _key_name(data: bytes) -> tuple[str, bytes]:
    return ("tpm-attestation-key", hashlib.sha256(data).digest())


def authenticate(
    message: bytes, signature: bytes, ak: Public | AttestationKey, pcrs: tuple[PcrBank, ...]
) -> VerifiedQuote:
    """Run the procedure above.

    Args:
        message: TPMS_ATTEST.
        signature: TPMT_SIGNATURE.
        ak: public area of the attestation key, or the key of one that step 2 was made for.
        pcrs: presented PCR values, at most one entry for each bank.

    Raises:
        MalformedEvidence: message or signature do not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    attest = attests.parse(message)  # (1)
    quoted = require_quote(attest)
    known = ak if isinstance(ak, AttestationKey) else attestation_key(ak)  # (2)
    parsed = signatures.parse(signature)
    check_scheme(parsed, known.scheme)  # (3)
    check_signature(message, parsed, known.key)  # (4)
    ordered = check_selection(quoted.selections, pcrs)  # (5)
    check_digest(quoted, ordered, parsed.hash)  # (6)
    return VerifiedQuote(
        attest=attest,
        quoted=quoted,
        ak=known.area,
        ak_name=known.name,
        pcrs=ordered,
        evidence_sha256=hashlib.sha256(message + signature).hexdigest(),
        signed_sha256=hashlib.sha256(message).hexdigest(),
    )


def authenticate_under(
    key: rsa.RSAPublicKey, message: bytes, signature: bytes, pcrs: tuple[PcrBank, ...]
) -> ProvenQuote:
    """Run the procedure above but for (2) and (3): RSASSA with SHA-256 under a key given.

    The caller MUST know that `key` is a restricted signing key of a TPM: it signs nothing else that
    starts as an attestation.

    Raises:
        MalformedEvidence: message or signature do not parse.
        RefusedEvidence: with the code of the step that failed.
    """
    attest = attests.parse(message)
    quoted = require_quote(attest)
    parsed = signatures.parse(signature)
    check_scheme(parsed, Scheme(SigningScheme.RSASSA, HashAlg.SHA256))
    check_signature(message, parsed, key)
    ordered = check_selection(quoted.selections, pcrs)
    check_digest(quoted, ordered, parsed.hash)
    return ProvenQuote(
        attest=attest,
        quoted=quoted,
        pcrs=ordered,
        evidence_sha256=hashlib.sha256(message + signature).hexdigest(),
        signed_sha256=hashlib.sha256(message).hexdigest(),
    )


def require_quote(attest: Attest) -> Quoted:
    """Step 1. Raises RefusedEvidence UNSUPPORTED_FORMAT for an attestation of something else."""
    if not isinstance(attest.attested, Quoted):
        raise RefusedEvidence(
            Code.UNSUPPORTED_FORMAT,
            "the attestation is not a quote",
            expected="TPM_ST_ATTEST_QUOTE",
            actual=type(attest.attested).__name__,
        )
    return attest.attested


def check_scheme(signature: Signature, scheme: Scheme) -> None:
    """Step 3. Raises RefusedEvidence KEY_KIND_MISMATCH."""
    if (signature.scheme, signature.hash) != (scheme.scheme, scheme.hash):
        raise RefusedEvidence(
            Code.KEY_KIND_MISMATCH,
            "the signature is of another scheme than its key allows",
            expected=f"{scheme.scheme.name} with {scheme.hash.label}",
            actual=f"{signature.scheme.name} with {signature.hash.label}",
        )


def check_signature(
    message: bytes, signature: Signature, key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey
) -> None:
    """Step 4. Raises RefusedEvidence SIGNATURE_INVALID or ALGORITHM_FORBIDDEN."""
    algorithm = _HASHES.get(signature.hash)
    if algorithm is None or (signature.scheme is SigningScheme.ECDSA) != isinstance(
        key, ec.EllipticCurvePublicKey
    ):
        raise RefusedEvidence(
            Code.ALGORITHM_FORBIDDEN,
            "the signature's scheme or hash is not allowed with its key",
            actual=f"{signature.scheme.name} with {signature.hash.label}",
        )
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            r, s = (int.from_bytes(part, "big") for part in signature.parts)
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(algorithm))
        else:
            key.verify(signature.parts[0], message, _padding(signature, algorithm), algorithm)
    except InvalidSignature:
        raise RefusedEvidence(
            Code.SIGNATURE_INVALID, "the quote's signature does not verify under its key"
        ) from None


def check_selection(
    selections: tuple[PcrSelection, ...], pcrs: tuple[PcrBank, ...]
) -> tuple[PcrBank, ...]:
    """Step 5: return the presented banks in the quote's order.

    Bitmaps are compared and never the lists that stand for them: a list can name a PCR twice, or
    in an order that is not the one hashed.

    Raises:
        RefusedEvidence: PCR_MISMATCH.
    """
    quoted = {item.bank: item.bitmap for item in selections if item.bitmap}
    presented = {item.bank: item for item in pcrs}
    bitmaps = {bank: item.bitmap for bank, item in presented.items()}
    if not quoted or len(presented) != len(pcrs) or bitmaps != quoted:
        raise RefusedEvidence(
            Code.PCR_MISMATCH,
            "the PCR values given are not those that the quote selects",
            claim="measurements",
            expected=_readable(quoted) or "at least one PCR",
            actual=_readable(bitmaps) or "none",
        )
    return tuple(presented[bank] for bank in quoted)


def check_digest(quoted: Quoted, pcrs: tuple[PcrBank, ...], algorithm: HashAlg) -> None:
    """Step 6, for values in the quote's order. Raises RefusedEvidence PCR_MISMATCH."""
    values = b"".join(digest for bank in pcrs for _, digest in bank.values)
    if not hmac.compare_digest(algorithm.digest(values), quoted.pcr_digest):
        raise RefusedEvidence(
            Code.PCR_MISMATCH,
            "the PCR values given are not those that were quoted",
            claim="measurements",
            expected=quoted.pcr_digest.hex(),
            actual=algorithm.digest(values).hex(),
            hint="a PCR was extended between quote and read: collect both again",
        )


def _padding(
    signature: Signature, algorithm: hashes.HashAlgorithm
) -> padding.PKCS1v15 | padding.PSS:
    if signature.scheme is SigningScheme.RSASSA:
        return padding.PKCS1v15()
    # TPMs use the longest salt that fits, or since 1.59 one as long as the hash.
    return padding.PSS(mgf=padding.MGF1(algorithm), salt_length=padding.PSS.AUTO)


def _readable(bitmaps: dict[HashAlg, int]) -> str:
    return "; ".join(
        f"{bank.label}: {','.join(str(i) for i in range(bitmap.bit_length()) if bitmap >> i & 1)}"
        for bank, bitmap in bitmaps.items()
    )
