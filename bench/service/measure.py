"""A service under load: ``python bench/service/measure.py fastnn`` and the other contenders.

It needs fastapi, uvicorn[standard] and the contender. uvicorn starts the worker processes, each on
one thread, and `examples/service/load.py` sends requests from processes on the same machine.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import time
import timeit
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
CONTENDERS = ("nothing", "fastnn", "onnxruntime", "sklearn")


def wait(port: int) -> None:
    """Wait until the service answers."""
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("GET", "/health")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.05)


def alone(contender: str, row: list[float]) -> float:
    """Return the microseconds of a prediction in this process, from a list to a list."""
    os.environ["CONTENDER"] = contender
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    from app import outputs_of

    calls = 200
    return min(timeit.repeat(lambda: outputs_of(row), number=calls, repeat=30)) / calls * 1e6


def main() -> None:
    """Print what the load script prints,."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("--sizes", default="20,64,64,3", help="of the layers")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--port", type=int, default=8123)
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))
    os.environ.update(CONTENDER=options.contender, SIZES=options.sizes)
    os.environ.update(PYTHONPATH=f"{ROOT}{os.pathsep}{HERE.parent}")
    row = np.random.default_rng(0).normal(size=int(options.sizes.split(",")[0])).round(4).tolist()
    print(f"{options.contender}: {alone(options.contender, row):.1f} microseconds in the process")
    command = [sys.executable, "-m", "uvicorn", "app:app", "--log-level", "warning"]
    command += ["--no-access-log", "--port", str(options.port), "--workers", str(options.workers)]
    service = subprocess.Popen(command, cwd=HERE)
    try:
        wait(options.port)
        time.sleep(3)  # until all workers are there
        script = str(ROOT / "examples" / "service" / "load.py")
        rest = [f"--port={options.port}", f"--seconds={options.seconds}", "--row", *map(str, row)]
        rest += [f"--connections={options.connections}"]
        subprocess.run([sys.executable, script, *rest], check=True)
    finally:
        service.terminate()
        service.wait()


if __name__ == "__main__":
    main()
