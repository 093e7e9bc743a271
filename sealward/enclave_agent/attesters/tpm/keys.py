"""Endorsement keys and their certificates, attestation keys, and activating a credential.

Sources: TCG EK Credential Profile for TPM Family 2.0 (templates L-1, L-2 and H-3, NV indices),
TCG TPM v2.0 Provisioning Guidance (storage primary, persistent handles).

An attestation key is kept as two blobs that only this TPM can load again. Its parent is derived
anew for every use, which needs no place in the TPM's NV memory and no rights to write there.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.tpm import errors
from sealward.enclave_agent.attesters.tpm.answers import Loaded
from sealward.enclave_agent.attesters.tpm.codec import HashAlg, be, pack
from sealward.enclave_agent.attesters.tpm.commands import ENDORSEMENT, OWNER
from sealward.enclave_agent.attesters.tpm.errors import TpmError
from sealward.enclave_agent.attesters.tpm.exchange import PASSWORD
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.wire.der import SEQUENCE, DerReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealward.enclave_agent.attesters.tpm.answers import Created
    from sealward.enclave_agent.attesters.tpm.commands import Tpm

_RSA: Final = be(0x0001, 2)
_ECC: Final = be(0x0023, 2)
_NULL: Final = be(0x0010, 2)
_RSASSA_SHA256: Final = be(0x0014, 2) + be(HashAlg.SHA256, 2)
_ECDSA_SHA256: Final = be(0x0018, 2) + be(HashAlg.SHA256, 2)
_P256: Final = be(0x0003, 2)
_P384: Final = be(0x0004, 2)
_RSA_2048: Final = be(2048, 2) + be(0, 4)  # exponent 0 means 65537

_USER_WITH_AUTH: Final = 1 << 6
# fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, and decrypt or sign.
# noDA: the authorisation is empty, so there is nothing to guess, and a lockout that others caused
# must not take the key away.
_STORAGE_PRIMARY: Final = 0x00030472
_ATTESTATION_KEY: Final = 0x00050472
_EK_LOW_RANGE: Final = 0x000300B2
_EK_HIGH_RANGE: Final = 0x000300F2
# PolicySecret(endorsement), and PolicyB of the profile: that or the owner's own policy.
_POLICY_A_SHA256: Final = bytes.fromhex(
    "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
)
_POLICY_B_SHA384: Final = bytes.fromhex(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419ca"
    "cb47ba09699646150f9fc000f3f80e12"
)

_AUTH_READ: Final = 1 << 18  # TPMA_NV
_CHUNK: Final = 512  # below TPM_PT_NV_BUFFER_MAX of every TPM known
_MAX_CERTIFICATE: Final = 8192
_ERASED: Final = b"\0\xff"


@unique
class Hierarchy(StrEnum):
    """Whose seed an attestation key's parent comes from.

    The owner's is renewed when the owner clears the TPM; the endorsement one only by the maker.
    """

    ENDORSEMENT = "endorsement"
    OWNER = "owner"

    @property
    def handle(self) -> int:
        """The permanent handle."""
        return ENDORSEMENT if self is Hierarchy.ENDORSEMENT else OWNER


@unique
class AttestationKeyKind(StrEnum):
    """The attestation keys we make; both sign with SHA-256."""

    RSA_2048 = "rsa-2048"
    ECC_P256 = "ecc-p256"


@unique
class EndorsementKeyKind(StrEnum):
    """The endorsement keys whose certificates are looked for."""

    RSA_2048 = "rsa-2048"
    ECC_P256 = "ecc-p256"
    ECC_P384 = "ecc-p384"


@dataclass(frozen=True, slots=True)
class _Endorsement:
    """Where an endorsement key and its certificate are, and how the key is derived."""

    certificate: int
    persistent: int | None
    template: bytes


def _template(kind: bytes, name_alg: HashAlg, attributes: int, policy: bytes, rest: bytes) -> bytes:
    """Return a TPMT_PUBLIC."""
    return kind + be(name_alg, 2) + be(attributes, 4) + pack(policy) + rest


def _aes(bits: int) -> bytes:
    """Return AES in CFB mode as TPMT_SYM_DEF_OBJECT, and no signing scheme."""
    return be(0x0006, 2) + be(bits, 2) + be(0x0043, 2) + _NULL


def _point(size: int) -> bytes:
    """Return an ECC point to be filled in, as templates of this coordinate size write it."""
    return pack(bytes(size)) + pack(bytes(size))


_STORAGE_TEMPLATE: Final = _template(
    _ECC, HashAlg.SHA256, _STORAGE_PRIMARY, b"", _aes(128) + _P256 + _NULL + _point(32)
)
_ATTESTATION_TEMPLATES: Final = MappingProxyType(
    {
        AttestationKeyKind.RSA_2048: _template(
            _RSA,
            HashAlg.SHA256,
            _ATTESTATION_KEY,
            b"",
            _NULL + _RSASSA_SHA256 + _RSA_2048 + pack(b""),
        ),
        AttestationKeyKind.ECC_P256: _template(
            _ECC,
            HashAlg.SHA256,
            _ATTESTATION_KEY,
            b"",
            _NULL + _ECDSA_SHA256 + _P256 + _NULL + _point(0),
        ),
    }
)
_ENDORSEMENT_KEYS: Final = MappingProxyType(
    {
        EndorsementKeyKind.RSA_2048: _Endorsement(
            0x01C00002,
            0x81010001,
            _template(
                _RSA,
                HashAlg.SHA256,
                _EK_LOW_RANGE,
                _POLICY_A_SHA256,
                _aes(128) + _RSA_2048 + pack(bytes(256)),
            ),
        ),
        EndorsementKeyKind.ECC_P256: _Endorsement(
            0x01C0000A,
            None,
            _template(
                _ECC,
                HashAlg.SHA256,
                _EK_LOW_RANGE,
                _POLICY_A_SHA256,
                _aes(128) + _P256 + _NULL + _point(32),
            ),
        ),
        EndorsementKeyKind.ECC_P384: _Endorsement(
            0x01C00016,
            0x81010016,
            _template(
                _ECC,
                HashAlg.SHA384,
                _EK_HIGH_RANGE,
                _POLICY_B_SHA384,
                _aes(256) + _P384 + _NULL + _point(0),
            ),
        ),
    }
)


@contextmanager
def storage_primary(tpm: Tpm, hierarchy: Hierarchy) -> Iterator[Loaded]:
    """Hold the parent of everything that the agent makes: ECC P-256, fast to derive.

    Raises:
        TpmError: the hierarchy is switched off or has a password, or the TPM fails.
    """
    with tpm.create_primary(hierarchy.handle, _STORAGE_TEMPLATE) as primary:
        yield primary


def create_attestation_key(tpm: Tpm, kind: AttestationKeyKind, hierarchy: Hierarchy) -> Created:
    """Make an attestation key: restricted, signing, unable to leave this TPM.

    Raises:
        TpmError: as `storage_primary`.
    """
    with storage_primary(tpm, hierarchy) as parent:
        return tpm.create(parent.handle, _ATTESTATION_TEMPLATES[kind])


@contextmanager
def loaded(tpm: Tpm, created: Created, hierarchy: Hierarchy) -> Iterator[Loaded]:
    """Hold what was made below `storage_primary` of this TPM and hierarchy.

    The parent is gone by then: one object of the agent is in the TPM meanwhile.

    Raises:
        TpmError: it was made elsewhere, the hierarchy was cleared since, or the TPM fails.
    """
    with ExitStack() as held:
        with storage_primary(tpm, hierarchy) as parent:
            child = held.enter_context(tpm.load(parent.handle, created))
        yield child


@contextmanager
def endorsement_key(tpm: Tpm, kind: EndorsementKeyKind) -> Iterator[Loaded]:
    """Hold an endorsement key: the persistent one where there is one, else derived anew.

    Whether it is the key of the certificate, the verifier finds out.

    Raises:
        TpmError: the TPM has no such key and can derive none.
    """
    known = _ENDORSEMENT_KEYS[kind]
    if known.persistent is not None:
        try:
            public = tpm.read_public(known.persistent)
        except TpmError as error:
            if not error.says(errors.HANDLE):
                raise
        else:
            yield Loaded(known.persistent, public)
            return
    with tpm.create_primary(ENDORSEMENT, known.template) as derived:
        yield derived


def endorsement_certificate(tpm: Tpm, kind: EndorsementKeyKind) -> bytes:
    """Return the endorsement key's certificate (DER) from NV memory.

    Only its outermost length is looked at: makers pad indices with bytes of erased memory.

    Raises:
        TpmError: there is none, it may not be read, or no certificate is in the index.
    """
    index = _ENDORSEMENT_KEYS[kind].certificate
    try:
        public = tpm.nv_read_public(index)
    except TpmError as error:
        if not error.says(errors.HANDLE):
            raise
        raise TpmError(
            error.code,
            f"The TPM holds no certificate of an {kind} endorsement key ({index:#010x}).",
        ) from error
    if public.size > _MAX_CERTIFICATE:
        raise TpmError(None, f"NV index {index:#010x} has {public.size} bytes: no certificate.")
    authority = index if public.attributes & _AUTH_READ else OWNER
    content = b"".join(
        tpm.nv_read(index, authority=authority, size=min(_CHUNK, public.size - at), offset=at)
        for at in range(0, public.size, _CHUNK)
    )
    try:
        certificate = DerReader(content).element("certificate", SEQUENCE).der
    except MalformedEvidence as error:
        raise TpmError(None, f"NV index {index:#010x} holds no certificate: {error}.") from error
    if content.removeprefix(certificate).strip(_ERASED):
        raise TpmError(None, f"NV index {index:#010x} holds more than a certificate.")
    return certificate


def activate_credential(
    tpm: Tpm,
    key: Loaded,
    endorsement: Loaded,
    *,
    id_object: bytes,
    encrypted_secret: bytes,
    key_authorisation: int = PASSWORD,
) -> bytes:
    """Return the secret of a credential made for an object and an endorsement key.

    Keys of the low range demand a policy session in which the endorsement hierarchy was
    authorised; those of the high range take an authorisation value, which is empty.

    Args:
        tpm: where both are loaded.
        key: the object that the credential names: an attestation key or a lock.
        endorsement: the endorsement key that it was made for.
        id_object: inside of the TPM2B_ID_OBJECT.
        encrypted_secret: inside of the TPM2B_ENCRYPTED_SECRET.
        key_authorisation: a policy session that satisfies the object's policy, or PASSWORD for the
            empty authorisation value.

    Raises:
        TpmError: the credential was made for another pair, or the TPM fails.
    """
    with ExitStack() as held:
        authorisation = PASSWORD
        if not endorsement.public.attributes & _USER_WITH_AUTH:
            authorisation = held.enter_context(tpm.policy_session(endorsement.public.name_alg))
            tpm.policy_secret(authorisation, ENDORSEMENT)
        return tpm.activate_credential(
            key.handle,
            endorsement.handle,
            id_object,
            encrypted_secret,
            authorisation=authorisation,
            key_authorisation=key_authorisation,
        )
