"""What fitting leaves: a network, or a committee, and what scikit-learn calls their parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from fastnn.activations import Array
from fastnn.committee import Committee, members_of
from fastnn.estimators.into_sklearn import handed_over
from fastnn.estimators.translation import Assignable
from fastnn.model.architecture import Architecture
from fastnn.network import Network


class Fitted(BaseEstimator):
    """The part of the estimators that is about what was fitted."""

    network_: Network
    committee_: Committee
    estimators_: list[Any]

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, (fan_in, fan_out), which may be assigned.

        They are views of those of ``network_``.
        """
        return Assignable(self.network_.weights)

    @coefs_.setter
    def coefs_(self, arrays: Sequence[Array]) -> None:
        self.coefs_[:] = arrays

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer, (fan_out,), to be used like ``coefs_``."""
        return Assignable(self.network_.biases)

    @intercepts_.setter
    def intercepts_(self, arrays: Sequence[Array]) -> None:
        self.intercepts_[:] = arrays

    @property
    def n_layers_(self) -> int:
        """The number of layers, with inputs and outputs."""
        return len(self._architecture.sizes)

    @property
    def n_outputs_(self) -> int:
        """The number of outputs."""
        return self._architecture.sizes[-1]

    @property
    def out_activation_(self) -> str:
        """The activation of the last layer, by its name in scikit-learn."""
        name = self._architecture.activations[-1]
        return {"sigmoid": "logistic", "exponential": "exp"}.get(name, name)

    def to_sklearn(self) -> Any:
        """Return a fitted estimator of scikit-learn with the same parameters and predictions.

        It needs fastnn no longer, not even to be unpickled. Parameters that scikit-learn has not,
        such as ``dropout``, and values that it does not take, such as ``solver="adamw"``, are left
        out: they matter for training only, but for ``precision="bfloat16"``, without which
        predictions differ in the third digit. `partial_fit` and ``warm_start`` continue from the
        same weights, with a new state of the optimizer.

        Returns
        -------
        sklearn.neural_network.MLPClassifier or MLPRegressor
            The arrays are copies.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If scikit-learn has no such network: several members, several quantiles, or other
            activations than one of "identity", "logistic", "relu" and "tanh" for all layers.
        """
        self._check_fitted()
        return handed_over(self)

    @property
    def _predicts(self) -> Network | Committee:
        """What predicts: the network, or the committee."""
        return self.__dict__.get("committee_") or self.network_

    @property
    def _architecture(self) -> Architecture:
        """The architecture of the network, or of each member."""
        return members_of(self._predicts)[0].architecture

    def __getattr__(self, name: str) -> Any:
        if name[:2] != "__" and hasattr((self.__dict__.get("estimators_") or [None])[0], name):
            raise AttributeError(
                f"{name} is of a single network; with several members each has its own: "
                f"estimators_[0].{name}"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _keep(self, network: Network) -> None:
        self.__dict__.pop("committee_", None)
        self.__dict__.pop("estimators_", None)
        self.network_ = network

    def _check_fitted(self) -> None:
        if not self._is_fitted():  # which takes a moment, not ten microseconds
            check_is_fitted(self, ("network_", "committee_"), all_or_any=any)

    def _is_fitted(self) -> bool:
        return "network_" in self.__dict__ or "committee_" in self.__dict__
