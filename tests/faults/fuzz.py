"""Give the readers of files what no program writes: anything but a refusal is a finding.

``python tests/faults/fuzz.py --reader model --seconds 60 --seed 1``: files are changed at random,
guided by coverage where atheris is installed. A reader may return, or raise a `ValueError` that
names the file, or an `OSError`. Another exception, another warning than of what a file may mean,
more than 5 s or 200 MB for one file, or CSV readers that disagree are findings: their files are
left in ``--findings``. What was found once is in ``tests/faults/corpus``, which
``tests/test_fuzz.py`` reads again.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import importlib.util
import io
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

GUIDED = (
    "fastnn.datasets",
    "fastnn.model.storage",
    "fastnn.model.files",
    "fastnn.training.checkpoints",
    "fastnn.conversion.onnx",
)
if __name__ == "__main__" and "--plain" not in sys.argv and importlib.util.find_spec("atheris"):
    import atheris

    with atheris.instrument_imports(include=list(GUIDED)):
        import fastnn
else:
    atheris = None
    import fastnn

from fastnn import datasets  # noqa: E402
from fastnn.datasets import delimited, readers  # noqa: E402

CORPUS = ROOT / "tests" / "faults" / "corpus"
SECONDS = 5  # for one file
MEMORY = 200 << 20  # bytes beyond what reading the seeds took
LONGEST = 1 << 16  # bytes of a changed file
FILES = 30_000  # for one process of atheris
MAXRSS = 1 if sys.platform == "darwin" else 1024  # bytes in its unit
ADDRESSES = 2 << 30  # bytes beyond those at the start, in a process of its own

Change = Callable[[bytes], bytes]


class Hang(BaseException):
    """A file took too long."""


# Readers


def read_idx(path: Path, choice: random.Random) -> None:
    """Read an array, and the table that it may be."""
    named(path, lambda: datasets.read_idx(path))
    named(path, lambda: datasets.load(path))


def read_csv(path: Path, choice: random.Random) -> None:
    """Read with each of the readers, which agree on the table or that there is none."""
    options = {
        "label": choice.choice((None, None, 0, -1, 1, "label", "kind")),
        "header": choice.choice((None, None, True, False)),
        "dtype": choice.choice(("float32", "float64")),
        "pixels": choice.choice((None, None, True)),
        **choice.choice(
            ({}, {}, {"columns": ("length",)}, {"columns": ("y", "x")}, {"drop": (0,)})
        ),
    }
    chosen = delimited.fast_reader
    results = []
    try:
        for reader in CSV_READERS:
            delimited.fast_reader = partial(chosen_unless_wide, reader)
            results.append(named(path, lambda: datasets.read_csv(path, **options)))
    finally:
        delimited.fast_reader = chosen
    named(path, lambda: datasets.read_columns(path, header=options["header"]))
    first, *others = [
        repr(result) if isinstance(result, str) else bits(result) for result in results
    ]
    for reader, other in zip(CSV_READERS[1:], others, strict=True):
        if other != first:
            raise AssertionError(f"{reader.__name__} gives {other}, not {first}; {options}")


def chosen_unless_wide(reader: readers.Reader, form: readers.Form, size: int) -> readers.Reader:
    """Return a reader, but never pandas for many columns, as `read_csv` does not either."""
    return reader if len(form.columns) < 1 << 12 else readers.by_numpy


def bits(table: datasets.Table | None) -> Any:
    """Return what tells whether two tables are the same."""
    if table is None:
        return None
    y = None if table.y is None else (table.y.dtype.str, table.y.tobytes())
    return table.X.dtype.str, table.X.shape, table.X.tobytes(), y, table.features, table.label


def read_npz(path: Path, choice: random.Random) -> None:
    """Read tables."""
    named(path, lambda: datasets.read_npz(path, dtype=choice.choice(("float32", "float64"))))


def read_svmlight(path: Path, choice: random.Random) -> None:
    """Read a sparse table."""
    dtype = choice.choice(("float32", "float64"))
    named(path, lambda: datasets.read_svmlight(path, dtype=dtype))


def read_model(path: Path, choice: random.Random) -> None:
    """Read a network, which then predicts."""
    net = named(path, lambda: fastnn.load(path, backend="numpy"))
    if net is not None:
        with np.errstate(all="ignore"), contextlib.suppress(fastnn.DivergenceError):
            net.predict_proba(np.ones((1, net.architecture.sizes[0])))


def read_onnx(path: Path, choice: random.Random) -> None:
    """Read a network in ONNX, which then predicts."""
    named_so = path.with_name("given.onnx")
    named_so.write_bytes(path.read_bytes())
    read_model(named_so, choice)


def read_checkpoint(path: Path, choice: random.Random) -> None:
    """Go on with a run."""
    with np.errstate(all="ignore"), contextlib.suppress(fastnn.DivergenceError):
        named(path, lambda: run(path))


def named(path: Path, call: Callable[[], Any]) -> Any:
    """Return what a call returns, or None where it refuses the file by name."""
    try:
        return call()
    except OSError:
        return None
    except ValueError as error:
        if path.name not in str(error):
            raise
        return None


CSV_READERS = [
    reader
    for reader in (readers.by_cell, readers.by_numpy, readers.by_pandas)
    if reader is not readers.by_pandas or importlib.util.find_spec("pandas")
]


# Seeds


def network() -> fastnn.Network:
    """Return a network with everything that a file can hold."""
    return fastnn.Network([3, 4, 3], "tanh", seed=3, backend="numpy", standardize_inputs=True)


def run(path: Path, epochs: int = 3, net: fastnn.Network | None = None) -> None:
    """Train with checkpoints, or go on."""
    rng = np.random.default_rng(0)
    (network() if net is None else net).train(
        rng.normal(size=(24, 3)),
        np.arange(24) % 3,
        epochs=epochs,
        batch_size=8,
        optimizer="adam",
        validation=0.25,
        early_stopping=True,
        checkpoint=path,
        checkpoint_every=2,
        resume=True,
        progress=False,
    )


def models() -> list[bytes]:
    """Return files of networks, the first of them checkpoints of a run on its way."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run")

        def stop(row: dict[str, float]) -> None:
            found.append(path.read_bytes())

        rng = np.random.default_rng(0)
        network().train(
            rng.normal(size=(24, 3)),
            np.arange(24) % 3,
            epochs=3,
            batch_size=8,
            optimizer="adam",
            validation=0.25,
            early_stopping=True,
            checkpoint=path,
            checkpoint_every=2,
            callbacks=[stop],
            progress=False,
        )
        found.append(path.read_bytes())
        net = fastnn.Network([2, 2], seed=0, dtype="float64", output="identity", backend="numpy")
        net.save(path)
        found.append(path.read_bytes())
    return found


