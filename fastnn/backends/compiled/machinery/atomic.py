"""Numbers that threads agree through, and how a thread waits for the others.

All are 64-bit integers at addresses. What a thread wrote before it changed one of them is seen by a
thread that has read the change.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.machine import MACHINE
from fastnn.backends.compiled.machinery.vector_ir import I64

_YIELD = "fastnn_yield"


def _yield_address() -> int | None:
    """Return where the system's function is that lets another thread have the CPU."""
    library: Any = ctypes.windll.kernel32 if sys.platform == "win32" else ctypes.CDLL(None)
    function = library.SwitchToThread if sys.platform == "win32" else library.sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value


llvm.add_symbol(_YIELD, _yield_address())


def _at(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, I64.as_pointer())


@intrinsic
def load(typingctx, address):
    """Return the number at an address."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(_at(builder, args[0]), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def store(typingctx, address, value):
    """Set the number at an address."""

    def codegen(context, builder, signature, args):
        builder.store_atomic(args[1], _at(builder, args[0]), "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def add(typingctx, address, value):
    """Add to the number at an address, and return the sum."""

    def codegen(context, builder, signature, args):
        before = builder.atomic_rmw("add", _at(builder, args[0]), args[1], "acq_rel")
        return builder.add(before, args[1])

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def replace(typingctx, address, old, new):
    """Set the number at an address if it is still the old one, and return whether it was."""

    def codegen(context, builder, signature, args):
        address, old, new = args
        found = builder.cmpxchg(_at(builder, address), old, new, "acq_rel", "acquire")
        return builder.extract_value(found, 1)

    return types.boolean(*[types.int64] * 3), codegen


@intrinsic
def pause(typingctx):
    """Tell the CPU that this thread waits for a number to change."""

    def codegen(context, builder, signature, args):
        if MACHINE.x86:  # on others nothing of the kind makes a difference
            kind = ir.FunctionType(ir.VoidType(), [])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause")
            builder.call(function, [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def let_others_run(typingctx):
    """Let another thread have the CPU, if one wants it."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, _YIELD), [])
        return context.get_dummy_value()

    return types.void(), codegen
