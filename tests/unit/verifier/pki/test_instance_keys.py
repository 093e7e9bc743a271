"""Keys that tenants give: which one is an instance's, and how a file with one is read."""

from __future__ import annotations

import pytest
from fakes import arm_tokens

from sealward.verifier.pki import instance_keys
from sealward.verifier.pki.instance_keys import InstanceKey, Scheme
from sealward.verifier.rats.errors import Code, MalformedEvidence, RefusedEvidence
from sealward.verifier.wire import base64

SPKI = arm_tokens.spki("maker")
OURS = arm_tokens.anchor(Scheme.CCA)


def armoured(der: bytes, label: str = "PUBLIC KEY") -> bytes:
    text = base64.encode(der)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def find(*keys: InstanceKey) -> InstanceKey:
    return instance_keys.find(
        keys,
        Scheme.CCA,
        instance_id=arm_tokens.INSTANCE_ID,
        implementation_id=arm_tokens.IMPLEMENTATION_ID,
    )


def test_the_key_of_an_instance_is_the_one_that_names_it() -> None:
    others = (
        InstanceKey(scheme=Scheme.PSA, spki=SPKI, instance_id=arm_tokens.INSTANCE_ID),
        InstanceKey(scheme=Scheme.CCA, spki=SPKI, instance_id=b"\x01" + bytes(32)),
        InstanceKey(scheme=Scheme.CCA, spki=SPKI, implementation_id=bytes(32)),
    )
    assert find(*others, OURS) is OURS
    with pytest.raises(RefusedEvidence) as caught:
        find(*others)
    assert caught.value.code is Code.ENDORSEMENT_MISSING
    assert arm_tokens.INSTANCE_ID.hex() in str(caught.value.actual)


def test_two_keys_for_one_instance_are_ambiguous() -> None:
    with pytest.raises(RefusedEvidence) as caught:
        find(OURS, InstanceKey(scheme=Scheme.CCA, spki=arm_tokens.spki("other")))
    assert caught.value.code is Code.EVIDENCE_AMBIGUOUS


@pytest.mark.parametrize("curve", ["secp256r1", "secp384r1"])
def test_a_file_with_one_public_key_is_read(curve: str) -> None:
    spki = arm_tokens.spki("maker", curve)
    data = armoured(spki)
    assert instance_keys.looks_like_pem(data)
    assert instance_keys.from_pem(data) == spki
    key = InstanceKey(scheme=Scheme.CCA, spki=instance_keys.from_pem(data))
    assert instance_keys.public_key(key).curve.name == curve


@pytest.mark.parametrize(
    "data",
    [
        b"",
        armoured(SPKI) * 2,
        armoured(SPKI, "CERTIFICATE"),
        armoured(SPKI, "PRIVATE KEY"),
        armoured(SPKI, "EC PUBLIC KEY"),
        armoured(SPKI)[:-5],
        b"# a key\n" + armoured(SPKI),
        armoured(bytes(4096)),
    ],
)
def test_any_other_file_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        instance_keys.from_pem(data)


def test_a_file_of_certificates_does_not_look_like_a_key() -> None:
    assert not instance_keys.looks_like_pem(armoured(SPKI, "CERTIFICATE"))
    assert not instance_keys.looks_like_pem(SPKI)
