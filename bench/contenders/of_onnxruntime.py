"""ONNX Runtime, which predicts only."""

from __future__ import annotations

import numpy as np

from contenders.task import Prediction, Task


def prediction(task: Task) -> Prediction:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    hidden = {"relu": "Relu", "tanh": "Tanh"}[task.activation]
    nodes, constants, name = [], [], "x"
    for l, (w, b) in enumerate(zip(task.weights, task.biases, strict=True)):
        constants += [numpy_helper.from_array(w, f"w{l}"), numpy_helper.from_array(b, f"b{l}")]
        nodes.append(helper.make_node("Gemm", [name, f"w{l}", f"b{l}"], [name := f"z{l}"]))
        last = l == len(task.weights) - 1
        if not last or task.classifies:
            kind = "Softmax" if last else hidden
            nodes.append(helper.make_node(kind, [name], [name := f"a{l}"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", len(task.weights[0])])
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", len(task.biases[-1])])
    graph = helper.make_graph(nodes, "mlp", [x], [out], constants)
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task.threads, 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray, lambda x: session.run(None, {"x": x})[0]
