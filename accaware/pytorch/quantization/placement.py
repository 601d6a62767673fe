"""Where quantizers go: at the tensors that integer convolutions and additions would read.

A convolution or linear layer computes with integers where its weight and its input are quantized.
An addition behind a convolution (a residual branch) does where both of its operands are, and what
comes of it is; runtimes then run the convolution and the addition as one, and hand integers on to
the next layer.

A tensor is quantized where it comes out of a module, for all who read it after that; or, where no
module gives it or only one layer reads it, where it goes into that layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from torch import nn

from accaware.pytorch.channels.layout import ExcludedLayer
from accaware.pytorch.model.dataflow import Dataflow, ModuleCall, Operation, Value
from accaware.pytorch.model.inputs import ExampleInputs
from accaware.pytorch.model.scopes import Scopes
from accaware.pytorch.weights.left_out import EMBEDDING, left_out, why_excluded
from accaware.pytorch.weights.products import PRODUCTS
from accaware.pytorch.weights.weights import Role, Weight, weights_of

_ADDITIONS = ("add", "add_", "__add__", "__iadd__", "__radd__")
_NO_PLACE = "an addition in it has an operand that no module gives, or one that is excluded"
_ACTIVATIONS = ("relu", "relu_", "relu6", "hardtanh", "hardtanh_")
_CONVOLVES = tuple(f"conv{dims}d" for dims in (1, 2, 3))


@dataclass(frozen=True)
class ActivationPlace:
    """Where an activation is quantized.

    Attributes:
        module: the module's name; empty for the model itself.
        side: "input", the first argument of its forward, or "output".
        time: when in the forward pass, in operations.
    """

    module: str
    side: str
    time: int


@dataclass(frozen=True)
class QuantizableWeights:
    """The weights of a model that can be quantized.

    Attributes:
        places: by their places (see ``Quantizers``).
        layers: the places of those whose layers compute with integers where their inputs are
            quantized too: those of convolutions and linear layers, and of modules that do as these.
        excluded: all other weights, with their reasons.
    """

    places: Mapping[str, Weight]
    layers: Sequence[str]
    excluded: Sequence[ExcludedLayer]


def quantizable_weights(
    model: nn.Module,
    inputs: ExampleInputs,
    flow: Dataflow,
    scopes: Sequence[Scopes],
    *,
    embeddings: bool,
) -> QuantizableWeights:
    """The weights that can be quantized, and all others with their reason.

    Args:
        inputs: to follow the model with.
        flow: of the model's forward.
        scopes: each of which a layer has to be in.
        embeddings: whether those of embeddings are to be quantized.
    """
    weights = weights_of(model, inputs)
    called = {call.module for call in flow.calls}
    reasons: dict[str, str] = {}
    places: dict[str, Weight] = {}
    for each in weights:
        reason = why_excluded(each.layer, scopes) or _why_not(each, flow, called, embeddings)
        if reason is None:
            places[each.layer if each.key == "weight" and each.layer else each.name] = each
        else:
            reasons[each.name] = reason
    covered = {id(each.parameter) for each in places.values()}
    for each in weights:
        # Tied to a weight that is multiplied with, and no use of its own to say anything about.
        if each.role in (None, Role.EMBEDDING) and id(each.parameter) in covered:
            reasons.pop(each.name, None)
    layers = [place for place, each in places.items() if _reads_its_input(each, flow)]
    return QuantizableWeights(places, layers, left_out(model, weights, reasons, scopes))


def _why_not(weight: Weight, flow: Dataflow, called: Set[str], embeddings: bool) -> str | None:
    if weight.role is None:
        return weight.reason
    if weight.role is Role.RECURRENT:
        return (
            "it is a recurrent layer, which takes all its matrices at once: no format has one "
            "whose matrices are integers"
        )
    if weight.role is Role.EMBEDDING and not embeddings:
        return f"{EMBEDDING}; quantize_embeddings covers it"
    if weight.sparse_gradient:
        return "its gradient is sparse, and no quantizer passes such a one on"
    if weight.layer not in called:
        if weight.name in flow.parameters_used:
            return "the forward uses its weight, and doesn't call it"
        return "no forward goes through it when the model is evaluated"
    if weight.role is Role.PRODUCT and not weight.products:
        return f"{weight.key} is multiplied with outside of the forward of its own module"
    if weight.outputs is None:
        return f"it isn't known along which dimension of {weight.key} the outputs lie"
    if not weight.parameter.is_floating_point():
        return f"its weight is {str(weight.parameter.dtype).removeprefix('torch.')}"
    return None


def _reads_its_input(weight: Weight, flow: Dataflow) -> bool:
    """Whether what goes into the layer goes straight into its product, and nowhere else.

    Behind a view, as in transformers' Conv1D, onnxruntime doesn't take the pair of operators that
    stands for a quantized activation: it moves them over the view, and then finds their types
    wrong. There the weight alone is quantized.
    """
    if weight.role is Role.LAYER:
        return True
    if weight.role is not Role.PRODUCT or weight.products != 1 or weight.key != "weight":
        return False
    call = flow.call_of(weight.layer)
    if call is None or len(call.inputs) != 1:
        return False
    readers = [
        operation.name
        for operation in flow.consumers(call.inputs[0])
        if call.begin <= operation.time < call.end
    ]
    return len(readers) == 1 and readers[0] in PRODUCTS


class ActivationPlaces:
    """Finds where activations are quantized.

    Args:
        layers: those whose inputs are to be quantized.
        spared: modules at which nothing is to be quantized, with their reasons.
        quantize_inputs: whether what comes into the model is quantized too.
        quantize_outputs: whether what comes out of it is.
    """

    def __init__(
        self,
        flow: Dataflow,
        layers: Sequence[str],
        spared: Mapping[str, str],
        *,
        quantize_inputs: bool,
        quantize_outputs: bool,
    ) -> None:
        self._flow = flow
        self._layers = layers
        self._spared = spared
        self._quantize_inputs = quantize_inputs
        self._quantize_outputs = quantize_outputs
        self._made = {value for operation in flow.operations for value in operation.outputs}
        self._made.update(flow.model_inputs)

    def find(self) -> tuple[tuple[ActivationPlace, ...], tuple[ExcludedLayer, ...]]:
        """The places in the order of time, and what stays as it is."""
        readers = self._layer_readers()
        adders: dict[Value, list[Operation]] = {}
        sums: set[Value] = set()
        excluded = []
        for addition in filter(self._is_residual, self._flow.operations):
            if all(self._output_place(value, addition.time) for value in addition.inputs):
                for value in addition.inputs:
                    adders.setdefault(value, []).append(addition)
                sums.add(self._sum(addition))
            else:
                excluded.append(ExcludedLayer(addition.module or "the model", _NO_PLACE))
        places: set[ActivationPlace] = set()
        for value in sums - adders.keys() - readers.keys():
            # Nobody else asks for it, but for the addition to be one of integers.
            if (place := self._output_place(value, len(self._flow.operations))) is not None:
                places.add(place)
        for value in adders.keys() | readers.keys():
            reads = [call.begin for call in readers.get(value, ())]
            adds = [addition.time for addition in adders.get(value, ())]
            place = self._output_place(value, min(adds or reads))
            if place is not None and (adds or len(reads) > 1):
                places.add(place)
            else:
                place = None
            places |= {
                ActivationPlace(call.module, "input", call.begin)
                for call in readers.get(value, ())
                if place is None or call.begin < place.time
            }
        if self._quantize_outputs:
            found, staying = self._output_places()
            places |= found
            excluded += staying
        # A layer that is called several times has one place, whose range serves all its calls.
        once = {(place.module, place.side): place for place in sorted(places, key=_moment)[::-1]}
        return tuple(sorted(once.values(), key=_moment)), tuple(excluded)

    def _output_places(self) -> tuple[set[ActivationPlace], list[ExcludedLayer]]:
        """Of each tensor that comes out of the model: each has a range of its own."""
        flow = self._flow
        if flow.output_is_tensor and flow.floating_outputs:
            return {ActivationPlace("", "output", len(flow.operations))}, []
        places: set[ActivationPlace] = set()
        excluded = []
        if not flow.floating_outputs:
            excluded.append(
                ExcludedLayer("the model's output", "no floating-point tensor is seen in it")
            )
        for number, value in enumerate(flow.floating_outputs, start=1):
            place = self._innermost(value, len(flow.operations))
            if place is not None:
                places.add(place)
            else:
                name = f"the model's output, tensor {number}"
                excluded.append(
                    ExcludedLayer(name, "no module gives it, so that there is no place for it")
                )
        return places, excluded

    def _layer_readers(self) -> dict[Value, list[ModuleCall]]:
        """The calls of layers, by the value that goes into them."""
        readers: dict[Value, list[ModuleCall]] = {}
        for call in self._flow.calls:
            if call.module not in self._layers or call.module in self._spared or not call.inputs:
                continue
            value = call.inputs[0]
            if value in self._flow.model_inputs and not self._quantize_inputs:
                continue
            readers.setdefault(value, []).append(call)
        return readers

    def _is_residual(self, operation: Operation) -> bool:
        """Whether it adds two activations, one of them a convolution's."""
        if operation.name not in _ADDITIONS or len(set(operation.inputs)) != 2:
            return False
        if operation.module in self._spared:
            return False
        if not all(value in self._made for value in operation.inputs):
            return False
        return any(self._convolved(value) for value in operation.inputs)

    def _sum(self, addition: Operation) -> Value:
        """What an addition gives, or the activation behind it, which runtimes take along."""
        (value,) = addition.outputs
        following = self._flow.consumers(value)
        if len(following) == 1 and following[0].name in _ACTIVATIONS:
            (value,) = following[0].outputs
        return value

    def _convolved(self, value: Value) -> bool:
        """Whether a quantized convolution gives it, with only single-input steps after it."""
        while (producer := self._flow.producer(value)) is not None:
            if producer.name in _CONVOLVES:
                return producer.module in self._layers
            inputs = [each for each in producer.inputs if each in self._made]
            if len(inputs) != 1 or producer.name == "linear":
                return False
            value = inputs[0]
        return False

    def _output_place(self, value: Value, before: int) -> ActivationPlace | None:
        """The innermost module that gives the value, before that time."""
        return None if value in self._flow.model_outputs else self._innermost(value, before)

    def _innermost(self, value: Value, before: int) -> ActivationPlace | None:
        for call in self._flow.calls:
            if (
                call.output == value
                and call.end <= before
                and call.module not in self._spared
                and self._flow.call_of(call.module) is not None
            ):
                return ActivationPlace(call.module, "output", call.end)
        return None


def _moment(place: ActivationPlace) -> tuple[int, str, str]:
    return place.time, place.module, place.side


def first_layers(flow: Dataflow, layers: Sequence[str]) -> frozenset[str]:
    """Those of ``layers`` with no layer between them and the model's inputs."""
    return frozenset(
        call.module
        for call in flow.calls
        if call.module in layers
        and call.inputs
        and not _behind_a_layer(flow, layers, call.inputs[0])
    )


def _behind_a_layer(flow: Dataflow, layers: Sequence[str], value: Value) -> bool:
    names = (*_CONVOLVES, *(f"conv_transpose{dims}d" for dims in (1, 2, 3)), "linear")
    pending, seen = [value], set()
    while pending:
        current = pending.pop()
        producer = flow.producer(current)
        if producer is None or current in seen:
            continue
        seen.add(current)
        if producer.name in names or producer.module in layers:
            return True
        pending.extend(producer.inputs)
    return False
