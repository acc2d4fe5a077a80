"""Searches on a cluster of real processes: a Dask scheduler and two workers, over TCP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("distributed")

import joblib
from distributed import Client
from sklearn.model_selection import GridSearchCV, StratifiedKFold

import fastnn
from fastnn.estimators import MLPClassifier

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_START = 120
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs, of busy event loops


class Cluster:
    """A scheduler and two workers, each in a group of processes of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.groups = []
        file = folder / "scheduler.json"
        self.start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                   "--scheduler-file", str(file))  # fmt: skip
        self.wait(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        self.workers = [self.start("worker", self.address, "--nthreads", "1") for _ in range(2)]

    def start(self, *arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with open(self.folder / f"{arguments[0]}-{len(self.groups)}.log", "w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments],
                cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.groups.append(process)
        return process

    def wait(self, done):
        deadline = time.monotonic() + SECONDS_TO_START
        while not done():
            logs = "\n".join(log.read_text() for log in self.folder.glob("*.log"))
            assert time.monotonic() < deadline, logs
            time.sleep(0.05)

    @staticmethod
    def kill(process, signal=signal.SIGKILL):
        os.killpg(process.pid, signal)  # the worker with the process that would restart it
        process.wait()

    def close(self):
        for process in reversed(self.groups):
            if process.poll() is None:
                self.kill(process)


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


@contextmanager
def client_of(cluster):
    with Client(cluster.address, set_as_default=True) as client:
        client.wait_for_workers(2, timeout=SECONDS_TO_START)
        client.amm.stop()  # as in the example
        yield client


def digits(rows):
    X, y, *_ = fastnn.datasets.load_mnist()
    return X[:rows].copy(), y[:rows].astype(int)


def kill_one_when_it_works(cluster, client, killed):
    """Kill a worker once both are at work; note how many tasks are still to be done then."""
    todo = ("processing", "queued", "waiting")
    tasks = lambda dask_scheduler: sum(  # noqa: E731
        task.state in todo for task in dask_scheduler.tasks.values()
    )
    cluster.wait(lambda: client.run_on_scheduler(tasks) > 2)
    time.sleep(0.3)
    killed.append(client.run_on_scheduler(tasks))
    cluster.kill(cluster.workers[0])


def test_the_example_runs_on_a_cluster(cluster, run_python):
    with client_of(cluster):
        printed = run_python(str(ROOT / "examples" / "dask_search.py"), cluster.address)
    assert float(re.search(r"test accuracy (0\.\d+)", printed)[1]) > 0.9
    assert float(re.search(r"GridSearchCV: .*accuracy (0\.\d+)", printed)[1]) > 0.9


def test_a_killed_worker_does_not_lose_a_tuning(cluster):
    X, y = digits(6000)
    grid = {"hidden": [(64,), (128,)], "l2": [0, 1e-5, 1e-4]}
    options = {"folds": 4, "epochs": 15, "threads": 1, "progress": False}
    with client_of(cluster) as client:
        killed = []
        killer = threading.Thread(target=kill_one_when_it_works, args=(cluster, client, killed))
        killer.start()
        with joblib.parallel_config(backend="dask", scatter=[X, y]):
            found = fastnn.tune(X, y, grid, **options)
        killer.join()
        assert killed
        assert killed[0] > 2, "the search was over before the worker was killed"
        assert len(client.scheduler_info()["workers"]) == 1
    alone = fastnn.tune(X, y, grid, **options)
    assert [row["macro_f1"] for row in found.results] == [row["macro_f1"] for row in alone.results]
    assert np.array_equal(found.network.parameters, alone.network.parameters)


def test_a_killed_worker_does_not_lose_a_grid_search(cluster):
    X, y = digits(6000)
    X = (X / 255).astype("float32")
    folds = StratifiedKFold(4, shuffle=True, random_state=0).split(X, y)
    folds = [(train.tolist(), held_out.tolist()) for train, held_out in folds]
    search = GridSearchCV(
        MLPClassifier((64,), max_iter=15, random_state=0, threads=1),
        {"alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 2e-3, 5e-3]},
        cv=folds,
    )
    with client_of(cluster) as client:
        killed = []
        killer = threading.Thread(target=kill_one_when_it_works, args=(cluster, client, killed))
        killer.start()
        with joblib.parallel_config(backend="dask", scatter=[X, y]):
            search.fit(X, y)
        killer.join()
        assert killed
        assert killed[0] > 2, "the search was over before the worker was killed"
        assert len(client.scheduler_info()["workers"]) == 1
    scores = search.cv_results_["mean_test_score"]
    assert np.array_equal(search.fit(X, y).cv_results_["mean_test_score"], scores)
