"""AWS Nitro Enclaves: attestation documents from the Nitro Secure Module, /dev/nsm (Linux 6.8).

One ioctl carries a CBOR request there and a CBOR answer back (kernel: include/uapi/linux/nsm.h;
messages: aws-nitro-enclaves-nsm-api):

    nsm_raw    request {address u64, length u64}, response {address u64, length u64}
    request    {"Attestation": {"user_data": bstr, "nonce": null, "public_key": null}}
    answer     {"Attestation": {"document": bstr}} or {"Error": tstr}

The document's `nonce` and `public_key` stay empty: the binding in `user_data` covers the
challenge's nonce and every key (docs/specs/evidence-binding.md), and one place is enough.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.attesters.devices import Buffer, CharacterDevice, iowr
from sealward.enclave_agent.attesters.port import (
    AttesterUnavailable,
    Availability,
    Evidence,
    require_no_settings,
    require_report_data,
)
from sealward.verifier.rats.errors import MalformedEvidence
from sealward.verifier.rats.evidence import NITRO_EVIDENCE, Record, encode
from sealward.verifier.wire import cbor
from sealward.verifier.wire.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealward.enclave_agent.attesters.devices import Device

PATH: Final = "/dev/nsm"
MAX_RESPONSE: Final = 0x3000  # NSM_RESPONSE_MAX_SIZE

_RAW: Final = struct.Struct("=QQQQ")
_LENGTH_AT: Final = 24
NSM_IOCTL_RAW: Final = iowr(0x0A, 0, _RAW.size)

_DOCUMENT: Final = 1


class NitroAttester:
    """Collects attestation documents."""

    kind: Final = "nitro"

    def __init__(self, device: Device) -> None:
        self._device: Final = device

    def probe(self) -> Availability:
        """Say whether the module can be asked, or why not."""
        try:
            self._device.check()
        except OSError as error:
            return Availability(available=False, why=f"No Nitro document: {self._why(error)}.")
        return Availability(available=True, why=f"Documents come from {self._device.path}.")

    def collect(self, report_data: bytes) -> Evidence:
        """A document whose user_data is `report_data` (64 bytes).

        Raises:
            AttesterUnavailable: no evidence can be had here.
            ValueError: `report_data` is not 64 bytes.
        """
        require_report_data(report_data)
        empty = {"nonce": None, "public_key": None}
        answer = self._exchange(cbor.encode({"Attestation": {"user_data": report_data, **empty}}))
        document = _document(answer)
        if report_data not in document:
            raise AttesterUnavailable("The Nitro Secure Module answered another request.")
        payload = cbor.encode({_DOCUMENT: document})
        return Evidence(encode(Record(NITRO_EVIDENCE, payload)))

    def _exchange(self, message: bytes) -> bytes:
        request, response = Buffer(message), Buffer(bytes(MAX_RESPONSE))
        argument = bytearray(
            _RAW.pack(request.address, request.size, response.address, response.size)
        )
        try:
            self._device.ioctl(NSM_IOCTL_RAW, argument)
        except OSError as error:
            raise AttesterUnavailable(f"No Nitro document: {self._why(error)}.") from error
        reader = Reader(bytes(argument))
        reader.seek(_LENGTH_AT, "length of the answer")
        length = reader.le(8, "length of the answer")
        try:
            return Reader(response.content()).take(length, "answer")
        except MalformedEvidence as error:
            raise AttesterUnavailable(f"The Nitro Secure Module's answer: {error}.") from error

    def _why(self, error: OSError) -> str:
        match error.errno:
            case errno.ENOENT | errno.ENODEV | errno.ENXIO:
                return (
                    f"there is no {self._device.path} (in a Nitro Enclave: Linux 6.8 or later "
                    "with CONFIG_NSM, or AWS's own driver)"
                )
            case errno.EACCES | errno.EPERM:
                return (
                    f"this user may not open {self._device.path} (give it to the agent's group: "
                    "deploy/systemd/60-sealward-tee.rules)"
                )
            case errno.ETIMEDOUT:
                return "the hypervisor did not answer within the kernel's two minutes"
            case _:
                return f"{self._device.path} gives an error ({error.strerror})"


def _document(answer: bytes) -> bytes:
    """Return the document of an answer."""
    what = "answer of the Nitro Secure Module"
    try:
        value = cbor.decode(answer, what=what, max_bytes=MAX_RESPONSE)
    except MalformedEvidence as error:
        raise AttesterUnavailable(f"The answer cannot be read: {error}.") from error
    match value:
        case {"Attestation": {"document": bytes(document), **more}, **others} if not (
            more or others
        ):
            return document
        case {"Error": str(name)}:
            raise AttesterUnavailable(f"The Nitro Secure Module refused: {name!a}.")
        case _:
            raise AttesterUnavailable("The Nitro Secure Module's answer is not a known one.")


def from_settings(settings: Mapping[str, object]) -> NitroAttester:
    """The entry point `nitro`; it has no settings.

    Raises:
        AttesterUnavailable: a setting is given.
    """
    require_no_settings(settings)
    return NitroAttester(CharacterDevice(PATH))
