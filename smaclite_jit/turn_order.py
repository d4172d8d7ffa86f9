"""The random processing order of a tick, drawn inside the compiled code from the stream of numpy's PCG64.

`r` (6,) uint64 is a generator: state high and low, increment high and low, whether half a draw is left over, and that
half. It yields what `numpy.random.Generator.shuffle` would do to the list of live units.
"""

import numpy as np
from numba import njit

MASK32, SHIFT32 = np.uint64(0xFFFFFFFF), np.uint64(32)
MULTIPLIER_HIGH, MULTIPLIER_LOW = np.uint64(0x2360ED051FC65DA4), np.uint64(0x4385DF649FCCF645)
ZERO, ONE = np.uint64(0), np.uint64(1)


def from_generator(generator):
    """The state of a numpy Generator with a PCG64 (6,) uint64."""
    state = generator.bit_generator.state
    value, increment, low = state["state"]["state"], state["state"]["inc"], 2**64 - 1
    words = (
        value >> 64,
        value & low,
        increment >> 64,
        increment & low,
        state["has_uint32"],
        state["uinteger"],
    )
    return np.array(words, np.uint64)


@njit(cache=True)
def multiply(a, b):
    """The 128-bit product of two uint64, high and low."""
    a0, a1, b0, b1 = a & MASK32, a >> SHIFT32, b & MASK32, b >> SHIFT32
    low = a0 * b0
    middle = a1 * b0 + (low >> SHIFT32)
    other = a0 * b1 + (middle & MASK32)
    return a1 * b1 + (middle >> SHIFT32) + (other >> SHIFT32), (other << SHIFT32) | (low & MASK32)


@njit(cache=True)
def draw32(r):
    """The next 32 random bits."""
    if r[4] != ZERO:
        r[4] = ZERO
        return r[5]
    high, low = multiply(r[1], MULTIPLIER_LOW)
    high += r[0] * MULTIPLIER_LOW + r[1] * MULTIPLIER_HIGH
    new_low = low + r[3]
    r[0] = high + r[2] + (ONE if new_low < low else ZERO)
    r[1] = new_low
    word, rotation = r[0] ^ r[1], r[0] >> np.uint64(58)
    word = (word >> rotation) | (word << ((np.uint64(64) - rotation) & np.uint64(63)))
    r[4], r[5] = ONE, word >> SHIFT32
    return word & MASK32


@njit(cache=True)
def draw_up_to(r, largest):
    """A uniform integer in [0, largest]: as numpy, by masking and rejecting."""
    mask = np.uint64(largest)
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> np.uint64(shift)
    while True:
        value = draw32(r) & mask
        if value <= np.uint64(largest):
            return np.int64(value)


@njit(cache=True)
def draw_order(r, alive, order):
    """Fill `order` (units,) with the live units in random order, and -1 behind them."""
    n = 0
    order[:] = -1
    for i in range(len(alive)):
        if alive[i]:
            order[n] = i
            n += 1
    for i in range(n - 1, 0, -1):
        j = draw_up_to(r, i)
        order[i], order[j] = order[j], order[i]