def onnx_files() -> list[bytes]:
    """Return files of networks in ONNX, with all that they can hold."""
    classes = fastnn.Network([3, 2, 3], ["mish"], seed=0, backend="numpy")
    classes.classes, classes.features = ["a", "b", "c"], ["x", "y", "z"]
    numbers = fastnn.Network(
        [2, 3, 2, 2], ["gelu", "elu"], loss=fastnn.losses.Quantile((0.1, 0.9)), seed=0,
        dtype="float64", backend="numpy", standardize_inputs=True, standardize_targets=True,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    numbers.train(rng.normal(size=(9, 2)), rng.normal(size=9), epochs=1, progress=False)
    pixels = fastnn.Network([4, 1], seed=0, backend="numpy", standardize_inputs=True)
    pixels.train(rng.integers(0, 256, (9, 4), np.uint8), np.arange(9) % 2, epochs=1, progress=False)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.onnx")
        for net in (classes, numbers, pixels):
            net.export(path)
            found.append(path.read_bytes())
    return [*found, onnx_of_others()]


def onnx_of_others() -> bytes:
    """Return a file as other libraries write them."""
    from onnx import TensorProto, helper

    numbers = {
        "W": ([2, 4], [0.1 * i for i in range(8)]),
        "b": ([2], [0.5, -0.5]),
        "V": ([2, 1], [1.0, 2.0]),
        "c": ([1, 1], [0.25]),
        "one": ([], [1.0]),
    }
    nodes = [
        ("Flatten", ["X"], ["flat"], {"axis": 1}),
        ("Gemm", ["flat", "W", "b"], ["z"], {"transB": 1, "alpha": 2.0}),
        ("Sigmoid", ["z"], ["s"], {}),
        ("Mul", ["z", "s"], ["h"], {}),
        ("Dropout", ["h"], ["d"], {}),
        ("MatMul", ["d", "V"], ["product"], {}),
        ("Add", ["product", "c"], ["logit"], {}),
        ("Sigmoid", ["logit"], ["p"], {}),
        ("Sub", ["one", "p"], ["q"], {}),
        ("Concat", ["q", "p"], ["both"], {"axis": 1}),
        ("ArgMax", ["both"], ["place"], {"axis": 1, "keepdims": 0}),
        ("Gather", ["names", "place"], ["label"], {}),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, *ends, **options) for kind, *ends, options in nodes],
        "others",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["n", 1, 2, 2])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]),
            helper.make_tensor_value_info("both", TensorProto.FLOAT, ["n", 2]),
        ],
        [
            *(helper.make_tensor(name, TensorProto.FLOAT, *each) for name, each in numbers.items()),
            helper.make_tensor("names", TensorProto.STRING, [2], ["no", "yes"]),
        ],
    )
    return helper.make_model(graph).SerializeToString()


