"""The CPU's arithmetic limit: a loop of float32 multiply-adds that stays in registers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fastnn.backends.compiled.machinery.machine import MACHINE
from fastnn.backends.compiled.machinery.vector_ir import I32, I64, lanes

# Enough independent sums to hide the latency of a multiply-add (about 4 cycles, 2 a cycle), and few
# enough to stay in registers.
CHAINS = 24 if MACHINE.registers == 32 else 12
# About two milliseconds: long beside starting threads, short beside a time slice.
ITERATIONS = 500_000
PEAK_RUNS = 8


@intrinsic
def multiply_adds(typingctx, iterations, factor, term):
    """Iterate ``x = x * factor + term`` on `CHAINS` vectors; return a number that needs all."""
    number = types.float32

    def codegen(context, builder, signature, args):
        iterations, factor, term = args
        vector = ir.VectorType(ir.FloatType(), lanes(4))
        undefined = ir.Constant(vector, ir.Undefined)
        every_lane = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)

        def splat(scalar):
            first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
            return builder.shuffle_vector(first, undefined, every_lane)

        def multiply_add(x):
            if not MACHINE.fma:
                return builder.fadd(builder.fmul(x, factors), terms)
            kind = ir.FunctionType(vector, [vector] * 3)
            name = f"llvm.fma.v{vector.count}f32"
            fma = cgutils.get_or_insert_function(builder.module, kind, name)
            return builder.call(fma, [x, factors, terms])

        factors, terms = splat(factor), splat(term)
        before, loop = builder.block, builder.append_basic_block("loop")
        end = builder.append_basic_block("end")
        builder.branch(loop)

        builder.position_at_end(loop)
        i = builder.phi(I64)
        i.add_incoming(ir.Constant(I64, 0), before)
        chains = [builder.phi(vector) for _ in range(CHAINS)]
        results = [multiply_add(x) for x in chains]
        for c, (x, result) in enumerate(zip(chains, results, strict=True)):
            # Different starts, or the compiler may find that all chains are one.
            x.add_incoming(ir.Constant(vector, [float(c)] * vector.count), before)
            x.add_incoming(result, loop)
        i_next = builder.add(i, ir.Constant(I64, 1))
        i.add_incoming(i_next, loop)
        builder.cbranch(builder.icmp_signed("<", i_next, iterations), loop, end)

        builder.position_at_end(end)
        total = results[0]
        for result in results[1:]:
            total = builder.fadd(total, result)
        return builder.extract_element(total, ir.Constant(I32, 0))

    return number(types.int64, number, number), codegen


@numba.njit(nogil=True)
def _peak_serial(out):
    out[0] = multiply_adds(ITERATIONS, np.float32(0.999), np.float32(0.001))


@numba.njit(parallel=True)
def _peak_parallel(out):
    for t in numba.prange(len(out)):
        out[t] = multiply_adds(ITERATIONS, np.float32(0.999), np.float32(0.001))


def peak(threads: int) -> float:
    """Return the float32 multiply-adds that threads get done together, in GFLOP/s: best of some."""
    # The same threads as the kernels use, so that none is idle and spinning beside the others.
    loop = _peak_serial if threads == 1 else _peak_parallel
    out = np.empty(threads, np.float32)
    flops = 2 * CHAINS * lanes(4) * ITERATIONS * threads
    best = float("inf")
    for _ in range(PEAK_RUNS):
        start = time.perf_counter()
        loop(out)
        best = min(best, time.perf_counter() - start)
    return flops / best / 1e9
