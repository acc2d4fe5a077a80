"""Networks of PyTorch.

Nothing is imported from PyTorch: what a module is, its class says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastnn.activations import OUTPUT, Array
from fastnn.checks import values as check
from fastnn.checks.keywords import suggesting
from fastnn.conversion.building import Layer, built
from fastnn.conversion.kinds import kind, shown
from fastnn.network import Network

PACKAGE = "torch.nn.modules"
ACTIVATIONS = {
    "ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu", "SELU": "selu", "GELU": "gelu",
    "SiLU": "silu", "Softplus": "softplus", "Mish": "mish", "Sigmoid": "sigmoid", "Tanh": "tanh",
    "Softmax": "softmax", "LogSoftmax": "softmax",
}  # fmt: skip
# They change nothing when a network predicts.
IGNORED = ("Dropout", "AlphaDropout", "Identity", "Flatten")
# What settings must be, where others compute something else.
NEEDED: dict[str, dict[str, tuple[Any, ...]]] = {
    "LeakyReLU": {"negative_slope": (0.01,)},
    "ELU": {"alpha": (1,)},
    "GELU": {"approximate": ("none",)},
    "Softplus": {"beta": (1,), "threshold": (20,)},
    "Softmax": {"dim": (1, -1, None)},
    "LogSoftmax": {"dim": (1, -1, None)},
    "Flatten": {"start_dim": (1,), "end_dim": (-1,)},
    "BatchNorm1d": {"track_running_stats": (True,)},
}
KNOWN = ("Sequential", "Linear", "BatchNorm1d", *IGNORED, *ACTIVATIONS)


@suggesting
def from_torch(
    model: Any, output: str | None = None, classes: Sequence[str | int] | None = None
) -> Network:
    """Return a network that predicts what a network of PyTorch predicts.

    The parameters are copied, from any device. Predictions agree up to rounding with those of
    ``model.eval()``, and `Network.predict_one` takes microseconds.

    Parameters
    ----------
    model : torch.nn.Sequential
        Of Linear and activations, also in several of Sequential: ReLU, LeakyReLU, ELU, SELU, GELU,
        SiLU, Softplus, Mish, Sigmoid and Tanh, with their default settings; the last may be
        Softmax. For LogSoftmax the network returns the probabilities themselves. BatchNorm1d
        becomes part of the Linear before or after it; Dropout, Identity and Flatten are left out.
    output : str, optional
        The output of a network that ends with Linear, as for `Network`. Those that were trained
        with ``CrossEntropyLoss`` need "softmax", with ``BCEWithLogitsLoss`` "sigmoid", and with
        ``PoissonNLLLoss`` "exponential". Default: "identity", the numbers that PyTorch returns.
    classes : sequence of str or int, optional
        The names of the classes, see `Network.classes`; for the output "softmax" or "sigmoid".

    Returns
    -------
    Network
        In float64 if a parameter is, else in float32.

    Raises
    ------
    TypeError
        If the model is something else, or holds another module.
    ValueError
        If fastnn has nothing that computes the same, or an argument is not as described.

    Examples
    --------
    >>> import fastnn
    >>> import torch  # doctest: +SKIP
    >>> layers = torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)  # doctest: +SKIP
    >>> model = torch.nn.Sequential(*layers)  # doctest: +SKIP
    >>> net = fastnn.from_torch(model, output="softmax", classes=["a", "b", "c"])  # doctest: +SKIP
    """
    found = _Found()
    for place, module in _modules("model", model):
        found.take(place, module)
    layers = found.finished(output)
    last = layers[-1].activation
    if classes is not None and last not in ("softmax", "sigmoid"):
        raise ValueError(
            f"classes are for the output 'softmax' or 'sigmoid', but it is {last!r}; name it, such "
            "as output='softmax' for a model that was trained with CrossEntropyLoss"
        )
    dtype = np.result_type(np.float32, *(layer.weights for layer in layers))
    return built(layers, dtype, classes=classes)


def _modules(place: str, module: Any) -> Iterator[tuple[str, Any]]:
    """Yield what is in a Sequential, and in those that are in it, with where it is."""
    what = kind(module, PACKAGE, "forward")
    if what in KNOWN:
        for name in ("_forward_hooks", "_forward_pre_hooks"):
            if getattr(module, name, None):
                raise ValueError(
                    f"{place} has {name.strip('_').replace('_', ' ')}, which may change what it "
                    "computes; remove them first"
                )
    if what != "Sequential":
        yield place, module
        return
    for name, each in module._modules.items():  # children() has a shared module once only
        yield from _modules(f"{place}[{name}]" if name.isdigit() else f"{place}.{name}", each)


class Affine(NamedTuple):
    """``x * scale + shift``, which is to become part of a layer."""

    scale: Array
    shift: Array


@dataclass
class _Found:
    """The layers that were read so far."""

    layers: list[Layer] = field(default_factory=list)
    bare: bool = False  # whether the last one has no activation yet
    waiting: Affine | None = None  # for the next layer
    last: str = "model"  # the place of what was read last

    def take(self, place: str, module: Any) -> None:
        """Read a module."""
        what = kind(module, PACKAGE, "forward")
        if what not in KNOWN:
            raise TypeError(f"{place} is {shown(module)}; need {', '.join(KNOWN)}{_hint(module)}")
        for name, allowed in NEEDED.get(what, {}).items():
            if getattr(module, name) not in allowed:
                raise ValueError(
                    f"{place} is {what} with {name}={getattr(module, name)!r}; fastnn has it with "
                    f"{allowed[0]!r} only"
                )
        if what in IGNORED:
            return
        if self.layers and self.layers[-1].activation == "softmax":
            raise ValueError(f"{place} comes after a softmax, which fastnn has as the output only")
        if what == "Linear":
            self._linear(place, module)
        elif what == "BatchNorm1d":
            self._normalisation(place, module)
        elif not self.bare:
            before = "before the first Linear" if not self.layers else f"right after {self.last}"
            raise ValueError(f"{place} is {what} {before}; fastnn has one activation for a layer")
        else:
            self.layers[-1] = self.layers[-1]._replace(activation=ACTIVATIONS[what])
            self.bare = False
        self.last = f"{place} ({what})"

    def _linear(self, place: str, module: Any) -> None:
        weights = _array(module.weight).T
        biases = np.zeros(weights.shape[1]) if module.bias is None else _array(module.bias)
        if self.layers and len(self.layers[-1].biases) != len(weights):
            raise ValueError(
                f"{place} has {len(weights)} inputs, but gets {len(self.layers[-1].biases)}"
            )
        if self.waiting is not None:
            _check_width(place, len(weights), self.waiting)
            biases = biases + self.waiting.shift @ weights
            weights = (weights * self.waiting.scale[:, None]).astype(weights.dtype)
            self.waiting = None
        self.layers.append(Layer(weights, biases, "identity"))
        self.bare = True

    def _normalisation(self, place: str, module: Any) -> None:
        mean, variance = (
            _array(each).astype(np.float64) for each in (module.running_mean, module.running_var)
        )
        scale = 1 / np.sqrt(variance + module.eps)
        if module.weight is not None:
            scale = scale * _array(module.weight)
        shift = -mean * scale
        if module.bias is not None:
            shift = shift + _array(module.bias)
        affine = Affine(scale, shift)
        if self.bare:
            weights, biases, activation = self.layers[-1]
            _check_width(place, len(biases), affine)
            changed = (weights * scale).astype(weights.dtype), biases * scale + shift
            self.layers[-1] = Layer(*changed, activation)
        elif self.waiting is None:
            self.waiting = affine
        else:
            first = self.waiting
            _check_width(place, len(first.scale), affine)
            self.waiting = Affine(first.scale * scale, first.shift * scale + shift)

    def finished(self, output: str | None) -> list[Layer]:
        """Return the layers, the last with the output that is asked for."""
        if not self.layers:
            raise ValueError("model has no Linear; need one at least")
        if self.waiting is not None:
            raise ValueError(f"model ends with {self.last} after an activation; need a Linear")
        last = self.layers[-1]
        if output is not None:
            output = check.any_case("output", output, OUTPUT)
        if self.bare:
            return [*self.layers[:-1], last._replace(activation=output or "identity")]
        if last.activation not in OUTPUT:
            raise ValueError(
                f"model ends with {self.last}; need Linear, Sigmoid or Softmax as the last"
            )
        if output not in (None, last.activation):
            raise ValueError(
                f"output is {output!r}, but the model ends with {self.last} and has an output "
                "already; leave output out"
            )
        return self.layers


def _check_width(place: str, units: int, affine: Affine) -> None:
    if len(affine.scale) != units:
        raise ValueError(f"{place} does not fit what comes before: {len(affine.scale)}, {units}")


def _array(tensor: Any) -> Array:
    """Return the numbers of a tensor on any device, in float32 at least."""
    if tensor.is_meta or tensor.is_complex():
        what = "complex numbers" if tensor.is_complex() else "no numbers (device 'meta')"
        raise ValueError(f"model has a parameter of {what}; need real numbers")
    tensor = tensor.detach().cpu()
    if tensor.element_size() < 4:  # bfloat16, which NumPy has not
        tensor = tensor.float()
    return np.asarray(tensor.numpy())


def _hint(model: Any) -> str:
    """Return how a model that is something else may be brought into this form, or nothing."""
    if isinstance(model, dict):
        return ". A state_dict does not say what comes between the layers: need the model itself"
    if kind(model, "torch") != "" and getattr(model, "_modules", None):
        return (
            ". Put what its forward calls into a Sequential, in that order, such as "
            "torch.nn.Sequential(model.hidden, torch.nn.ReLU(), model.out)"
        )
    return ""
