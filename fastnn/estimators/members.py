"""Estimators with several members: each is an estimator of its own, and they fit side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from fastnn.checks.warning import heard_by, is_of_no_use, warn
from fastnn.committee import Committee, job
from fastnn.estimators.partial import names
from fastnn.estimators.translation import INTERRUPTED, NOT_CONVERGED, NOT_FINITE, in_their_words
from fastnn.training.evaluation import DivergenceError
from fastnn.training.side_by_side import fit_all

# What fitting finds out about the data.
OF_DATA = ("classes_", "n_features_in_", "feature_names_in_")


def of(estimator: Any, *, goes_on: bool) -> list[Any]:
    """Return the members of an estimator with its parameters: new ones, or those that it has."""
    count = estimator.n_members
    if not goes_on:
        rng = check_random_state(estimator.random_state)
        seeds = rng.randint(np.iinfo(np.int32).max, size=count)
        return [clone(estimator).set_params(n_members=1, random_state=int(seed)) for seed in seeds]
    found: list[Any] = vars(estimator).get("estimators_", [])
    if len(found) != count:
        raise ValueError(
            f"n_members is {count}, but training continues with {len(found) or 1}; need as many, "
            "or a new estimator"
        )
    for name in names(estimator.__class__):
        if name != "n_members":
            for each in found:
                setattr(each, name, getattr(estimator, name))
    return found


def take(estimator: Any, found: list[Any]) -> None:
    """Let an estimator predict with these members."""
    # What an earlier fit with a single member has left.
    of_one = vars(found[0]).keys() - {*names(estimator.__class__), "random_state", *OF_DATA}
    for name in of_one:
        vars(estimator).pop(name, None)
    estimator.estimators_ = found
    estimator.committee_ = Committee([each.network_ for each in found])
    estimator.n_iter_ = max(each.n_iter_ for each in found)


def hand_on(source: Any, target: Any) -> None:
    """Copy what an estimator has found out about the data."""
    for name in OF_DATA:
        vars(target).pop(name, None)
        if name in vars(source):
            setattr(target, name, getattr(source, name))


def partial_fit(estimator: Any, *arguments: Any) -> None:
    """Call `partial_fit` of each member; a few rows are no work for several threads."""
    found = of(estimator, goes_on=estimator._goes_on(partial=True))
    for each in found:
        each.partial_fit(*arguments)
    hand_on(found[0], estimator)
    take(estimator, found)


def train(estimator: Any, data: tuple[Any, ...], how: dict[str, Any]) -> None:
    """Train all members on data that are read; see `MLP._train`."""
    found = of(estimator, goes_on=estimator._goes_on(partial=False))
    for each in found:
        hand_on(estimator, each)
    if estimator.solver == "lbfgs":  # each of whose steps takes all CPUs
        for each in found:
            each._train(*data, **how)
        take(estimator, found)
        return
    begun = []
    for i, each in enumerate(found):
        begun.append(each._begin(*data, **how))
        begun[i].progress.name = f"member {i}: "
    jobs = [job(own.network, **own.arguments) for own in begun]
    try:
        with heard_by(is_of_no_use):
            histories = fit_all(jobs, False)
    except DivergenceError as error:
        raise ValueError(f"{NOT_FINITE} {in_their_words(str(error))}") from error
    except KeyboardInterrupt:
        warn(INTERRUPTED)
    else:
        for i, history in enumerate(histories):
            if history.warning:
                warn(f"member {i}: {in_their_words(history.warning)}", ConvergenceWarning)
        limit = begun[0].max_iter
        if late := [str(i) for i, each in enumerate(found) if each.n_iter_ == limit]:
            warn(f"members {', '.join(late)}: {NOT_CONVERGED.format(limit)}", ConvergenceWarning)
    for each, own in zip(found, begun, strict=True):
        each._end(own)
    take(estimator, found)