def idx_files() -> list[bytes]:
    """Return IDX files of each type."""
    codes = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
    return [
        bytes([0, 0, code, 2]) + struct.pack(">2I", 2, 3) + np.arange(6, dtype=dtype).tobytes()
        for code, dtype in codes.items()
    ]


CSV_FILES = [
    b"width,length,kind\n3.5,1.4,setosa\n3.2,4.7,versicolor\n",
    b"label,pixel0,pixel1\n1,0,255\n0,7,8\n",
    b'1;2;"a b"\r\n-3e5;True;"c"\r\n\r\n1e-310;4;NA\r\n',
    b"\xef\xbb\xbfx\ty\n1\t2\n\n3\t4\n",
    b"1,2,3\n4,5,6",
    b"# comment\nx;y;label\n1.234,5;2 %;1,5\n-3,5;4 %;7\n",
    "x\ty\n1 234,5\t31.12.2024\n0,5\t1.1.2025\n".encode("utf-16"),
    "Größen\n\nx;y;kind;\n1.234;2,5;ä;\n3.456;7;ß;\n".encode("cp1252"),
]


def npz_files() -> list[bytes]:
    """Return .npz files, with and without a test set, and of a sparse matrix."""
    X, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([0, 1])
    found = []
    for write, arrays in (
        (np.savez, {"X": X, "y": y}),
        (
            np.savez,
            {
                "format": np.array(b"csr"),
                "shape": np.array([2, 4]),
                "data": X[0],
                "indices": np.array([0, 3, 1]),
                "indptr": np.array([0, 2, 3]),
            },
        ),
        (np.savez_compressed, {"x_train": X > 2, "y_train": np.array(["a", "b"]), "x_test": X}),
    ):
        stream = io.BytesIO()
        write(stream, **arrays)
        found.append(stream.getvalue())
    return found


SVMLIGHT_FILES = [b"1 1:0.5 3:2\n-1 2:1e-3  # a row\n", b"0.5 qid:7 0:1 4:-2\n\n1\n"]


# Changes


