"""What can go wrong with one inference: by whose fault, as data; oip.py alone turns it into HTTP.

InferenceError
|-- InvalidRequest    the caller's bytes or tensors; the worker never saw them
|-- ModelUnavailable  this model does not serve now; `reason` says why and until what
|-- Overloaded        the queue of this model is full; the caller may retry
|-- DeadlineExceeded  the run took too long; its worker was killed
`-- ModelFailed       the model itself failed on these inputs; the worker lives on
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final


@unique
class Fault(StrEnum):
    """What is wrong with a request: the closed list that clients see as `code`."""

    MALFORMED = "malformed_request"
    TOO_LARGE = "too_large"
    INVALID_TENSOR = "invalid_tensor"
    UNSUPPORTED = "unsupported"
    NOT_REPRESENTABLE = "not_representable"


class InferenceError(Exception):
    """Base of the above; never raised itself."""


class InvalidRequest(InferenceError):
    """The request cannot be run as it stands.

    Attributes:
        fault: the closed code.
    """

    def __init__(self, fault: Fault, message: str) -> None:
        self.fault: Final = fault
        super().__init__(message)


class ModelUnavailable(InferenceError):
    """The model does not serve.

    Attributes:
        reason: one clause for clients and the repository index, like "revoked: ...".
    """

    def __init__(self, reason: str) -> None:
        self.reason: Final = reason
        super().__init__(reason)


class Overloaded(InferenceError):
    """As many requests as are allowed wait for this model already."""


class DeadlineExceeded(InferenceError):
    """The run did not answer within its deadline."""


class ModelFailed(InferenceError):
    """onnxruntime refused or failed the run. Its own text is dropped: it quotes tensor names."""
