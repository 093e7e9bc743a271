"""A file is signed when a trusted key signed exactly its digest, and in no other case."""

from __future__ import annotations

import hashlib

import pytest
from fakes import software_tpm
from fakes.file_signer import FileSigner
from fakes.ima_kernel import ImaKernel, d_ng, name
from unit.verifier.ima.test_ima_log import confirmed, quoted

from sealward.verifier.composite import ima_log
from sealward.verifier.composite.ima_log import ListPart
from sealward.verifier.formats.ima import keys
from sealward.verifier.formats.ima.keys import FileKey
from sealward.verifier.formats.ima.signature import signer
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence

DIGEST = hashlib.sha256(b"agent").digest()
SIGNER = FileSigner()
KEY = keys.of_certificate(SIGNER.certificate())


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa2048"])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_a_signature_by_a_trusted_key_names_it(kind: str, named: bool, algorithm: str) -> None:  # noqa: FBT001 - a parameter
    by = FileSigner(kind=kind, named=named)
    key = keys.of_certificate(by.certificate())
    assert (key.identifier, key.sha256) == (by.identifier, by.sha256)
    digest = hashlib.new(algorithm, b"agent").digest()
    other = keys.of_certificate(FileSigner(label="other").certificate())
    assert signer(by.sign(digest, algorithm), algorithm, digest, (other, key)) == key
    verity = by.sign_verity(digest, algorithm)
    assert signer(verity, f"verity:{algorithm}", digest, (key,)) == key


def test_two_keys_with_one_identifier_are_told_apart() -> None:
    twin = FileKey(
        KEY.identifier, "other", FileSigner(kind="rsa2048", label="twin").private.public_key()
    )
    assert signer(SIGNER.sign(DIGEST), "sha256", DIGEST, (twin, KEY)) == KEY


@pytest.mark.parametrize(
    ("attribute", "algorithm"),
    [
        (b"", "sha256"),
        (SIGNER.sign(DIGEST)[:8], "sha256"),
        (SIGNER.sign(DIGEST)[:-1], "sha256"),
        (SIGNER.sign(DIGEST) + b"\0", "sha256"),
        (SIGNER.sign(DIGEST)[:7] + b"\0\0", "sha256"),
        (SIGNER.sign(hashlib.sha256(b"other").digest()), "sha256"),
        (SIGNER.sign(DIGEST), "sm3"),
        (SIGNER.sign(DIGEST), "verity:sha256"),
        (SIGNER.sign_verity(DIGEST), "sha256"),
        (b"\x05" + SIGNER.sign(DIGEST)[1:], "sha256"),
        (b"\x03\x01" + SIGNER.sign(DIGEST)[2:], "sha256"),
        (b"\x03\x02\x02" + SIGNER.sign(DIGEST)[3:], "sha1"),
        (FileSigner(label="stranger").sign(DIGEST), "sha256"),
        (
            SIGNER.sign(DIGEST)[:3] + SIGNER.identifier + FileSigner(label="x").sign(DIGEST)[7:],
            "sha256",
        ),
    ],
    ids=[
        *("none", "head", "short", "long", "empty", "other-digest", "other-hash", "for-verity"),
        *("of-verity", "evm", "version", "sha1", "stranger", "stolen-name"),
    ],
)
def test_anything_else_is_no_signature(attribute: bytes, algorithm: str) -> None:
    assert signer(attribute, algorithm, DIGEST, (KEY,)) is None


def test_claims_name_who_signed_what_was_measured() -> None:
    kernel = ImaKernel()
    kernel.append(b"ima-sig", d_ng(DIGEST), name("/usr/bin/agent"), SIGNER.sign(DIGEST))
    kernel.append(b"ima-sig", d_ng(DIGEST), name("/usr/bin/copy"), b"")
    verity = (d_ng(DIGEST, "verity:sha256"), name("/usr/bin/v"), SIGNER.sign_verity(DIGEST))
    kernel.append(b"ima-sigv2", *verity)
    part = ListPart(first=0, data=kernel.runtime_measurements())
    found = ima_log.confirm(part, quoted(kernel), before=None, now=software_tpm.NOW, keys=(KEY,))
    assert [item.signer for item in found.log.measured] == [KEY.sha256, None, KEY.sha256]
    assert [item.signer for item in confirmed(kernel).log.measured] == [None] * 3


def test_a_certificate_that_is_none_or_of_a_weak_key_is_refused() -> None:
    with pytest.raises(MalformedEvidence):
        keys.of_certificate(SIGNER.certificate()[:-1])
    with pytest.raises(RefusedEvidence) as caught:
        keys.of_certificate(FileSigner(kind="rsa1024").certificate())
    assert caught.value.code is Code.CERTIFICATE_FORBIDDEN
    certificate = SIGNER.certificate()
    at = certificate.index(bytes.fromhex("0603551d0e0416")) + len(bytes.fromhex("0603551d0e"))
    broken = certificate[:at] + b"\x04\x16\x05" + certificate[at + 3 :]
    with pytest.raises(MalformedEvidence):
        keys.of_certificate(broken)
