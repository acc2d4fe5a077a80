"""Networks as Python: one file that needs NumPy and nothing else, to be read and run.

It is written for Python 3.8 and NumPy 1.17, and later ones, and holds only the functions that the
network uses. Arrays are base64: Python decodes it 40 times as fast as base85, which is a sixteenth
shorter. Each array is one literal, as the parser takes gigabytes for many.
"""

from __future__ import annotations

import base64
import keyword
import pprint
from string import Template

import numpy as np

from fastnn.activations import LEAK, SELU_ALPHA, SELU_SCALE, Array
from fastnn.export.description import (
    Activate,
    Description,
    Product,
    Restore,
    Round,
    Sort,
    Standardize,
)

WIDTH = 100
# The formulas of `fastnn.activations`, what they call, and the formula of `fastnn.precision`.
FORMULAS = {
    "sigmoid": "return np.exp(np.minimum(z, 0)) / (1 + np.exp(-np.abs(z)))",
    "tanh": "return np.tanh(z)",
    "relu": "return np.maximum(z, 0)",
    "leaky_relu": f"return np.where(z > 0, z, {LEAK} * z)",
    "elu": "return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))",
    "selu": (
        f"return {SELU_SCALE} * np.where(z > 0, z, {SELU_ALPHA} * np.expm1(np.minimum(z, 0)))"
    ),
    "gelu": (
        "erfc = np.vectorize(math.erfc, otypes=[float])\n"
        "    return z * (0.5 * erfc(-z / math.sqrt(2))).astype(z.dtype)"
    ),
    "silu": "return z * sigmoid(z)",
    "softplus": "return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))",
    "mish": "return z * np.tanh(softplus(z))",
    "exponential": "return np.exp(z)",
    "softmax": (
        "e = np.exp(z - z.max(axis=1, keepdims=True))\n    return e / e.sum(axis=1, keepdims=True)"
    ),
    "to_bfloat16": (
        "bits = z.view(np.uint32)  # to the nearest number of 8 significant bits\n"
        "    bits = (bits + (((bits >> 16) & 1) + 0x7FFF)) & 0xFFFF0000\n"
        "    return np.where(np.isnan(z), z, bits.view(np.float32))"
    ),
}
NEEDS = {"silu": "sigmoid", "mish": "softplus"}

FILE = Template('''\
"""A neural network of $inputs inputs and $outputs outputs, written by fastnn.

    import $module

    $module.predict(X)        # $prediction
    $module.predict_proba(X)  # $probabilities

X is an array (rows, $inputs)$names.
$pixels

Layers: $layers;
$parameters parameters, $dtype$rounded. Nothing but NumPy is needed.

With the name of a CSV file, or one on standard input, this file prints a
prediction for each row: `python $module.py rows.csv`.
"""

$imports

import numpy as np

CLASSES = $classes
FEATURES = $features


def predict_proba(X):
    """Return $probabilities; a ValueError says what is wrong with X."""
    with np.errstate(all="ignore"):
        x = _rows(X)
$steps
    if not np.isfinite(x).all():
        row = np.isfinite(x).all(axis=1).argmin()
        raise ArithmeticError(f"outputs are not finite for row {row}: its numbers are too large")
    return x


$predict


${functions}def _rows(X):
$by_name    X = np.asarray(X)
    if X.ndim > 2 and len(X):  # such as pictures
        X = X.reshape(len(X), -1)
$one_column    if X.ndim != 2 or X.shape[1] != $inputs:
        hint = "; for one row use X[None, :]" if X.shape == ($inputs,) else ""
        raise ValueError(f"X must have shape (rows, $inputs); got {X.shape}{hint}")
    x = X.astype(np.$dtype)
    if X.dtype == np.uint8:  # pixels
        x *= np.$dtype(1 / 255)
    if not np.isfinite(x).all():
        row, column = np.argwhere(~np.isfinite(x))[0]
        got = f"got {X[row, column]} in row {row}, column {column}"
        raise ValueError(f"X must be finite in $dtype, {got}")
$warning    return x


def main(path=None):
    """Print a prediction for each row of a CSV file, whose first line may hold names."""
    with open(path, newline="", encoding="utf-8-sig") if path else sys.stdin as file:
        rows = [row for row in csv.reader(file) if row]
$heading    for row in rows:
        if len(row) != len(rows[0]):
            raise ValueError(f"rows must be equally long; got {len(rows[0])} and {len(row)} cells")
    X = np.array(rows, dtype=float)
$as_pixels    for prediction in predict(X):
        print($printed)


def _array(text, *shape):
    numbers = np.frombuffer(base64.b64decode(text), "$stored")
    return numbers.astype(np.$dtype, copy=False).reshape(shape)


# All numbers, as base64 of $dtype, the lowest byte first.
''')  # fmt: skip

