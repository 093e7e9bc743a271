"""What a model takes and gives, as onnxruntime reported it, and requests checked against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealward.enclave_agent.inference import frames
from sealward.enclave_agent.inference.errors import Fault, InvalidRequest
from sealward.enclave_agent.inference.frames import MalformedFrame
from sealward.enclave_agent.inference.tensors import MAX_RANK, Datatype, Tensor

if TYPE_CHECKING:
    from sealward.verifier.wire.json import Canonical, Value

ANY: Final = -1  # the protocol's sign for a dimension that a request chooses


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: the graph's name for it.
        datatype: element type.
        shape: dimensions, ANY where the request chooses.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def admits(self, shape: tuple[int, ...]) -> bool:
        """Return whether a tensor of this shape fits."""
        return len(shape) == len(self.shape) and all(
            wanted in (ANY, given) for wanted, given in zip(self.shape, shape, strict=True)
        )

    def to_json(self) -> dict[str, Canonical]:
        """Return the protocol's metadata object."""
        return {"name": self.name, "datatype": self.datatype.value, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class Signature:
    """All inputs and outputs, in the graph's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check_inputs(self, tensors: tuple[Tensor, ...]) -> None:
        """Check that `tensors` are the model's inputs, each once, of fitting type and shape.

        Raises:
            InvalidRequest: the first thing that does not fit, with what would.
        """
        given = {tensor.name: tensor for tensor in tensors}
        if len(given) != len(tensors):
            raise _invalid("an input is given twice")
        wanted = {spec.name for spec in self.inputs}
        if given.keys() != wanted:
            raise _invalid(f"the model's inputs are {_names(wanted)}, not {_names(given)}")
        for spec in self.inputs:
            tensor = given[spec.name]
            if tensor.datatype is not spec.datatype:
                raise _invalid(f"input '{spec.name}' is {spec.datatype}, not {tensor.datatype}")
            if not spec.admits(tensor.shape):
                expected, actual = list(spec.shape), list(tensor.shape)
                raise _invalid(f"input '{spec.name}' has shape {expected}, not {actual}")

    def select_outputs(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the outputs to compute: those named, or all when none is.

        Raises:
            InvalidRequest: an unknown name, or one named twice.
        """
        known = tuple(spec.name for spec in self.outputs)
        if not names:
            return known
        if len(set(names)) != len(names):
            raise _invalid("an output is asked for twice")
        if not set(names) <= set(known):
            raise _invalid(f"the model's outputs are {_names(set(known))}")
        return names

    def to_frame(self) -> dict[str, Canonical]:
        """Return the members that `read` reads."""
        return {
            "inputs": [spec.to_json() for spec in self.inputs],
            "outputs": [spec.to_json() for spec in self.outputs],
        }


def read(inputs: Value, outputs: Value) -> Signature:
    """Read what a worker says its model takes and gives.

    Raises:
        MalformedFrame: it is not a list of specifications, or has none.
    """
    signature = Signature(_specs(inputs, "inputs"), _specs(outputs, "outputs"))
    if not signature.outputs:
        raise MalformedFrame("a model without outputs")
    return signature


_SPEC: Final = frozenset({"name", "datatype", "shape"})


def _specs(value: Value, what: str) -> tuple[TensorSpec, ...]:
    entries = frames.items(value, what)
    if len(entries) > frames.MAX_TENSORS:
        raise MalformedFrame(f"{what}: more than {frames.MAX_TENSORS}")
    return tuple(_spec(entry) for entry in entries)


def _spec(value: Value) -> TensorSpec:
    fields = frames.members(value, _SPEC, "specification")
    dims = frames.items(fields["shape"], "shape")
    if len(dims) > MAX_RANK:
        raise MalformedFrame(f"a rank of {len(dims)}")
    shape = tuple(ANY if dim == ANY else frames.integer(dim, "dimension") for dim in dims)
    return TensorSpec(
        frames.text(fields["name"], "name"), frames.datatype(fields["datatype"]), shape
    )


def _names(names: set[str] | dict[str, Tensor]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "none"


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(Fault.INVALID_TENSOR, message)
