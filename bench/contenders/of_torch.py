"""PyTorch, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contenders.task import (
    BETA1,
    BETA2,
    EPSILON,
    MOMENTUM,
    Array,
    Learning,
    Prediction,
    Task,
    Training,
)


def _parameters(task: Task) -> list[Any]:
    """Return all weights, (fan_out, fan_in) as torch.nn.Linear has them, and all biases."""
    import torch

    torch.set_num_threads(task.threads)
    return [torch.tensor(w.T.copy()) for w in task.weights] + [*map(torch.tensor, task.biases)]


def _outputs(task: Task, parameters: list[Any], x: Any) -> Any:
    """Return the last layer's outputs, before a softmax."""
    from torch.nn.functional import linear

    layers = len(parameters) // 2
    for w, b in zip(parameters[: layers - 1], parameters[layers:-1], strict=True):
        x = linear(x, w, b)
        x = x.relu_() if task.activation == "relu" else x.tanh_()
    return linear(x, parameters[layers - 1], parameters[-1])


def _eager_move(task: Task, parameters: list[Any], state: list[Any]) -> Callable[[Any], None]:
    """Return what moves the parameters by their gradients, with the functions of torch.optim."""
    import torch

    count = len(parameters)
    slots, step = [state[i : i + count] for i in range(0, len(state) - 1, count)], state[-1]

    # Up to 1.4 times as fast as torch.optim.SGD, fused or not.
    def sgd(gradients: Any) -> None:
        torch._foreach_add_(parameters, gradients, alpha=-task.rate)

    def momentum(gradients: Any) -> None:
        torch._foreach_mul_(slots[0], MOMENTUM)
        torch._foreach_add_(slots[0], gradients)
        torch._foreach_add_(parameters, slots[0], alpha=-task.rate)

    # What torch.optim.Adam(fused=True) calls.
    def adam(gradients: Any) -> None:
        step.add_(1)
        torch._fused_adam_(
            parameters, list(gradients), *slots, [], [step] * count,
            lr=task.rate, beta1=BETA1, beta2=BETA2, weight_decay=0.0, eps=EPSILON,
            amsgrad=False, maximize=False,
        )  # fmt: skip

    return {"sgd": sgd, "momentum": momentum, "adam": adam}[task.optimizer]


def _compiled_move(task: Task, parameters: Any, gradients: Any, state: list[Any]) -> None:
    """Move the parameters by their gradients, for the compiler to fuse."""
    count = len(parameters)
    slots, step = [state[i : i + count] for i in range(0, len(state) - 1, count)], state[-1]
    if task.optimizer == "sgd":
        for p, g in zip(parameters, gradients, strict=True):
            p.sub_(g, alpha=task.rate)
    elif task.optimizer == "momentum":
        for p, g, v in zip(parameters, gradients, *slots, strict=True):
            v.mul_(MOMENTUM).add_(g)
            p.sub_(v, alpha=task.rate)
    else:
        step.add_(1)
        rate, correction = task.rate / (1 - BETA1**step), (1 - BETA2**step).sqrt()
        for p, g, m, s in zip(parameters, gradients, *slots, strict=True):
            m.lerp_(g, 1 - BETA1)
            s.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            p.sub_(rate * m / (s.sqrt() / correction + EPSILON))


def _steps(task: Task, compiled: bool) -> tuple[Callable[[], None], Any, list[Any]]:
    """Return what resets, a step (x, targets) that returns its loss, and the parameters."""
    import torch
    from torch.nn.functional import cross_entropy, mse_loss

    initial = _parameters(task)
    parameters = [p.clone().requires_grad_(not compiled) for p in initial]
    slots = {"sgd": 0, "momentum": 1, "adam": 2}[task.optimizer]
    state = [torch.zeros_like(p) for _ in range(slots) for p in initial] + [torch.zeros(())]
    error = cross_entropy if task.classifies else mse_loss
    move = _eager_move(task, parameters, state)

    def loss_of(parameters: list[Any], x: Any, t: Any) -> Any:
        return error(_outputs(task, parameters, x), t)

    def eager_step(x: Any, t: Any) -> Any:
        loss = loss_of(parameters, x, t)
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            move(gradients)
        return loss.detach()

    def whole_step(parameters: list[Any], state: list[Any], x: Any, t: Any) -> Any:
        gradients, loss = torch.func.grad_and_value(loss_of)(parameters, x, t)
        _compiled_move(task, parameters, gradients, state)
        return loss

    step: Any = eager_step
    if compiled:
        torch._dynamo.reset()  # or it takes a further batch size for a variable
        whole = torch.compile(whole_step, fullgraph=True, dynamic=False)
        step = lambda x, t: whole(parameters, state, x, t)  # noqa: E731

    def reset() -> None:
        with torch.no_grad():
            torch._foreach_copy_(parameters, initial)
            torch._foreach_zero_(state)

    return reset, step, parameters


def training(task: Task, compiled: bool = False) -> Training:
    import torch

    reset, step, _ = _steps(task, compiled)
    X, y, order = map(torch.from_numpy, (task.X, task.y, task.order))
    batch = task.batch
    # Many small batches are gathered at once, and no more than stay in a cache.
    chunk = batch * max(1, 256 // batch)
    x_chunk = torch.empty((chunk, *X.shape[1:]))
    y_chunk = torch.empty((chunk, *y.shape[1:]), dtype=y.dtype)

    def epoch() -> float:
        losses = []
        for chosen in order.split(chunk):
            xs = torch.index_select(X, 0, chosen, out=x_chunk[: len(chosen)]).split(batch)
            ts = torch.index_select(y, 0, chosen, out=y_chunk[: len(chosen)]).split(batch)
            losses += [step(x, t) for x, t in zip(xs, ts, strict=True)]
        return float(torch.stack(losses).mean())

    return reset, epoch


def compiled_training(task: Task) -> Training:
    return training(task, compiled=True)


def learning(task: Task, compiled: bool = False) -> Learning:
    import torch

    reset, step, parameters = _steps(task, compiled)

    def learned() -> list[Array]:
        return [p.detach().numpy().T for p in parameters]

    return reset, lambda x, t: (torch.tensor(x), torch.tensor(t)), step, learned


def compiled_learning(task: Task) -> Learning:
    return learning(task, compiled=True)


def prediction(task: Task) -> Prediction:
    import torch

    parameters = _parameters(task)

    # Not torch.nn.Sequential, which takes 20 microseconds more a call.
    @torch.inference_mode()
    def predict(x: Any) -> Any:
        z = _outputs(task, parameters, x)
        return z.softmax(dim=1) if task.classifies else z

    return torch.tensor, predict
