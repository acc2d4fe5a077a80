"""The example's service with any library, or none; `measure.py` starts it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI
from fastapi.responses import JSONResponse

import fastnn

SIZES = [int(size) for size in os.environ.get("SIZES", "20,64,64,3").split(",")]


def predictor(contender: str) -> Callable[[list[float]], list[float]]:
    """Return what predicts one row with a library, or nothing at all, on one thread."""
    from contenders import CONTENDERS  # in bench/, to which `measure.py` leads
    from contenders.task import Task

    net = fastnn.Network(SIZES, seed=0, threads=1)
    if contender == "nothing":
        outputs = net.predict_one(np.zeros(SIZES[0])).tolist()
        return lambda x: outputs
    if contender == "fastnn":
        return lambda x: net.predict_one(x).tolist()
    rows = np.random.default_rng(0).normal(size=(100, SIZES[0])).astype(np.float32)
    labels = np.arange(100) % SIZES[-1]
    arrays = [np.array(w) for w in net.weights], [np.array(b) for b in net.biases]
    task = Task(*arrays, rows, labels, np.arange(100), batch=100, threads=1)
    _, predict = CONTENDERS[contender].prediction(task)
    np.testing.assert_allclose(predict(rows), net.predict_proba(rows), atol=1e-5)
    return lambda x: predict(np.array([x], np.float32))[0].tolist()


outputs_of = predictor(os.environ.get("CONTENDER", "fastnn"))
outputs_of([0.0] * SIZES[0])
app = FastAPI()


@app.post("/predict")
async def predict(x: Annotated[Any, Body(embed=True)]) -> JSONResponse:
    return JSONResponse({"outputs": outputs_of(x)})


@app.get("/health")
async def health() -> dict[str, str]:
    return {}