END = """
if __name__ == "__main__":
    try:
        main(*sys.argv[1:2])
    except (ArithmeticError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
"""

ROUNDED = """,
and the factors of each product are rounded to bfloat16"""
OF_PIXELS = """\
The network takes pixels, numbers from 0 to 255, as uint8: these are divided by
255, as no other type is."""
OF_OTHERS = """\
Rows of uint8 are taken for pixels and divided by 255, as no other type is."""
BY_NAME = """\
    if hasattr(X, "columns"):  # a DataFrame, whose columns may be in any order
        X = X[list(FEATURES)]
"""
ONE_COLUMN = """\
    if X.ndim == 1:
        X = X[:, None]
"""
WARNING = """\
    if X.dtype != np.uint8 and x.size and x.max() > 2:
        warnings.warn("X has numbers far above 1 and is not uint8; need X.astype('uint8')")
"""
AS_PIXELS = """\
    if X.size and X.min() >= 0 and X.max() <= 255 and (X % 1 == 0).all():
        X = X.astype(np.uint8)
"""
CHOSEN = """\
    if rows and set(FEATURES) <= set(rows[0]):  # columns may be in any order, among others
        places = [rows[0].index(name) for name in FEATURES]
        rows = [[row[i] for i in places if i < len(row)] for row in rows[1:]]
    try:
        np.array(rows[:1], dtype=float)
    except ValueError:
        raise ValueError(f"need numbers, or columns {list(FEATURES)}; got {rows[0]}") from None
"""
SKIPPED = """\
    try:
        np.array(rows[:1], dtype=float)
    except ValueError:  # names
        del rows[0]
"""

OF_LARGEST = '''\
def predict(X):
    """Return the class of each row, that of the largest output."""
    return $names[predict_proba(X).argmax(axis=1)]'''
OF_SEVERAL = '''\
def predict(X, threshold=None):
    """Return the class of each row, that of the largest output.

    With a threshold return for each class whether its probability is above it, 0 or 1.
    """
    probabilities = predict_proba(X)
    if threshold is not None:
        return (probabilities > threshold).astype(np.int64)
    return $names[probabilities.argmax(axis=1)]'''
OF_ONE = '''\
def predict(X, threshold=0.5):
    """Return the class of each row, the second if its probability is above the threshold."""
    return $names[(predict_proba(X)[:, 0] > threshold).astype(np.int64)]'''
OF_NUMBERS = '''\
def predict(X):
    """Return the same as `predict_proba`."""
    return predict_proba(X)'''


def content(network: Description, name: str) -> bytes:
    """Return the file of a network.

    Parameters
    ----------
    network : Description
    name : str
        The name of the file, without its ending, by which its docstring imports it.
    """
    steps, arrays = _computation(network)
    functions = _functions(network)
    prediction, probabilities, predict = _meaning(network)
    modules = ["base64", "csv", *["math"] * ("math." in functions), "sys"]
    modules += ["warnings"] * network.pixels
    named = network.features is not None
    text = FILE.substitute(
        inputs=network.inputs,
        outputs=network.outputs,
        module=name if name.isidentifier() and not keyword.iskeyword(name) else "network",
        prediction=prediction,
        probabilities=probabilities,
        names=", with columns as in FEATURES" * named,
        pixels=OF_PIXELS if network.pixels else OF_OTHERS,
        layers=_layers(network),
        parameters=f"{network.parameters:,}",
        dtype=network.dtype.name,
        rounded=ROUNDED * network.rounds,
        stored=network.dtype.newbyteorder("<").str,
        imports="\n".join(f"import {module}" for module in modules),
        classes=_literal(network.labels or None),
        features=_literal(network.features),
        steps="\n".join(f"        x = {step}" for step in steps),
        predict=Template(predict).substitute(names=_names(network.labels)),
        functions=functions,
        by_name=BY_NAME * named,
        one_column=ONE_COLUMN * (network.inputs == 1),
        warning=WARNING * network.pixels,
        heading=CHOSEN if named else SKIPPED,
        as_pixels=AS_PIXELS * network.pixels,
        printed="prediction" if network.labels else '*prediction, sep=","',
    )
    literals = [_array(name, array, network.dtype) for name, array in arrays.items()]
    return b"".join([text.encode(), *literals, END.encode()])


