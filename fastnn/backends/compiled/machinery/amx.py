"""AMX: Intel's tiles, as single instructions, and whether a process may and should use them.

A tile is a register of up to 16 rows of 64 bytes, here always whole. Instructions name tiles by
number, 0 to 7. One multiplies the 16 rows of words of a tile by the 16 columns of another, and adds
to 256 sums in float32. Words are those of `bfloat16`: pairs of neighbours along a sum.

This has been run in Bochs, an emulator, but not on a CPU that has AMX. So it is used only where
``FASTNN_AMX=1`` asks for it. ``FASTNN_AMX=emulated`` is for tests: `amx_emulation` takes the place
of the instructions.
"""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.machine import MACHINE
from fastnn.backends.compiled.machinery.vector_ir import I8

TILE = 16  # rows of a tile, and words in a row
TILE_BYTES = 64 * TILE
# Linux: the call by which a process asks to use a part of the registers, and which part.
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


def _asked() -> str:
    asked = os.environ.get("FASTNN_AMX", "")
    if asked not in ("", "0", "1", "emulated"):
        raise ValueError(f"FASTNN_AMX must be 0, 1 or emulated, got {asked!r}")
    return asked


ASKED = _asked()
EMULATED = ASKED == "emulated"

trouble: str | None = None  # why it was turned off


@functools.cache
def permitted() -> bool:
    """Ask Linux to let this process use tiles; its threads and forks may then, too."""
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA) == 0


def available() -> bool:
    """Tell whether AMX is asked for and this process may use it, or it is emulated."""
    return EMULATED or (ASKED == "1" and MACHINE.amx and permitted())


def state() -> str:
    """Return in words whether AMX is there and used; nothing if it is neither there nor asked for.

    This asks for no permission unless AMX is asked for.
    """
    if EMULATED:
        return "AMX is emulated, as FASTNN_AMX=emulated asks"
    if not MACHINE.amx:
        return "there is no AMX for FASTNN_AMX=1" if ASKED == "1" else ""
    if ASKED != "1":
        return "AMX is there and not used, see FASTNN_AMX"
    if trouble:
        return f"AMX is there and not used: {trouble}"
    if not permitted():
        return "AMX is there and not used: Linux does not let this process"
    return "AMX is used, as FASTNN_AMX=1 asks"


def turn_off(reason: str) -> None:
    """Say that AMX is not used in this process after all, and why."""
    global trouble
    trouble = reason


def _instruction(
    builder: ir.IRBuilder, name: str, tiles: tuple[Any, ...], *operands: ir.Value
) -> None:
    """Emit an instruction for tiles, whose numbers are constants, and other operands."""
    numbers = [ir.Constant(I8, tile.literal_value) for tile in tiles]
    values = [*numbers, *operands]
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [value.type for value in values]),
        f"llvm.x86.{name}",
    )
    builder.call(function, values)


def _are_constants(*tiles: Any) -> bool:
    """Tell whether the numbers of tiles are known; if not, Numba tries again with what it knows."""
    return all(isinstance(tile, types.IntegerLiteral) for tile in tiles)


# The first argument of each is the address of the emulated tiles, for which there is no use here.


@intrinsic
def configure(typingctx, emulated, address):
    """Take the shapes of the tiles from the 64 bytes at an address; all tiles become zero."""

    def codegen(context, builder, signature, args):
        _instruction(builder, "ldtilecfg", (), builder.inttoptr(args[1], I8.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


@intrinsic
def release(typingctx, emulated):
    """Give the tiles back, so that the system need not save them any more."""

    def codegen(context, builder, signature, args):
        _instruction(builder, "tilerelease", ())
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def zero(typingctx, emulated, tile):
    """Let a tile be zero."""
    if not _are_constants(tile):
        return None

    def codegen(context, builder, signature, args):
        _instruction(builder, "tilezero", (tile,))
        return context.get_dummy_value()

    return types.void(types.intp, tile), codegen


def _moving(name: str) -> Any:
    @intrinsic
    def move(typingctx, emulated, tile, address, stride):
        """Move a tile from, or to, rows that begin so many bytes apart at an address."""
        if not _are_constants(tile):
            return None

        def codegen(context, builder, signature, args):
            pointer = builder.inttoptr(args[2], I8.as_pointer())
            _instruction(builder, name, (tile,), pointer, args[3])
            return context.get_dummy_value()

        return types.void(types.intp, tile, types.intp, types.intp), codegen

    return move


load, store = _moving("tileloadd64"), _moving("tilestored64")


@intrinsic
def multiply(typingctx, emulated, sums, a, b):
    """Add the products of two tiles of words to a tile of sums, all three by their numbers."""
    if not _are_constants(sums, a, b):
        return None

    def codegen(context, builder, signature, args):
        _instruction(builder, "tdpbf16ps", (sums, a, b))
        return context.get_dummy_value()

    return types.void(types.intp, sums, a, b), codegen
