"""The options of every compiled function, in one place, and what Numba lacks: units.

Numba compiles a function anew into each of its callers. A `unit` is compiled and cached once, on
its own, and called through its address, which took 2/3 off the time of a cold start.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding
import numba
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.extending import intrinsic

from fastnn.backends import forks
from fastnn.backends.compiled.machinery import cache

OPTIONS: dict[str, Any] = {
    "nogil": True,
    # Otherwise a check for division by zero keeps loops from vectorising: ten times slower.
    "error_model": "numpy",
    # A product and a sum may become one multiply-add. Nothing may assume that there are no NaNs or
    # infinities, nor change the order of a sum.
    "fastmath": {"contract", "nsz"},
}

# Called from one place, mostly: as a part of the caller it is compiled once, rather than twice.
serial = numba.njit(**OPTIONS, inline="always")


forks.wait_for(global_compiler_lock, llvmlite.binding.ffi.lib._lock)


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Keep Python from looking for garbage, which takes a fifth of the time of compiling."""
    global _pausing
    if not gc.isenabled():
        yield
        return
    try:  # before it is off: Ctrl-C may come right after
        _pausing = True
        gc.disable()
        yield
    finally:
        gc.enable()
        _pausing = False


_pausing = False  # whether Python looks for no garbage because of that


def _collect_in_child() -> None:
    """Let a child look for garbage which is forked by something that compiling calls."""
    if _pausing:
        gc.enable()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_collect_in_child)


class Unit:
    """A function compiled for the argument types that a dtype decides, and cached on disk.

    Parameters
    ----------
    function : callable
        What to compile; it returns nothing, or an int64 where it is called from Python.
    argument_types : callable
        From the Numba type of the network's numbers to the types of the arguments.
    options : dict
        Of Numba, beside those of all.
    variant : str
        What the code depends on, beside the sources and the machine.
    """

    def __init__(
        self, function: Callable[..., Any], argument_types: Callable[[Any], tuple[Any, ...]],
        options: dict[str, bool], variant: str = "",
    ) -> None:  # fmt: skip
        self.argument_types = argument_types
        self.dispatcher = numba.njit(**{**OPTIONS, **options})(function)
        cache.attach(self.dispatcher, function, variant)
        self.call = _caller(argument_types)
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def prepare(self, number: Any) -> None:
        """Compile for a type of number, or load from the cache."""
        if self.argument_types(number) not in self.dispatcher.overloads:
            with forks.held_off(), without_collection():
                self.dispatcher.compile(self.argument_types(number))

    def address(self, number: Any) -> int:
        """Return where the compiled function is, for `call`."""
        self.prepare(number)
        compiled = self.dispatcher.overloads[self.argument_types(number)]
        name = compiled.fndesc.llvm_func_name
        with forks.held_off():
            address: int = compiled.library.get_pointer_to_function(name)
        return address


def unit(
    argument_types: Callable[[Any], tuple[Any, ...]], variant: str = "", **options: bool
) -> Callable[[Callable[..., Any]], Unit]:
    """Make a function a `Unit`."""
    return lambda function: Unit(function, argument_types, options, variant)


def _number_in(kind: Any) -> Any:
    """Return the type of a network's numbers that a plan, an array or a tuple holds, or None."""
    if isinstance(kind, types.Record):
        return kind.fields["alpha"].type if "alpha" in kind.fields else None
    if isinstance(kind, types.BaseTuple):
        return next(filter(None, map(_number_in, kind.types)), None)
    number = getattr(kind, "dtype", kind)
    return number if number in (types.float32, types.float64) else None


def _caller(argument_types: Callable[[Any], tuple[Any, ...]]) -> Any:
    """Return ``call(address, arguments)`` for kernels: call a unit, arguments in a tuple."""

    @intrinsic
    def call(typingctx, address, arguments):
        number = next(filter(None, map(_number_in, arguments)))
        declared = argument_types(number)
        signature = types.void(types.int64, types.Tuple(declared))

        def codegen(context, builder, signature, args):
            address, packed = args
            function_type = context.call_conv.get_function_type(types.none, declared)
            pointer = builder.inttoptr(address, function_type.as_pointer())
            values = cgutils.unpack_tuple(builder, packed, len(declared))
            for i, kind in enumerate(declared):
                if isinstance(kind, types.Array):
                    # The caller owns it. Counting who else does would cost several threads dear.
                    array = context.make_array(kind)(context, builder, values[i])
                    array.meminfo = cgutils.get_null_value(array.meminfo.type)
                    values[i] = array._getvalue()
            context.call_conv.call_function(builder, pointer, types.none, declared, values)
            return context.get_dummy_value()

        return signature, codegen

    return call