def _computation(network: Description) -> tuple[list[str], dict[str, Array]]:
    """Return what becomes of ``x`` step by step, and the arrays that the steps name."""
    steps: list[str] = []
    arrays: dict[str, Array] = {}
    layer = 0
    for operation in network.operations:
        if isinstance(operation, Standardize):
            steps.append("(x - MEAN) * SCALE")
            arrays |= {"MEAN": operation.mean, "SCALE": operation.scale}
        elif isinstance(operation, Round):
            steps.append("to_bfloat16(x)")
        elif isinstance(operation, Product):
            steps.append(f"x @ WEIGHTS_{layer} + BIASES_{layer}")
            arrays |= {f"WEIGHTS_{layer}": operation.weights, f"BIASES_{layer}": operation.biases}
            layer += 1
        elif isinstance(operation, Activate) and operation.name in FORMULAS:
            steps.append(f"{operation.name}(x)")
        elif isinstance(operation, Restore):
            steps.append("x / TARGET_SCALE + TARGET_MEAN")
            arrays |= {"TARGET_MEAN": operation.mean, "TARGET_SCALE": operation.scale}
        elif isinstance(operation, Sort):
            steps.append("np.sort(x, axis=1)")
    return steps, arrays


def _functions(network: Description) -> str:
    """Return the functions that a network uses."""
    used = {each.name for each in network.operations if isinstance(each, Activate)}
    used |= {NEEDS[name] for name in used if name in NEEDS}
    used |= {"to_bfloat16"} if network.rounds else set()
    functions = (f"def {name}(z):\n    {body}" for name, body in FORMULAS.items() if name in used)
    return "".join(f"{function}\n\n\n" for function in functions)


def _meaning(network: Description) -> tuple[str, str, str]:
    """Return what is predicted, what the outputs are, and the function for the first."""
    count = network.outputs
    if network.output == "softmax":
        return "the class of each row", f"probabilities of the classes, (rows, {count})", OF_LARGEST
    if network.output == "sigmoid" and count > 1:
        what = f"independent probabilities of the classes, (rows, {count})"
        return "the class of each row", what, OF_SEVERAL
    if network.output == "sigmoid":
        return "the class of each row", "probabilities of the second class, (rows, 1)", OF_ONE
    ascending = ", in ascending order" * isinstance(network.operations[-1], Sort)
    numbers = f"numbers, (rows, {count}){ascending}"
    return numbers, numbers, OF_NUMBERS


def _layers(network: Description) -> str:
    """Return the layers in words: how many units, and of which activation."""
    widths = [len(each.biases) for each in network.operations if isinstance(each, Product)]
    names = [each.name for each in network.operations if isinstance(each, Activate)]
    return ", ".join(f"{width:,} {name}" for width, name in zip(widths, names, strict=True))


def _names(labels: tuple[str | int, ...]) -> str:
    """Return the classes as an array of which `fastnn.Network.predict` would give."""
    kinds = set(map(type, labels))
    if len(kinds) > 1:
        return "np.array(CLASSES, dtype=object)"
    if kinds != {int}:
        return "np.array(CLASSES)"
    whole = np.array(labels).dtype
    if whole.kind in "fO":  # beyond 64 bits
        return "np.array(CLASSES, dtype=object)"
    return f"np.array(CLASSES, dtype=np.{'uint64' if whole.kind == 'u' else 'int64'})"


def _literal(value: tuple[str | int, ...] | None) -> str:
    return pprint.pformat(value, width=WIDTH, compact=True)


def _array(name: str, array: Array, dtype: np.dtype) -> bytes:
    """Return the line, or lines, that assign an array."""
    text = base64.encodebytes(array.astype(dtype.newbyteorder("<"), copy=False).tobytes())
    shape = ", ".join(map(str, array.shape))
    return b'%s = _array(b"""\n%s""", %s)\n' % (name.encode(), text, shape.encode())
