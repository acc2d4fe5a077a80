"""Arrays at addresses, for kernels.

They are intrinsics, as kernels ask for them everywhere: Numba puts a function into its caller by
copying all of that, so that many small ones in a long one take most of the time of compiling it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


def _array_at(
    context: Any, builder: ir.IRBuilder, kind: types.Array, address: ir.Value, count: ir.Value
) -> ir.Value:
    """Return an array of a kind, which does not own its memory."""
    array = make_array(kind)(context, builder)
    data_type = context.get_data_type(kind.dtype)
    itemsize = cgutils.intp_t(context.get_abi_sizeof(data_type))
    populate_array(
        array, data=builder.inttoptr(address, data_type.as_pointer()), shape=(count,),
        strides=(itemsize,), itemsize=itemsize, meminfo=None,
    )  # fmt: skip
    return array._getvalue()


@intrinsic
def elements(typingctx, address, count, like):
    """Return so many elements, of the type of ``like``, at an address."""
    kind = types.Array(like, 1, "C")

    def codegen(context, builder, signature, args):
        return _array_at(context, builder, kind, *args[:2])

    return kind(types.intp, types.intp, like), codegen


def elements_of(element: Any) -> Callable[..., Any]:
    """Return ``array(address, count)`` for kernels: so many elements of a type at an address."""
    kind = types.Array(element, 1, "C")

    @intrinsic
    def array(typingctx, address, count):
        def codegen(context, builder, signature, args):
            return _array_at(context, builder, kind, *args)

        return kind(types.intp, types.intp), codegen

    return array


def elements_in(address: str, count: str, element: Any) -> Callable[..., Any]:
    """Return ``array(record)`` for kernels: the elements of a type that a record tells of.

    Parameters
    ----------
    address, count : str
        The names of the record's fields that say where they are and how many.
    element : Numba type or str
        Their type, or the name of the record's field whose type they have.
    """

    @intrinsic
    def array(typingctx, record):
        kind = types.Array(record.typeof(element) if isinstance(element, str) else element, 1, "C")

        def codegen(context, builder, signature, args):
            place, size = (
                builder.load(
                    cgutils.get_record_member(
                        builder, args[0], record.offset(name),
                        context.get_data_type(record.typeof(name)),
                    )
                )
                for name in (address, count)
            )  # fmt: skip
            return _array_at(context, builder, kind, place, size)

        return kind(record), codegen

    return array
