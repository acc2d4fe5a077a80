"""Single instructions, and constants, for which Numba has no name."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.compiled.machinery.machine import MACHINE
from fastnn.backends.compiled.machinery.vector_ir import (
    I8,
    I32,
    I64,
    IR_TYPES,
    ask_for_line,
    bits_of,
    int_type,
)

# Bits of x86's control register for vectors: results, and operands, below the smallest normal
# number count as zero.
FLUSH = 0x8000 | 0x0040


def _control(builder: ir.IRBuilder, name: str, slot: ir.Value) -> None:
    """Store the control register of this thread's vector unit in a slot, or load it from there."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(ir.VoidType(), [I8.as_pointer()]), f"llvm.x86.sse.{name}"
    )
    builder.call(function, [builder.bitcast(slot, I8.as_pointer())])


@intrinsic
def flush_denormals(typingctx):
    """Let numbers below the smallest normal one count as zero; return what to restore.

    An instruction that meets one takes more than a hundred cycles on some machines: with saturated
    sigmoids a step was seven times slower. Only x86 is told; others hardly mind.
    """

    def codegen(context, builder, signature, args):
        if not MACHINE.x86:
            return ir.Constant(I32, 0)
        slot = cgutils.alloca_once(builder, I32)
        _control(builder, "stmxcsr", slot)
        before = builder.load(slot)
        builder.store(builder.or_(before, ir.Constant(I32, FLUSH)), slot)
        _control(builder, "ldmxcsr", slot)
        return before

    return types.int32(), codegen


@intrinsic
def restore_denormals(typingctx, before):
    """Undo `flush_denormals`, given what it returned."""

    def codegen(context, builder, signature, args):
        if MACHINE.x86:
            slot = cgutils.alloca_once(builder, I32)
            builder.store(args[0], slot)
            _control(builder, "ldmxcsr", slot)
        return context.get_dummy_value()

    return types.void(types.int32), codegen


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at an address to be brought near; never faults."""

    def codegen(context, builder, signature, args):
        ask_for_line(builder, builder.inttoptr(args[0], I8.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@intrinsic
def ticks(typingctx):
    """Return the CPU's count of time, which goes on at the same rate on all of them."""

    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(I64, [])
        if MACHINE.x86:
            name = "llvm.readcyclecounter"
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        if MACHINE.architecture == "aarch64":  # there LLVM's reads what only the system may read
            return builder.asm(kind, "mrs $0, cntvct_el0", "=r", [], True)
        return ir.Constant(I64, 0)

    return types.int64(), codegen


@intrinsic
def itemsize_of(typingctx, like):
    """Return the bytes of a number of that type, a constant."""

    def codegen(context, builder, signature, args):
        return ir.Constant(I64, bits_of(IR_TYPES[signature.args[0]]) // 8)

    return types.intp(like), codegen


@intrinsic
def scale_by_power(typingctx, x, shifted):
    """Return ``x * 2**n``, where ``shifted`` is ``1.5 * 2**p + n`` and p its mantissa's bits.

    The low bits of ``shifted`` are n. The power is applied in two factors, so that results below
    the smallest normal number are rounded once and those above the largest become infinity. Both
    may be lines.
    """

    def codegen(context, builder, signature, args):
        x, shifted = args
        number = x.type if isinstance(x.type, ir.VectorType) else None
        element = number.element if number else x.type
        integer = int_type(element)
        mantissa, bias = (23, 127) if integer is I32 else (52, 1023)
        integers = ir.VectorType(integer, number.count) if number else integer

        def constant(value: int) -> ir.Constant:
            return ir.Constant(integers, [value] * number.count if number else value)

        spare = constant(integer.width - mantissa + 1)
        low_bits = builder.shl(builder.bitcast(shifted, integers), spare)
        n = builder.ashr(low_bits, spare)
        half = builder.ashr(n, constant(1))
        for power in (half, builder.sub(n, half)):
            bits = builder.shl(builder.add(power, constant(bias)), constant(mantissa))
            x = builder.fmul(x, builder.bitcast(bits, x.type))
        return x

    return x(x, shifted), codegen