EXTREME = (
    b"", b"0", b"-1", b"1", b"255", b"256", b"65536", b"2147483648", b"9223372036854775808",
    b"18446744073709551615", b"9" * 400, b"9" * 5000, b"1e999", b"-1e-400", b"NaN", b"inf", b"null",
    b"true", b"[]", b"{}", b'"', b"'", b",", b";", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\xff" * 4,
    b"\x7f\xff\xff\xff", b"\xef\xbb\xbf", b"PK\x03\x04", b"\x1f\x8b\x08\0", b"\xe2\x80\xa8", b" ",
    b"_", b"0x1p3", b"(", b")" * 3, b"1_0", b"\xd9\xa1",
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 1, 2, 3, 7, 2**31, 2**53, 2**63, 2**64 - 1, 10**400, -(10**400), 0.5,
    -0.0, 1e308, float("nan"), float("inf"), "", "a", "adam", "F64", "[]", "1" * 5000, [], [1],
    [None], {}, {"a": 1}, [[]], [0, 2**64 - 1], [1] * 70, [0, 0],
)  # fmt: skip


def changed(rng: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """Return bytes after one to five random changes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        first = rng.randint(0, len(data))
        last = min(len(data), first + rng.choice((1, 1, 2, 4, 8, 64)))
        kind = rng.randrange(8)
        if kind == 0 and first < len(data):
            data[first] ^= 1 << rng.randrange(8)
        elif kind == 1 and first < len(data):
            data[first] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del data[first:last]
        elif kind == 3:
            data[first:first] = data[first:last] * rng.choice((1, 2, 100))
        elif kind == 4:
            data[first:first] = rng.choice(EXTREME)
        elif kind == 5:
            data[first:last] = rng.choice(EXTREME)
        elif kind == 6:
            other = rng.choice(others)
            begin = rng.randint(0, len(other))
            data[first:last] = other[begin : begin + rng.randint(0, 64)]
        elif numbers := list(re.finditer(rb"-?\d+", data)):
            number = rng.choice(numbers)
            data[number.start() : number.end()] = rng.choice(EXTREME)
    return bytes(data[:LONGEST])


def plainly(rng: random.Random, content: bytes, change: Change) -> bytes:
    """Change a file as it is."""
    return change(content)


def in_gzip(rng: random.Random, content: bytes, change: Change) -> bytes:
    """Change what was compressed."""
    try:
        data = zlib.decompressobj(31).decompress(content, LONGEST)
    except zlib.error:
        return change(content)
    return gzip.compress(change(data) * rng.choice((1, 1, 1, 1, 8)), 6, mtime=0)


def in_zip(rng: random.Random, content: bytes, change: Change) -> bytes:
    """Change a member of an archive."""
    stream = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
            victim = rng.choice(old.namelist())
            for name in old.namelist():
                with old.open(name) as member:
                    data = member.read(LONGEST)
                method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
                new.writestr(name, change(data) if name == victim else data, method)
    except Exception:  # whatever zipfile makes of a file that was changed before
        return change(content)
    return stream.getvalue()


def in_header(rng: random.Random, content: bytes, change: Change) -> bytes:
    """Change the header of a .safetensors file: its JSON, or its text."""
    length = int.from_bytes(content[:8], "little")
    header, numbers = content[8 : 8 + length], content[8 + length :]
    try:
        header = json.dumps(replaced(rng, json.loads(header))).encode()
    except (ValueError, RecursionError):
        header = change(header)
    return struct.pack("<Q", len(header)) + header + numbers


def replaced(rng: random.Random, tree: Any) -> Any:
    """Return JSON with a value replaced or removed somewhere, in texts of JSON as well."""
    if isinstance(tree, str) and tree[:1] in ("{", "["):
        return json.dumps(replaced(rng, json.loads(tree)))
    if isinstance(tree, dict | list) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        if "__metadata__" in tree and rng.random() < 0.7:  # one of very many names
            key = "__metadata__"
        if rng.random() < 0.1:
            del tree[key]
        else:
            tree[key] = replaced(rng, tree[key])
        return tree
    if isinstance(tree, int | float) and abs(tree) < 2**53 and rng.random() < 0.3:
        return tree + rng.choice((-1, 1, 0.5))
    return rng.choice(VALUES)


def in_protobuf(rng: random.Random, content: bytes, change: Change) -> bytes:
    """Change the structure of an ONNX file: fields, their order, and which names go where."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        model = ModelProto.FromString(content)
        texts = {text for node in model.graph.node for text in (*node.input, *node.output)}
        texts |= {node.op_type for node in model.graph.node}
        for _ in range(rng.choice((1, 1, 2, 5))):
            change_message(rng, model, [*sorted(texts, key=repr), *ONNX_TEXTS], change)
        return model.SerializeToString()
    except (DecodeError, ValueError):  # what a change before has made of it, or cannot make
        return change(content)


ONNX_TEXTS = (
    "", "Add", "Cast", "Constant", "Dropout", "Exp", "Gather", "Identity", "Loop", "MatMul", "Mul",
    "Relu", "Reshape", "Scaler", "Softmax", "Sub", "TopK", "Transpose", "Where", "ZipMap", "alpha",
    "ai.onnx.ml", "axis", "inputs", "location", "perm", "to", "value", "\0", "x" * 9000, "[" * 9000,
)  # fmt: skip


def change_message(rng: random.Random, message: Any, texts: list[str], change: Change) -> None:
    """Change a field of a message, or of one within it."""
    if rng.random() < 0.1:  # one that may not be set
        field = rng.choice(message.DESCRIPTOR.fields).name
        with contextlib.suppress(AttributeError, TypeError):
            setattr(message, field, rng.choice((0, 1, -1, 2**31 - 1, 2**63 - 1, "a", b"a", 0.5)))
        return
    known = message.ListFields()
    if not known:
        return
    field, value = rng.choice(known)
    if field.name != "graph" and any(f.name == "graph" for f, _ in known) and rng.random() < 0.8:
        field, value = next((f, v) for f, v in known if f.name == "graph")
    if isinstance(value, str | bytes | int | float):
        setattr(message, field.name, other_scalar(rng, value, texts, change))
    elif hasattr(value, "ListFields"):
        if rng.random() < 0.1:
            message.ClearField(field.name)
        else:
            change_message(rng, value, texts, change)
    else:
        change_list(rng, value, texts, change)


def change_list(rng: random.Random, values: Any, texts: list[str], change: Change) -> None:
    """Change an element of a field that has several, or their number."""
    i = rng.randrange(len(values))
    kind = rng.randrange(8)
    if kind == 0:
        del values[i]
    elif kind == 1:
        values.extend([values[i]] * rng.choice((1, 1, 2, 500)))
    elif kind == 2:
        values.insert(rng.randrange(len(values)), values.pop(i))
    elif hasattr(values[i], "ListFields"):
        change_message(rng, values[i], texts, change)
    else:
        values[i] = other_scalar(rng, values[i], texts, change)


def other_scalar(rng: random.Random, value: Any, texts: list[str], change: Change) -> Any:
    """Return another value of the same type."""
    if isinstance(value, str):
        return rng.choice(texts)
    if isinstance(value, bytes):
        return change(value)
    if isinstance(value, float):
        return rng.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), value * 1.5))
    return rng.choice((0, 1, 2, -1, value + 1, value - 1, 11, 16, 255, 1 << 20, 2**31 - 1))


