"""Nitro documents through /dev/nsm, with documents that a small module signs under a test root."""

from __future__ import annotations

import errno

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from fakes import nsm_device
from fakes.nsm_device import FakeNsm

from sealward.enclave_agent.attesters import nsm
from sealward.enclave_agent.attesters.nsm import NitroAttester
from sealward.enclave_agent.attesters.port import AttesterUnavailable
from sealward.verifier.rats.evidence import NITRO_EVIDENCE, Record, decode
from sealward.verifier.wire import cbor

BOUND = bytes(range(64))


def refusal(device: FakeNsm) -> str:
    with pytest.raises(AttesterUnavailable) as caught:
        NitroAttester(device).collect(BOUND)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_a_signed_document_carries_the_binding_as_user_data() -> None:
    record = decode(NitroAttester(FakeNsm()).collect(BOUND).cmw)
    assert isinstance(record, Record)
    assert record.media_type == NITRO_EVIDENCE
    payload = cbor.decode(record.value, what="evidence", max_bytes=1 << 16)
    assert isinstance(payload, dict)
    assert payload.keys() == {1}
    protected, unprotected, content, signature = cbor2.loads(payload[1])  # noqa: TID251 - AWS's CBOR
    assert (protected, unprotected) == (nsm_device.PROTECTED, {})
    r, s = (int.from_bytes(part, "big") for part in (signature[:48], signature[48:]))
    nsm_device.module().key.public_key().verify(
        encode_dss_signature(r, s),
        nsm_device.to_be_signed(content),
        ec.ECDSA(hashes.SHA384()),
    )
    document = cbor2.loads(content)  # noqa: TID251 - AWS's CBOR
    assert document["user_data"] == BOUND
    assert document["nonce"] is None
    assert document["public_key"] is None


def test_the_number_of_the_ioctl_is_that_of_the_kernel_header() -> None:
    assert nsm.NSM_IOCTL_RAW == nsm_device.NSM_IOCTL_RAW


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOENT, "CONFIG_NSM"),
        (errno.EACCES, "60-sealward-tee.rules"),
        (errno.EMFILE, "gives an error"),
    ],
)
def test_every_obstacle_is_named_with_its_remedy(number: int, told: str) -> None:
    device = FakeNsm(open_fails=number)
    found = NitroAttester(device).probe()
    assert not found.available
    assert told in found.why
    assert told in refusal(device)


def test_a_machine_with_the_device_can_be_used() -> None:
    assert NitroAttester(FakeNsm()).probe().available


def test_a_failing_ioctl_is_a_sentence() -> None:
    assert "two minutes" in refusal(FakeNsm(ioctl_fails=errno.ETIMEDOUT))
    assert "gives an error" in refusal(FakeNsm(ioctl_fails=errno.EIO))


OTHER_ANSWERS: list[tuple[bytes, str]] = [
    (cbor2.dumps({"Error": "InternalError"}), "refused: 'InternalError'"),
    (cbor2.dumps({"Attestation": {"document": "text"}}), "not a known one"),
    (cbor2.dumps({"Attestation": {"document": b"x", "documents": 1}}), "not a known one"),
    (cbor2.dumps({"Error": 1, "Attestation": {"document": BOUND}}), "not a known one"),
    (cbor2.dumps("GetRandom"), "not a known one"),
    (cbor2.dumps({"Attestation": {"document": b"of another"}}), "another request"),
    (b"", "cannot be read"),
    (b"\xff", "cannot be read"),
    (cbor2.dumps({"Attestation": {"document": bytes(20_000)}}), "cannot be read"),
]


@pytest.mark.parametrize("number", range(len(OTHER_ANSWERS)))
def test_any_other_answer_is_refused_with_a_reason(number: int) -> None:
    answer, told = OTHER_ANSWERS[number]
    assert told in refusal(FakeNsm(answers=[answer]))


def test_a_length_beyond_the_buffer_is_not_believed() -> None:
    class Lying(FakeNsm):
        def ioctl(self, number: int, argument: bytearray) -> None:
            super().ioctl(number, argument)
            argument[24:32] = (1 << 40).to_bytes(8, "little")

    assert "Nitro Secure Module's answer" in refusal(Lying())


def test_only_64_bytes_can_be_bound() -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        NitroAttester(FakeNsm()).collect(BOUND[1:])
