"""Several places as one number: a Numba type of `WIDTH` doubles on which one instruction acts at once.

A lane never meets its neighbours, and every operation is that of IEEE: what a place gets does not depend on the places
beside it.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

__all__ = ["WIDTH", "lanes", "load", "root", "store", "where_positive"]

WIDTH = 8
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)


class Lanes(types.Type):
    """The type."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes{WIDTH}")


LANES = Lanes()


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _VECTOR)


def _address(context, builder, array_type, array, offset):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), _VECTOR.as_pointer())


@intrinsic
def load(typing, array, offset):
    """The lanes that begin at this place of a flat array."""

    def generate(context, builder, signature, arguments):
        value = builder.load(_address(context, builder, signature.args[0], *arguments))
        value.align = 8
        return value

    return LANES(array, types.intp), generate


@intrinsic
def store(typing, array, offset, value):
    """Write lanes where they begin in a flat array."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], address).align = 8
        return context.get_dummy_value()

    return types.none(array, types.intp, LANES), generate


def _splat(builder, number):
    vector = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(vector, ir.Constant(_VECTOR, ir.Undefined), mask)


@intrinsic
def lanes(typing, number):
    """The same number in every lane."""

    def generate(context, builder, signature, arguments):
        return _splat(builder, arguments[0])

    return LANES(types.float64), generate


@intrinsic
def root(typing, value):
    """Square root."""

    def generate(context, builder, signature, arguments):
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), f"llvm.sqrt.v{WIDTH}f64"
        )
        return builder.call(function, arguments)

    return LANES(LANES), generate


@intrinsic
def where_positive(typing, condition, value, other):
    """The one where the condition is above zero, else the other."""

    def generate(context, builder, signature, arguments):
        positive = builder.fcmp_ordered(">", arguments[0], ir.Constant(_VECTOR, [0.0] * WIDTH))
        return builder.select(positive, arguments[1], arguments[2])

    return LANES(LANES, LANES, LANES), generate


def _arithmetic(name):
    @intrinsic
    def apply(typing, left, right):
        def generate(context, builder, signature, arguments):
            return getattr(builder, name)(*arguments)

        return LANES(LANES, LANES), generate

    return apply


def _overloaded(symbol, apply):
    @overload(symbol, inline="never")
    def implementation(left, right):
        if left is LANES and right is LANES:
            return lambda left, right: apply(left, right)
        return None


for _symbol, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _overloaded(_symbol, _arithmetic(_name))
