"""Augmentation of the rows of a batch, after they are gathered, in the thread's own copy of them.

What a row becomes depends on its keys alone, see `fastnn.augment`. Of each augmentation the plan
has a record: whole numbers, float64 numbers, and tables of the network's type, see
`fastnn.backends.compiled.augmenting`. Each thread has room of its own.
"""

from __future__ import annotations

import math

import numpy as np
from numba import int64, types

from fastnn.augment import (
    DOWN,
    FIRST_NORMAL,
    GRID,
    IMAGES,
    MIRROR,
    MIXUP,
    NOISE,
    QUANTILES,
    RIGHT,
    SLANT,
    TURN,
    ZOOM,
)
from fastnn.backends.compiled.kernels import elementary
from fastnn.backends.compiled.kernels.inputs import call_gather, hashed
from fastnn.backends.compiled.kernels.layout import (
    BATCH,
    SHARE,
    augmentations_of,
    integers,
    keys_at,
    layers_of,
    numbers,
    plan_type,
    reals,
    row_of,
)
from fastnn.backends.compiled.machinery.arrays import elements
from fastnn.backends.compiled.machinery.instructions import itemsize_of
from fastnn.backends.compiled.machinery.jit import serial, unit
from fastnn.backends.compiled.machinery.lines import LINE, filled, lanes_of, load, put_number, store
from fastnn.counters import GOLDEN_32

EDGE = 3  # lines and columns of an image beyond its own: one before it, two behind
POINTS = GRID * GRID


@serial
def key_of(plan, i, place):
    """Return the key of an augmentation for a place of the order."""
    line = plan.keys + 4 * (plan.depth + i) * plan.rows
    return keys_at(line, plan.rows)[place]


@serial
def uniform(key, counter):
    """Return a number from 0 to below 1, a multiple of 2^-24, as float64."""
    x = hashed(np.uint32(key + np.uint32(counter) * np.uint32(GOLDEN_32)))
    return np.int32(x >> np.uint32(8)) * 2.0**-24


@serial
def fill_with_normals(target, key, first, pairs):
    """Write as many pairs of normal numbers: the cosines, then the sines."""
    kind = target.dtype.type
    one, half, quarter, part = kind(1), kind(0.5), kind(0.25), kind(2.0**-24)
    start = np.uint32(key + np.uint32(first) * np.uint32(GOLDEN_32))
    other = np.uint32(start + np.uint32(pairs) * np.uint32(GOLDEN_32))
    sines = target[pairs : 2 * pairs]
    for j in range(pairs):
        along = np.uint32(np.uint32(j) * np.uint32(GOLDEN_32))
        a = np.int32(hashed(np.uint32(start + along)) >> np.uint32(8))
        b = np.int32(hashed(np.uint32(other + along)) >> np.uint32(8))
        radius = np.sqrt(kind(-2) * elementary.log(one - kind(a) * part))
        t = half - kind(b) * part  # of a turn: the sine is that of half a turn less
        far = abs(t)
        q = half - far if far > quarter else far
        target[j] = -radius * elementary.sine_of_turn(quarter - far)
        sines[j] = radius * elementary.sine_of_turn(q if t > 0 else -q)


@serial
def _add_noise(way, row, features, key, room, one):
    """Add normal numbers to a row of so many."""
    pairs = (features + 1) // 2
    values, drawn = numbers(row, features, one), numbers(room, 2 * pairs, one)
    fill_with_normals(drawn, key, 0, pairs)
    std = type(one)(reals(way.numbers, 1)[0])
    for j in range(features):
        values[j] += std * drawn[j]