class Reader(NamedTuple):
    """What reads a kind of file, some intact ones, and how to change what they hold."""

    read: Callable[[Path, random.Random], None]
    seeds: Callable[[], list[bytes]]
    within: Callable[[random.Random, bytes, Change], bytes]


def read_gzip(path: Path, choice: random.Random) -> None:
    """Read compressed IDX and CSV."""
    read_idx(path, choice)
    read_csv(path, choice)


READERS = {
    "idx": Reader(read_idx, idx_files, plainly),
    "gzip": Reader(
        read_gzip, lambda: [gzip.compress(c, mtime=0) for c in idx_files() + CSV_FILES], in_gzip
    ),
    "csv": Reader(read_csv, lambda: CSV_FILES, plainly),
    "npz": Reader(read_npz, npz_files, in_zip),
    "svmlight": Reader(read_svmlight, lambda: SVMLIGHT_FILES, plainly),
    "model": Reader(read_model, models, in_header),
    "checkpoint": Reader(read_checkpoint, lambda: models()[:-1], in_header),
}
if importlib.util.find_spec("onnx"):
    READERS["onnx"] = Reader(read_onnx, onnx_files, in_protobuf)


# Findings


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS


class Fuzzer:
    """Gives files to a reader and keeps those that find something.

    Parameters
    ----------
    name : str
        Of a reader.
    folder : path
        Where to put files for it.
    findings : path, optional
        A folder for the files that find something.
    timer : bool
        Interrupt a file that takes too long, rather than notice afterwards.
    """

    def __init__(
        self, name: str, folder: Path, findings: Path | None = None, timer: bool = True
    ) -> None:
        self.name = name
        self.path = folder / "given.csv.gz"
        self.reader = READERS[name]
        self.seeds = self.reader.seeds()
        self.findings = findings
        self.timer = timer
        self.found: dict[str, bytes] = {}
        self.files = 0
        self.longest = 0.0
        self.began = time.perf_counter()
        self.start = self.mark = peak()
        self.mark += MEMORY
        for content in self.seeds:
            self.give(content)
        self.start, self.mark = peak(), peak() + MEMORY

    def give(self, content: bytes) -> str | None:
        """Have a file read; return what is wrong with how that went."""
        self.files += 1
        self.path.write_bytes(content)
        start = time.perf_counter()
        message = None
        try:
            with limited(SECONDS if self.timer else None), warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", UserWarning)  # of what a file may mean
                self.reader.read(self.path, random.Random(zlib.crc32(content)))
        except (Exception, Hang) as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = [
                f"{Path(f.filename).name}:{f.lineno}" for f in frames if "fastnn/" in f.filename
            ]
            message = f"{type(error).__name__} in {place[-1] if place else '?'}: {error}"[:300]
        seconds = time.perf_counter() - start
        self.longest = max(self.longest, seconds)
        if message is None and seconds > SECONDS:
            message = f"Slow: {seconds:.1f} s"
        if message is None and peak() > self.mark:
            message = f"Memory: {(peak() - self.mark + MEMORY) >> 20} MB"
        self.mark = max(self.mark, peak())
        if message is not None:
            self._keep(message, content)
        return message

    def change(self, rng: random.Random) -> bytes:
        """Return a seed, changed."""
        content = rng.choice(self.seeds)
        change: Change = lambda data: changed(rng, data, self.seeds)  # noqa: E731
        for _ in range(rng.choice((1, 1, 2))):
            within = self.reader.within if rng.random() < 0.7 else plainly
            content = within(rng, content, change)
        return content

    def summary(self, most: int) -> str:
        """Return the figures of a run, whose processes took so many bytes at most."""
        seconds = time.perf_counter() - self.began
        return (
            f"{self.name}: {self.files:,} files in {seconds:.0f} s, the longest took "
            f"{self.longest:.2f} s, memory grew by {(most - self.start) >> 20} MB "
            f"to {most >> 20} MB"
        )

    def _keep(self, message: str, content: bytes) -> None:
        """Keep the shortest file that comes to the same end."""
        kind = message.split(": ")[0]
        if len(content) >= len(self.found.get(kind, content + b"+")):
            return
        self.found[kind] = content
        if self.findings is not None:
            name = f"{self.name}-{re.sub('[^0-9A-Za-z_.]+', '-', kind)}"
            path = self.findings / name
            if path.exists() and path.stat().st_size <= len(content):  # by a process before
                return
            path.write_bytes(content)
            print(f"{name}, {len(content)} bytes: {message}", flush=True)


