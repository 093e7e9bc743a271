"""Credentials that tpm2-tools 5.4 made open in the test's own TPM, so that one is a fair judge."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fakes import software_tpm, tpm_vectors
from fakes.software_tpm import EndorsementKey

# `tpm2_makecredential -T none -u ek.pub -s secret -n NAME -o FILE`: kind, private scalar, FILE.
P256 = (
    "a2b5e01c7ccfbfaba0918a9d8d5793c9021ce70ebe9b048a03dc2fee004f96cc",
    (
        "badcc0de00000001004400203eeb970a5deefd00c8240a47ce39b80a45570673dfedeb2a55a00c98611911ff3c056cfb"
        "6421971f00fe9b92c5f5ffa2ee0928bb91f8a812b36d04441cf695f9c5c600440020da78a6fe5fda669ee2be5356c263"
        "7b78e77d9464b07bb42f9d4ad3432993660f002044ae392ebe4af8d1db56e8e373321405f97f0381e2a1f5cdf3adfd87"
        "a408085d"
    ),
)
P384 = (
    "ae5864db6efba43b71ac32534c3328769baafed40205d1bae0222b68aa91b242082719fec46f5070b04d6e2193b240f",
    (
        "badcc0de0000000100540030e9a94d98b99397b95345653dfe04362b53c0e1f6b5288a26a18e452e37c85bcd79c59d69"
        "8ef740002b8387445afecc25f8677615ae98d8ff0673653e1444a19c1b555d5238dc889e4f3ca72e363a20f8579a0064"
        "003098843bf514a572d9f9b37835f3354670b17c9b738bd3d894b9f7a6e4f7f99dfe2d4aa857b0dba3d1764c8709e53b"
        "f31c00309368fe7493a3671ff89c99f87e1b51a1ced5f004341f917093a5bf17e3b0b5b1cd89d34e1f2618d2ffbfc8e2"
        "f87bf2a2"
    ),
)
NAME = b"\x00\x0b" + hashlib.sha256(b"any name").digest()


@pytest.mark.parametrize(
    ("ek", "curve", "known"),
    [
        (EndorsementKey(kind="p256"), ec.SECP256R1(), P256),
        (EndorsementKey(kind="p384", name_alg="sha384", aes=256), ec.SECP384R1(), P384),
    ],
    ids=["p256", "p384"],
)
def test_a_credential_of_tpm2_tools_opens_with_its_key(
    ek: EndorsementKey,
    curve: ec.EllipticCurve,
    known: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = ec.derive_private_key(int(known[0], 16), curve)
    monkeypatch.setattr(software_tpm, "private", lambda _kind, _label: key)
    read = tpm_vectors.credential_file(bytes.fromhex(known[1]))
    assert ek.activate(read.id_object, read.encrypted_secret, NAME) == b"\x5a" * 32
