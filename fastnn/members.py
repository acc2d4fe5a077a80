"""`Members`: networks whose outputs mean the same, as a sequence that can be saved."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import NoReturn, TypeVar, overload

from fastnn.checks.committees import agree
from fastnn.model import files, storage
from fastnn.model.model import Model
from fastnn.network import Network

Self = TypeVar("Self", bound="Members")


class Members:
    """The part of `fastnn.Committee` that neither trains nor predicts."""

    def __init__(self, members: Iterable[Network]) -> None:
        if isinstance(members, Network) or not isinstance(members, Iterable):
            raise TypeError(
                f"members must be a list of networks, got {type(members).__name__}; need such as "
                "[fastnn.Network(sizes, seed=i) for i in range(5)]"
            )
        self.members = tuple(members)
        if not self.members:
            raise ValueError("members must hold at least one network, got none")
        for i, each in enumerate(self.members):
            if not isinstance(each, Network):
                raise TypeError(f"member {i} must be a fastnn.Network, got {each!r}")
        agree(self._models)

    @property
    def _models(self) -> list[Model]:
        return [net.model for net in self.members]

    @property
    def _first_trained(self) -> Model:
        """The first model that knows what training tells; the first of all if there is none."""
        models = self._models
        return next((model for model in models if model.epochs_trained), models[0])

    @property
    def classes(self) -> tuple[str | int, ...] | None:
        """Names of the classes, see `Network.classes`; they may be assigned, to all members.

        Raises
        ------
        TypeError, ValueError
            If what is assigned is not as many different names as there are classes.
        """
        return self._first_trained.classes

    @classes.setter
    def classes(self, names: Iterable[str | int] | None) -> None:
        names = None if names is None else tuple(names)
        for net in self.members:
            net.classes = names

    @property
    def features(self) -> tuple[str, ...] | None:
        """Names of the inputs, see `Network.features`; they may be assigned, to all members.

        Raises
        ------
        TypeError, ValueError
            If what is assigned is not as many different strings as there are inputs.
        """
        return self._first_trained.features

    @features.setter
    def features(self, names: Iterable[str] | None) -> None:
        names = None if names is None else tuple(names)
        for net in self.members:
            net.features = names

    def save(self, path: str | os.PathLike[str], *, optimizer: bool = True) -> None:
        """Write all members to one ``.safetensors`` file, which `fastnn.load` reads.

        Parameters
        ----------
        path : str or path
        optimizer : bool
            As for `Network.save`.

        Raises
        ------
        ValueError
            If members do not fit together any more, or as for `Network.save`.
        TypeError, OSError
            As for `Network.save`.
        """
        agree(self._models)
        storage.write(path, *files.contents_of_several(self._models, optimizer))

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Network]:
        return iter(self.members)

    @overload
    def __getitem__(self, place: int) -> Network: ...
    @overload
    def __getitem__(self: Self, place: slice) -> Self: ...
    def __getitem__(self: Self, place: int | slice) -> Network | Self:
        found = self.members[place]
        return found if isinstance(found, Network) else type(self)(found)

    def __repr__(self) -> str:
        return f"<Committee of {len(self)}, the first: {self.members[0]!r}>"

    def __getattr__(self, name: str) -> NoReturn:
        hint = ""
        if name == "fit":
            hint = "; did you mean 'train'?"
        elif name[0] != "_" and hasattr(Network, name):
            hint = f"; its members have one each, as in committee[0].{name}"
        raise AttributeError(f"'Committee' object has no attribute {name!r}{hint}")
