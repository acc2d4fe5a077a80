"""Networks of PyTorch that become networks of fastnn; needs torch, which no extra brings."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest

import fastnn

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
ACTIVATIONS = [
    nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU(), nn.Softplus(), nn.Mish(),
    nn.Sigmoid(), nn.Tanh(),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def outputs(model, x=X):
    """Return what a network predicts in PyTorch."""
    model.eval()
    with torch.no_grad():
        return model(torch.tensor(x)).numpy()


def equal(ours, theirs, dtype="float32"):
    """Compare sums of a few numbers of order one, which may be added in another order."""
    assert ours.dtype == dtype
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def trained(*modules):
    """Return a Sequential whose normalisations have seen data, with weights of their own."""
    model = nn.Sequential(*modules)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d) and module.affine:
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    for first in range(0, 40, 8):
        model(torch.tensor(X[first : first + 8] * 3 + 1))
    return model


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_each_activation_is_that_of_pytorch(activation):
    model = nn.Sequential(nn.Linear(6, 9), activation, nn.Linear(9, 5), activation, nn.Linear(5, 2))
    net = fastnn.from_torch(model)
    equal(net.predict(10 * X), outputs(model, 10 * X))
    equal(net.predict_one(X[0]), outputs(model)[0])


def test_float64_stays_float64():
    model = nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 2)).double()
    equal(fastnn.from_torch(model).predict(X), outputs(model, X.astype(np.float64)), "float64")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_two_bytes_are_widened(dtype):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2)).to(dtype)
    net = fastnn.from_torch(model)
    equal(net.predict(X), outputs(model.float()))


@pytest.mark.parametrize(
    ("last", "name"),
    [
        (nn.Softmax(dim=1), "softmax"),
        (nn.Softmax(dim=-1), "softmax"),
        (nn.Sigmoid(), "sigmoid"),
    ],
)
def test_the_last_activation_is_the_output(last, name):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3), last)
    net = fastnn.from_torch(model, classes=["a", "b", "c"])
    equal(net.predict_proba(X), outputs(model))
    assert net.architecture.output == name
    assert net.predict(X).tolist() == np.array(["a", "b", "c"])[outputs(model).argmax(1)].tolist()
    equal(fastnn.from_torch(model, output=name).predict_proba(X), outputs(model))


def test_a_log_softmax_becomes_probabilities():
    model = nn.Sequential(nn.Linear(6, 3), nn.LogSoftmax(dim=1))
    equal(fastnn.from_torch(model).predict_proba(X), np.exp(outputs(model)))


@pytest.mark.parametrize(
    ("output", "function"),
    [
        (None, lambda z: z),
        ("identity", lambda z: z),
        ("softmax", lambda z: torch.softmax(z, 1)),
        ("sigmoid", torch.sigmoid),
        ("exponential", torch.exp),
    ],
)
def test_a_network_that_ends_with_linear_gets_the_output_that_is_asked_for(output, function):
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    net = fastnn.from_torch(model, output)
    equal(net.predict_proba(X), function(torch.tensor(outputs(model))).numpy())


def test_a_single_logit_is_the_probability_of_the_second_class():
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1))
    net = fastnn.from_torch(model, output="sigmoid", classes=["no", "yes"])
    expected = np.where(outputs(model)[:, 0] > 0, "yes", "no")
    assert net.predict(X).tolist() == expected.tolist()


def test_layers_may_be_nested_named_shared_and_without_biases():
    act = nn.ReLU()
    inner = nn.Sequential(OrderedDict(first=nn.Linear(6, 9, bias=False), act=act))
    model = nn.Sequential(
        nn.Flatten(), inner, nn.Dropout(0.5), nn.Sequential(nn.Linear(9, 9), act), nn.Identity(),
        nn.Linear(9, 4), nn.Linear(4, 2, bias=False),
    )  # fmt: skip
    equal(fastnn.from_torch(model).predict(X), outputs(model))


def test_images_are_flat():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
    images = X.reshape(40, 2, 3)
    equal(fastnn.from_torch(model).predict(images), outputs(model, images))


def test_a_subclass_that_computes_the_same_is_read():
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))

    model = Net()
    equal(fastnn.from_torch(model).predict(X), outputs(model))
    torch.nn.utils.parametrizations.weight_norm(model[0])
    equal(fastnn.from_torch(model).predict(X), outputs(model))


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    "modules",
    [
        lambda norm: (nn.Linear(6, 9), norm(9), nn.ReLU(), nn.Linear(9, 2)),
        lambda norm: (nn.Linear(6, 9), nn.ReLU(), norm(9), nn.Linear(9, 2)),
        lambda norm: (norm(6), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2)),
        lambda norm: (norm(6), norm(6), nn.Linear(6, 9), norm(9), norm(9), nn.Tanh(), norm(9),
                      nn.Dropout(), norm(9), nn.Linear(9, 2), norm(2), nn.Softmax(1)),
    ],
    ids=["before", "after", "first", "everywhere"],
)  # fmt: skip
def test_normalisations_become_part_of_a_layer(modules, affine):
    model = trained(*modules(lambda units: nn.BatchNorm1d(units, affine=affine)))
    net = fastnn.from_torch(model)
    expected = outputs(model.double(), X.astype(np.float64))
    scale = np.abs(expected).max()  # sums of numbers of that size
    np.testing.assert_allclose(net.predict_proba(X), expected, atol=3e-6 * scale)


def test_the_network_is_a_copy_that_can_be_trained():
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 3))
    before = outputs(model)
    net = fastnn.from_torch(model, output="softmax")
    y = X.argmax(axis=1) % 3
    loss = net.evaluate(X, y)["loss"]
    net.train(X, y, epochs=10)
    assert net.evaluate(X, y)["loss"] < loss
    assert (outputs(model) == before).all()


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.act, self.out = nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x):
        return self.out(self.act(self.hidden(x)))


class Residual(nn.Sequential):
    def forward(self, x):
        return x + super().forward(x)


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


LINEAR = nn.Linear(6, 6)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Own(), r"^model is of the class Own \(test_conv.*Put what its forward calls into a Seq"),
        (Own().state_dict(), r"^model is of the class OrderedDict .* A state_dict does not say"),
        (nn.Sequential(LINEAR, Residual(LINEAR)), r"^model\[1\] is of the class Residual"),
        (nn.Sequential(Scaled(6, 2)), r"^model\[0\] is of the class Scaled"),
        (nn.Sequential(LINEAR, nn.LayerNorm(6)), r"^model\[1\] is of the class LayerNorm .torch.;"),
        (nn.Sequential(LINEAR, nn.Sequential(nn.PReLU())), r"^model\[1\]\[0\] is .* PReLU"),
        (nn.Sequential(OrderedDict(a=nn.Conv1d(1, 1, 1))), "^model.a is of the class Conv1d"),
        (nn.Sequential(nn.LazyLinear(3)), r"^model\[0\] is of the class LazyLinear"),
        ("net.pt", r"^model is of the class str \(builtins\); need Sequential, Linear"),
        (nn.Sequential, "^model is the class Sequential itself; need Sequential"),
    ],
)
def test_other_modules_are_refused_by_name(model, message):
    with pytest.raises(TypeError, match=message):
        fastnn.from_torch(model)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([LINEAR, nn.LeakyReLU(0.2)], r"^model\[1\] is LeakyReLU with negative_slope=0.2; .* 0.01"),
        ([LINEAR, nn.ELU(0.5)], r"^model\[1\] is ELU with alpha=0.5"),
        ([LINEAR, nn.GELU("tanh")], r"^model\[1\] is GELU with approximate='tanh'; .* 'none'"),
        ([LINEAR, nn.Softplus(2)], r"^model\[1\] is Softplus with beta=2"),
        ([LINEAR, nn.Softmax(dim=0)], r"^model\[1\] is Softmax with dim=0"),
        ([nn.Flatten(0), LINEAR], r"^model\[0\] is Flatten with start_dim=0"),
        ([LINEAR, nn.BatchNorm1d(6, track_running_stats=False)], "with track_running_stats=False"),
        ([LINEAR, nn.ReLU(), nn.Tanh()], r"^model\[2\] is Tanh right after model\[1\] \(ReLU\)"),
        ([LINEAR, nn.ReLU(), nn.BatchNorm1d(6), nn.ReLU()], r"^model\[3\] is ReLU right after"),
        ([nn.ReLU(), LINEAR], r"^model\[0\] is ReLU before the first Linear"),
        ([LINEAR, nn.Softmax(1), LINEAR], r"^model\[2\] comes after a softmax"),
        ([LINEAR, nn.Tanh()], r"^model ends with model\[1\] \(Tanh\); need Linear, Sigmoid or"),
        ([LINEAR, nn.ReLU(), nn.BatchNorm1d(6)], r"^model ends with model\[2\] \(BatchNorm1d\)"),
        ([LINEAR, nn.Linear(5, 2)], r"^model\[1\] has 5 inputs, but gets 6$"),
        ([LINEAR, nn.BatchNorm1d(5)], r"^model\[1\] does not fit what comes before"),
        ([nn.Dropout()], r"^model has no Linear"),
        ([], r"^model has no Linear"),
        ([nn.Linear(6, 1), nn.Softmax(1)], r"^output 'softmax' of a single unit is always 1"),
    ],
)  # fmt: skip
def test_what_fastnn_cannot_compute_is_refused(modules, message):
    with pytest.raises(ValueError, match=message):
        fastnn.from_torch(nn.Sequential(*modules))


def test_arguments_that_do_not_fit_the_network_are_refused():
    logits = nn.Sequential(nn.Linear(6, 3))
    with pytest.raises(
        ValueError, match=r"^classes are for .* 'identity'; name it, such as output="
    ):
        fastnn.from_torch(logits, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"^classes must be 3 different names"):
        fastnn.from_torch(logits, "softmax", classes=["a", "b"])
    with pytest.raises(ValueError, match=r"^output must be one of .*; got 'logits'"):
        fastnn.from_torch(logits, "logits")
    probabilities = nn.Sequential(nn.Linear(6, 3), nn.Softmax(1))
    with pytest.raises(ValueError, match=r"^output is 'sigmoid', but the model ends with model\[1"):
        fastnn.from_torch(probabilities, "sigmoid")
    with pytest.raises(TypeError, match=r"no argument 'out_activation'; did you mean 'output'\?"):
        fastnn.from_torch(logits, out_activation="softmax")


def test_hooks_and_weights_that_are_not_finite_are_refused():
    model = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 1))
    hook = model[1].register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(ValueError, match=r"^model\[1\] has forward hooks, which may change"):
        fastnn.from_torch(model)
    hook.remove()
    fastnn.from_torch(model)
    with torch.no_grad():
        model[2].bias[0] = np.inf
    with pytest.raises(ValueError, match=r"^layer 1 has weights that are not finite in float32"):
        fastnn.from_torch(model)


@pytest.mark.parametrize(
    ("how", "message"),
    [({"device": "meta"}, "no numbers"), ({"dtype": torch.complex64}, "complex numbers")],
)
def test_parameters_that_are_no_real_numbers_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        fastnn.from_torch(nn.Sequential(nn.Linear(3, 2, **how)))
