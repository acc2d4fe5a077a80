"""What an object of another library is, which need not be imported for that."""

from __future__ import annotations

from typing import Any


def kind(value: Any, package: str, *methods: str) -> str:
    """Return the name of the first class of a package that a value is an instance of.

    Parameters
    ----------
    value : object
    package : str
        Such as "torch.nn.modules".
    *methods : str
        What a class of the user's own, below that of the package, must have left as it is.

    Returns
    -------
    str
        Empty if there is no such class, or a method is another one.
    """
    own = type(value)
    for each in own.__mro__:
        if f"{each.__module__}.".startswith(f"{package}."):
            same = all(getattr(own, name, None) is getattr(each, name, None) for name in methods)
            return each.__name__ if same else ""
    return ""


def shown(value: Any) -> str:
    """Return the class of a value and the package that it is from, as a part of a message."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    own = type(value)
    return f"of the class {own.__name__} ({own.__module__.partition('.')[0]})"