@contextlib.contextmanager
def limited(seconds: float | None) -> Iterator[None]:
    """Raise `Hang` in what takes longer."""
    if seconds is None:
        yield
        return

    def over(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def guided(fuzzer: Fuzzer, seconds: float, seed: int, corpus: Path) -> int:
    """Run atheris; return the most memory that a process took.

    Its instrumentation keeps about a kilobyte of each file for good, so each process reads some
    thousands, and the next goes on with the corpus.
    """
    for i, content in enumerate(fuzzer.seeds):
        (corpus / str(i)).write_bytes(content)
    files, longest = multiprocessing.Value("Q", fuzzer.files), multiprocessing.Value("d")

    def give(data: bytes) -> None:
        fuzzer.give(data)
        files.value += 1
        longest.value = max(longest.value, fuzzer.longest)

    most, status, end = 0, 0, time.perf_counter() + seconds
    while status == 0 and (left := end - time.perf_counter()) > 1:
        seed += 1
        child = os.fork()
        if child == 0:
            run_atheris(fuzzer, give, left, seed, corpus)
        _, status, usage = os.wait4(child, 0)
        most = max(most, usage.ru_maxrss * MAXRSS)
    if status != 0:  # whatever atheris left itself
        (fuzzer.findings / f"{fuzzer.name}-ended").write_text(f"wait status {status}")
    fuzzer.files, fuzzer.longest = files.value, longest.value
    return most


def run_atheris(
    fuzzer: Fuzzer, give: Callable[[bytes], None], seconds: float, seed: int, corpus: Path
) -> NoReturn:
    """Run atheris, which ends the process."""

    def mutate(data: bytes, most: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.random() < 0.3:
            return atheris.Mutate(data, most)
        within = fuzzer.reader.within if rng.random() < 0.7 else plainly
        return within(rng, data, lambda part: changed(rng, part, fuzzer.seeds))[:most]

    arguments = [
        sys.argv[0], str(corpus), f"-max_total_time={max(1, seconds):.0f}", f"-seed={seed}",
        f"-runs={FILES}", f"-max_len={LONGEST}", f"-timeout={10 * SECONDS}", "-rss_limit_mb=8192",
        f"-artifact_prefix={fuzzer.findings}{os.sep}", "-verbosity=0",
    ]  # fmt: skip
    limit_addresses()
    atheris.Setup(arguments, give, custom_mutator=mutate)
    atheris.Fuzz()
    raise AssertionError("atheris returned")


def main() -> int:
    """Fuzz one reader; return the number of findings."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reader", choices=READERS, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fuzzer = Fuzzer(options.reader, Path(folder), options.findings, timer=atheris is None)
        options.findings.mkdir(parents=True, exist_ok=True)
        before = set(os.listdir(options.findings))
        if atheris is None:
            plain(fuzzer, options.seconds, options.seed)
            most = peak()
        else:
            (corpus := Path(folder, "corpus")).mkdir()
            most = guided(fuzzer, options.seconds, options.seed, corpus)
        print(fuzzer.summary(most))
        found = set(os.listdir(options.findings)) - before
    print(f"{options.reader}: {len(found)} new findings in {options.findings}")
    return len(found)


def plain(fuzzer: Fuzzer, seconds: float, seed: int) -> None:
    """Change files at random until time is up."""
    limit_addresses()
    rng = random.Random(seed)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        fuzzer.give(fuzzer.change(rng))


def limit_addresses() -> None:
    """Make an allocation of gigabytes a `MemoryError`, which is a finding."""
    if sys.platform == "linux":
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESSES,) * 2)


if __name__ == "__main__":
    sys.exit(main() > 0)
