"""What differs between platforms, each by a substitute for the call that differs."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from fastnn import Network
from fastnn.backends import reference
from fastnn.cli import running
from fastnn.cli.groups import Parser

# Consoles


def of_code_page(errors="strict"):
    """Return the standard output of a console that knows no Greek."""
    return io.TextIOWrapper(io.BytesIO(), encoding="cp1252", errors=errors)


def run(task):
    return running.run(Parser(prog="fastnn-some"), task, [])


def test_names_beyond_the_code_page_of_the_console_are_written_as_escapes(monkeypatch):
    monkeypatch.setattr(sys, "stdout", of_code_page())
    assert run(lambda given: print("macro-F1 of λ and é")) is None
    assert sys.stdout.buffer.getvalue().splitlines() == [b"macro-F1 of \\u03bb and \xe9"]


def test_what_the_user_wants_of_the_console_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stdout", of_code_page("replace"))
    run(lambda given: print("λ"))
    assert sys.stdout.buffer.getvalue().splitlines() == [b"?"]


class Output(io.StringIO):
    """A standard output whose reader has ended, which is noticed when it is flushed."""

    def __init__(self, error, descriptor):
        super().__init__()
        self.error, self.descriptor = error, descriptor

    def flush(self):
        raise self.error

    def fileno(self):
        return self.descriptor


@pytest.fixture
def descriptor(tmp_path):
    with open(tmp_path / "output", "w") as file:
        yield file.fileno()


@pytest.mark.parametrize(
    ("platform", "error"),
    [
        ("linux", BrokenPipeError(errno.EPIPE, "Broken pipe")),
        ("win32", OSError(errno.EINVAL, "Invalid argument")),
    ],
)
def test_a_closed_pipe_ends_a_command_without_a_word(
    monkeypatch, capsys, descriptor, platform, error
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(sys, "stdout", Output(error, descriptor))
    assert run(lambda given: 0) == 141
    assert os.path.samestat(os.fstat(descriptor), os.stat(os.devnull))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("platform", "error"),
    [
        ("linux", OSError(errno.EINVAL, "Invalid argument")),
        ("win32", OSError(errno.EINVAL, "Invalid argument", "a?b")),
    ],
)
def test_another_invalid_argument_is_an_error(monkeypatch, capsys, platform, error):
    def fail(given):
        raise error

    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(SystemExit, match="2"):
        run(fail)
    assert "fastnn-some: error: [Errno 22] Invalid argument" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="needs a shell's pipe")
def test_a_reader_that_ends_at_once_is_no_error():
    code = "import sys; from fastnn.cli.info import main; sys.exit(main([]))"
    command = [sys.executable, "-c", code]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        command,
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


# Accelerate


class Spurious(np.ndarray):
    """Matrices whose products report what did not happen, as some of NumPy's do on macOS."""

    def __matmul__(self, other):
        return product(self, other)

    def __rmatmul__(self, other):
        return product(other, self)


def product(a, b):
    one, zero, huge = np.float32(1), np.float32(0), np.finfo(np.float32).max
    for report in (lambda: one / zero, lambda: zero / zero, lambda: huge * huge):
        report()
    return (np.asarray(a) @ np.asarray(b)).view(Spurious)


@pytest.fixture
def spurious(monkeypatch):
    """Let all products of the reference backend report errors; return a network and its data."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 3)).astype("f4"), rng.integers(0, 2, 20)
    of_rows = reference.inputs
    monkeypatch.setattr(reference, "inputs", lambda *given: of_rows(*given).view(Spurious))
    return Network([3, 4, 2], ["tanh"], seed=0, backend="numpy"), X, y


CALLS = {
    "train": lambda net, X, y: net.train(X, y, validation=(X, y), progress=False),
    "predict": lambda net, X, y: net.predict_proba(X),
    "predict_one": lambda net, X, y: net.predict_one(X[0]),
    "evaluate": lambda net, X, y: net.evaluate(X, y),
    "loss_and_gradient": lambda net, X, y: net.loss_and_gradient(X, y),
    "input_gradient": lambda net, X, y: net.input_gradient(X, y),
    "activations": lambda net, X, y: net.activations(X),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_errors_that_a_product_reports_for_nothing_are_no_errors(spurious, call):
    with pytest.raises(FloatingPointError), np.errstate(all="raise"):
        product(np.ones((1, 1)), np.ones((1, 1)))
    with np.errstate(all="raise"):
        call(*spurious)


# Windows, with NumPy 1.26


@pytest.fixture
def short_integers(monkeypatch):
    """Let integers without a dtype be of 32 bits, as they are there."""

    def shortened(make):
        def made(*given, **how):
            array = make(*given, **how)
            typed = "dtype" in how or any(isinstance(each, np.dtype | type) for each in given)
            made_here = not isinstance(given[0], np.ndarray | np.generic)
            if typed or not made_here or array.dtype != np.int64:
                return array
            return array.astype(np.int32)

        return made

    def shorten():
        for name in ("arange", "full", "array", "asarray"):
            monkeypatch.setattr(np, name, shortened(getattr(np, name)))

    return shorten


def squared(a, t):
    return ((a - t) ** 2).sum(axis=1), 2 * (a - t)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("loss", ["cross_entropy", squared], ids=["named", "own"])
def test_integers_of_32_bits_change_nothing(short_integers, backend, loss):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1100, 3)), rng.integers(0, 2, 1100)

    def results():
        net = Network([3, 4, 2], seed=0, backend=backend, loss=loss)
        net.train(X, y.tolist(), epochs=2, batch_size=7, optimizer="adam", progress=False)
        net.train(X, y, epochs=1, batch_size=7, progress=False, dropout=0.2)
        value, gradient = net.loss_and_gradient(X, y.tolist())
        found = [net.parameters, gradient.vector, net.predict_proba(X), net.predict(X)]
        return [*(array.tobytes() for array in found), value, net.evaluate(X, y)]

    before = results()
    short_integers()
    assert np.arange(3).dtype == np.full(2, 1).dtype == np.array([1]).dtype == np.int32
    assert results() == before