@serial
def _warp(way, row, key, room, one):
    """Turn, scale, slant, shift and bend an image, in one interpolation.

    Lines of pixels are padded to whole cache lines, but not in the row.
    """
    sizes, how = integers(way.sizes, 4), reals(way.numbers, 6)
    height, width, channels, flip = sizes[0], sizes[1], sizes[2], sizes[3]
    rotate, scale, shear, shift, elastic, fill = how[0], how[1], how[2], how[3], how[4], how[5]
    lanes, itemsize = lanes_of(one), itemsize_of(one)
    padded = (width + lanes - 1) // lanes * lanes
    pixels = height * padded
    # Tables: x less its centre, the splines along x by points, and those along y by pixels.
    centred = way.tables
    along_x = centred + itemsize * padded
    along_y = numbers(along_x + itemsize * GRID * padded, height * GRID, one)
    # Room: places along y and x, which become fractions; where the four pixels are; the rest.
    places_y, places_x = room, room + itemsize * pixels
    indices = places_x + itemsize * pixels
    rest = indices + itemsize * pixels

    angle = rotate * (2 * uniform(key, TURN) - 1)
    zoom = 1 / (1 + scale * (2 * uniform(key, ZOOM) - 1))
    slant = shear * (2 * uniform(key, SLANT) - 1)
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    side = -1.0 if flip != 0 and uniform(key, MIRROR) < 0.5 else 1.0
    yy, yx, xy, xx = cosine + sine * slant, side * sine, cosine * slant - sine, side * cosine
    # In an image with a line and a column before the first.
    start_y = (height + 1) / 2 + shift * (2 * uniform(key, DOWN) - 1)
    start_x = (width + 1) / 2 + shift * (2 * uniform(key, RIGHT) - 1)
    kind = type(one)
    by_y, by_x = filled(kind(yx)), filled(kind(xx))
    if elastic > 0:
        offsets = numbers(rest, 2 * POINTS, one)
        fill_with_normals(offsets, key, FIRST_NORMAL, POINTS)
        for j in range(2 * POINTS):
            offsets[j] *= kind(elastic)
        rest += itemsize * 2 * POINTS
        for a in range(2 * GRID):  # at each line of points, along y and then along x
            for x in range(0, padded, lanes):
                total = filled(kind(0))
                for b in range(GRID):
                    weight = load(along_x + itemsize * (b * padded + x), one)
                    total = total + filled(offsets[a * GRID + b]) * weight
                store(rest + itemsize * (a * padded + x), total)
    for y in range(height):
        v = y - (height - 1) / 2
        from_y, from_x = filled(kind(start_y + yy * v)), filled(kind(start_x + xy * v))
        first = min((GRID - 3) * y // max(height - 1, 1), GRID - 4)
        for x in range(0, padded, lanes):
            u, here = load(centred + itemsize * x, one), itemsize * (y * padded + x)
            place_y, place_x = from_y + by_y * u, from_x + by_x * u
            if elastic > 0:
                for a in range(first, first + 4):
                    weight = filled(along_y[y * GRID + a])
                    line = rest + itemsize * (a * padded + x)
                    place_y = place_y + weight * load(line, one)
                    place_x = place_x + weight * load(line + itemsize * GRID * padded, one)
            store(places_y + here, place_y)
            store(places_x + here, place_x)
    _look_up(places_y, places_x, indices, pixels, height, width, one)
    image = rest + itemsize * 2 * GRID * padded
    _interpolate(row, image, places_y, (height, width, channels), padded, kind(fill))


@serial
def _look_up(places_y, places_x, indices, pixels, height, width, one):
    """Split places into those of the upper left of four pixels, and fractions."""
    kind = type(one)
    of_y, of_x = numbers(places_y, pixels, one), numbers(places_x, pixels, one)
    at = elements(indices, pixels, np.int32(0))
    last_y, last_x, zero = kind(height + 1), kind(width + 1), kind(0)
    length = width + EDGE
    for p in range(pixels):
        y, x = of_y[p], of_x[p]
        y = y if y > zero else zero
        x = x if x > zero else zero
        y = y if y < last_y else last_y
        x = x if x < last_x else last_x
        top, left = np.int32(y), np.int32(x)
        of_y[p], of_x[p] = y - kind(top), x - kind(left)
        at[p] = np.int32(top * length + left)


@serial
def _interpolate(row, image, places, sizes, padded, fill):
    """Copy an image to where there is room around it, and interpolate between its pixels."""
    height, width, channels = sizes
    pixels, length = height * padded, width + EDGE
    itemsize = itemsize_of(fill)
    values = numbers(row, height * width * channels, fill)
    source = numbers(image, (height + EDGE) * length * channels, fill)
    for j in range(len(source)):
        source[j] = fill
    for y in range(height):
        begin = ((y + 1) * length + 1) * channels
        for j in range(width * channels):
            source[begin + j] = values[y * width * channels + j]
    down, right = numbers(places, pixels, fill), numbers(places + itemsize * pixels, pixels, fill)
    at = elements(places + 2 * itemsize * pixels, pixels, np.uint32(0))
    below = np.uint64(length * channels)
    beside = np.uint64(channels)
    for y in range(height):
        begin, line = y * padded, values[y * width * channels : (y + 1) * width * channels]
        if channels == 1:
            for x in range(width):
                i = np.uint64(at[begin + x])
                line[x] = _between(
                    source, i, np.uint64(1), below, down[begin + x], right[begin + x]
                )
        else:
            for x in range(width):
                across, along = right[begin + x], down[begin + x]
                for c in range(channels):
                    i = np.uint64(at[begin + x]) * beside + np.uint64(c)
                    line[x * channels + c] = _between(source, i, beside, below, along, across)


@serial
def _between(source, i, beside, below, along, across):
    """Interpolate between four numbers, the upper left of which is given by its place."""
    left = source[i]
    upper = left + across * (source[i + beside] - left)
    left = source[i + below]
    lower = left + across * (source[i + below + beside] - left)
    return upper + along * (lower - upper)


def _change_types(number):
    return plan_type(number), types.int64, types.int64, types.uint32, types.int64


@unit(_change_types)
def change(plan, i, row, key, room):
    """Change a row, by its address, as one augmentation does."""
    one, way = type(plan.alpha)(1), augmentations_of(plan)[i]
    if way.kind == IMAGES:
        _warp(way, row, key, room, one)
    elif way.kind == NOISE:
        _add_noise(way, row, layers_of(plan)[0].fan_in, key, room, one)


call_change = change.call


def _mix_types(number):
    return plan_type(number), *[types.int64] * 4


@unit(_mix_types)
def mix(plan, i, row, place, room):
    """Mix a row with another of the data, changed by what comes before, and so its targets."""
    key, one, itemsize = key_of(plan, i, place), type(plan.alpha)(1), itemsize_of(plan.alpha)
    layers = layers_of(plan)
    features, outputs = layers[0].fan_in, layers[plan.depth - 1].fan_out
    quantiles = reals(augmentations_of(plan)[i].numbers, QUANTILES)
    at = uniform(key, 0) * (QUANTILES - 1)
    q = int64(at)
    part = quantiles[q] + (at - q) * (quantiles[q + 1] - quantiles[q])
    drawn = np.uint64(hashed(np.uint32(key + np.uint32(GOLDEN_32))))
    other = int64(drawn * np.uint64(plan.drawn_count) >> np.uint64(32))
    if plan.drawn_from != 0:
        other = integers(plan.drawn_from, plan.drawn_count)[other]
    # The other row, behind which is room for the ways before.
    values, others = numbers(row, features, one), numbers(room, features, one)
    behind = room + (itemsize * features + LINE - 1) // LINE * LINE
    call_gather(plan.functions.gather, (plan.inputs, other, others, features))
    for b in range(i):
        changed = np.uint32(hashed(key_of(plan, b, place)))
        call_change(plan.functions.change, (plan, int64(b), room, changed, behind))
    share = type(plan.alpha)(part)
    for j in range(features):
        values[j] = share * values[j] + (one - share) * others[j]
    if not plan.mixes:
        return
    own = row_of(plan, place)
    if plan.row_weights != 0:
        weights = numbers(plan.own_weights, max(own, other) + 1, one)
        first = share * weights[own]
        weight = first + (one - share) * weights[other]
        put_number(plan.row_weights + itemsize * place, weight)
        if weight > 0:
            share = first / weight
    # Other threads may write the same: each number once.
    address = plan.targets.address + place * plan.targets.row_bytes
    target, of_own = numbers(address, outputs, one), numbers(room, outputs, one)
    of_other = numbers(room + itemsize * outputs, outputs, one)
    call_gather(plan.functions.gather, (plan.own_targets, own, of_own, outputs))
    call_gather(plan.functions.gather, (plan.own_targets, other, of_other, outputs))
    for j in range(outputs):
        target[j] = share * of_own[j] + (one - share) * of_other[j]


call_mix = mix.call


def _augment_types(number):
    return plan_type(number), BATCH, SHARE


@unit(_augment_types)
def augment(plan, batch, share):
    """Change gathered rows one way after the other."""
    layer, ways = layers_of(plan)[0], augmentations_of(plan)
    itemsize = itemsize_of(plan.alpha)
    room = plan.rooms + itemsize * batch.thread * plan.room_size
    for r in range(share.start, share.stop):
        place = batch.first + r
        offset = layer.inputs + batch.thread * layer.copy + r * layer.input_stride
        row = plan.work + itemsize * offset
        for i in range(len(ways)):
            if ways[i].kind == MIXUP:
                call_mix(plan.functions.mix, (plan, int64(i), row, place, room))
            else:
                key = key_of(plan, i, place)
                call_change(plan.functions.change, (plan, int64(i), row, key, room))


call_augment = augment.call
