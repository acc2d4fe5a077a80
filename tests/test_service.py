"""The example of a service: what it answers, in several processes, and its load script."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastnn

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

ROOT = Path(__file__).resolve().parents[1]
SERVICE = ROOT / "examples" / "service"
ROW = [5.1, 3.5, 1.4, 0.2]
NAMES = ("sepal length", "sepal width", "petal length", "petal width")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network, and the file that it is saved in."""
    net = fastnn.Network([4, 8, 3], seed=0)
    net.features = NAMES
    path = tmp_path_factory.mktemp("service") / "network.safetensors"
    net.save(path)
    return net, path


def ask(port, method, path, body=None):
    """Return the status and the text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def port(network):
    """The port of a service of two worker processes."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "app:app", "--workers", "2", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NETWORK": str(network[1])}
    process = subprocess.Popen(command, cwd=SERVICE, env=environment)
    try:
        while True:
            assert process.poll() is None, "the service ended"
            try:
                ask(port, "GET", "/health")
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def test_a_row_is_answered_with_the_outputs_of_the_network(port, network):
    status, text = ask(port, "POST", "/predict", json.dumps({"x": ROW}))
    assert status == 200
    assert json.loads(text) == {"outputs": network[0].predict_one(ROW).tolist()}


def test_a_row_may_name_its_columns(port, network):
    body = json.dumps({"x": dict(zip(reversed(NAMES), reversed(ROW), strict=True))})
    _, text = ask(port, "POST", "/predict", body)
    assert json.loads(text) == {"outputs": network[0].predict_one(ROW).tolist()}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"x": [1, 2, 3]}', "x must have shape (4,); got (3,)"),
        ('{"x": []}', "x must not be empty"),
        ('{"x": [NaN, 1, 2, 3]}', "x must be finite in float32, got nan"),
        ('{"x": [1, -Infinity, 2, 3]}', "x must be finite in float32, got -inf"),
        ('{"x": [1, 2, 3, 1e39]}', "x must be finite in float32, got 1e+39"),
        ('{"x": [1, 2, 3, 1%s]}' % (400 * "0"), "x must be finite in float64"),
        ('{"x": ["a", 1, 2, 3]}', "x holds 'a' in row 0"),
        ('{"x": [null, 1, 2, 3]}', "x must be finite in float32, got nan"),
        ('{"x": [[1, 2], [3]]}', "x must be a rectangular array"),
        ('{"x": {"width": 1}}', "x has no column 'sepal length'"),
        ('{"x": NaN}', "x must be an array of numbers"),
        ('{"x": null}', "x must be an array of numbers; got None"),
        ('{"x": "abcd"}', "x must be an array of numbers; got 'abcd'"),
        ('{"x": [3e38, -3e38, 3e38, -3e38]}', "JSON"),
        ('{"y": [1, 2, 3, 4]}', "required"),
        ("[1, 2, 3, 4]", "required"),
        ("nonsense", "JSON decode error"),
    ],
)
def test_a_bad_row_is_refused_with_what_is_wrong_and_the_service_goes_on(port, body, said):
    status, text = ask(port, "POST", "/predict", body)
    assert status == 422, text
    assert said in text
    assert ask(port, "POST", "/predict", json.dumps({"x": ROW}))[0] == 200


def test_health_names_the_network(port, network):
    status, text = ask(port, "GET", "/health")
    assert (status, json.loads(text)) == (200, {"network": str(network[0])})


def test_the_load_script_counts_requests_and_no_errors(port, run_python):
    row = list(map(str, ROW))
    rest = ["--port", str(port), "--seconds", "1", "--connections", "2", "--row", *row]
    printed = run_python(str(SERVICE / "load.py"), *rest)
    assert re.search(r"p50 [\d.]+ ms\np99 [\d.]+ ms\n[\d,]+ requests a second\n0 errors", printed)


def test_the_load_script_counts_errors(port, run_python):
    rest = ["--port", str(port), "--seconds", "0.5", "--connections", "1", "--row", "1"]
    errors, count = re.search(
        r"([\d,]+) errors in ([\d,]+) requests", run_python(str(SERVICE / "load.py"), *rest)
    ).groups()
    assert int(errors) == int(count.replace(",", "")) > 0
