"""Why a TPM did not do what it was asked, as one sentence (TPM 2.0 part 2, section 6.6)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sealward.verifier.rats.errors import MalformedEvidence

HANDLE: Final = 0x08B
POLICY_FAIL: Final = 0x09D
PCR_CHANGED: Final = 0x128
NV_UNINITIALIZED: Final = 0x14A
BUSY: Final = frozenset({0x908, 0x90A, 0x922})  # yielded, testing, retry: nothing was done

_FORMAT_ONE: Final = 0x080  # errors of one handle, parameter or session
_PARAMETER: Final = 0x040
_SESSION: Final = 0x8  # in the four bits of the number
_NUMBER_AT: Final = 8
_LAYER_AT: Final = 16  # above the TPM's own bits: software in front of it, as the kernel

_MEANINGS: Final = MappingProxyType(
    {
        0x01E: "it does not know this kind of command (is it a TPM 1.2?)",
        0x081: "the asymmetric algorithm is not supported or not right",
        0x082: "the attributes of the object do not allow it",
        0x083: "the hash algorithm is not supported or not right",
        0x084: "a value is out of range or not right in its place",
        0x085: "the hierarchy is switched off or not right",
        0x087: "the key size is not supported",
        0x08A: "the type is not right",
        HANDLE: "there is nothing with this handle",
        0x08D: "a value is out of range",
        0x08E: "the authorisation is wrong, and the failure counts towards lockout",
        0x092: "the signing scheme is not supported",
        0x095: "a structure has the wrong size",
        0x096: "the symmetric algorithm is not supported",
        0x09A: "a structure is too short",
        0x09C: "the key's fields do not fit each other",
        POLICY_FAIL: "a policy check failed: the TPM is not in the state that is demanded",
        0x09F: "the integrity check failed: this was not made for or by this TPM",
        0x0A1: "reserved bits are set",
        0x0A2: "the authorisation is wrong",
        0x0A6: "the curve is not supported",
        0x0A7: "the point is not on the curve",
        0x100: "it was not started (TPM2_Startup is the firmware's task)",
        0x101: "it is in failure mode; only a reset of the machine can help",
        0x120: "the command is switched off",
        0x124: "this object needs another kind of authorisation",
        0x125: "an authorisation is missing",
        PCR_CHANGED: "a PCR was extended since the policy session looked",
        0x12F: "the authorisation cannot be used here",
        0x130: "it needs a restart of the machine first",
        0x142: "the size of the command is wrong",
        0x143: "it does not have this command",
        0x144: "the size of the authorisations is wrong",
        0x146: "the read is outside the NV index",
        0x148: "the NV index is locked",
        0x149: "the NV index does not allow it",
        NV_UNINITIALIZED: "the NV index was never written",
        0x14B: "it has no NV memory left",
        0x14C: "the NV index is already defined",
        0x902: "it has no memory left for objects: something does not flush what it loads",
        0x903: "it has no memory left for sessions: something does not flush its sessions",
        0x904: "it has no memory left",
        0x905: "it has no session handles left",
        0x907: "this locality may not do it",
        0x908: "it stayed busy; ask again later",
        0x909: "the command was cancelled",
        0x90A: "it is still testing itself; ask again in a few seconds",
        0x910: "the first handle refers to nothing that is loaded",
        0x911: "the second handle refers to nothing that is loaded",
        0x918: "the first session is not loaded",
        0x919: "the second session is not loaded",
        0x920: "it limits the rate of NV writes; ask again later",
        0x921: "it is locked out after failed authorisations; wait, or clear the lockout",
        0x922: "it stayed busy and did not start the command; ask again later",
        0x923: "its NV memory cannot be reached just now",
    }
)


class TpmError(Exception):
    """The TPM refused, could not be reached, or answered what cannot be read.

    Attributes:
        code: the response code (32 bits), or None where no response code was had.
        sentence: what happened and, where something can be done, what; holds no secrets.
    """

    def __init__(self, code: int | None, sentence: str) -> None:
        self.code: Final = code
        self.sentence: Final = sentence
        super().__init__(sentence)

    def says(self, error: int) -> bool:
        """Tell whether this is `error`, whichever handle, parameter or session it is about."""
        return self.code is not None and _error_of(self.code) == error


def refused(command: str, code: int) -> TpmError:
    """Return the error for a response code other than success.

    Args:
        command: the command's name, as "TPM2_Quote".
        code: the response code as it came.
    """
    meaning = _MEANINGS.get(_error_of(code), "see TPM 2.0 part 2, section 6.6")
    who = "The TPM" if not code >> _LAYER_AT else "The software in front of the TPM"
    return TpmError(code, f"{who} refused {command} with {code:#05x}{_place(code)}: {meaning}.")


def unreadable(command: str, error: MalformedEvidence) -> TpmError:
    """Return the error for a response that is not what its command answers with."""
    return TpmError(None, f"The answer to {command} cannot be read: {error}.")


def _error_of(code: int) -> int:
    """Return the error without the handle, parameter or session that it is about."""
    low = code & 0xFFF
    return low & (_FORMAT_ONE | 0x3F) if low & _FORMAT_ONE else low


def _place(code: int) -> str:
    number = code >> _NUMBER_AT & 0xF
    if not code & _FORMAT_ONE:
        return ""
    if code & _PARAMETER:
        return f" (parameter {number})"
    if number & _SESSION:
        return f" (session {number & ~_SESSION})"
    return f" (handle {number})" if number else ""
