"""The random turns of a tick, drawn inside the compiled code from the stream of numpy's PCG64.

`rng_state` (6,) uint64 is a generator. It yields what `numpy.random.Generator.shuffle` does to the
list of the units that are alive.
"""

import numpy as np

from smaclite_jit.compile_cache import compiled

# The numbers of rng_state.
STATE_HIGH = 0
STATE_LOW = 1
INCREMENT_HIGH = 2
INCREMENT_LOW = 3
HAS_HALF = 4  # 1 if half of a draw of 64 bits is left over
HALF = 5  # that half

MULTIPLIER_HIGH = np.uint64(0x2360ED051FC65DA4)
MULTIPLIER_LOW = np.uint64(0x4385DF649FCCF645)
MASK_32 = np.uint64(0xFFFFFFFF)
SHIFT_32 = np.uint64(32)
ZERO = np.uint64(0)
ONE = np.uint64(1)


def from_generator(generator):
    """The `rng_state` of a numpy Generator with a PCG64."""
    state = generator.bit_generator.state
    value = state["state"]["state"]
    increment = state["state"]["inc"]
    low_bits = 2**64 - 1
    rng_state = np.zeros(6, np.uint64)
    rng_state[STATE_HIGH] = value >> 64
    rng_state[STATE_LOW] = value & low_bits
    rng_state[INCREMENT_HIGH] = increment >> 64
    rng_state[INCREMENT_LOW] = increment & low_bits
    rng_state[HAS_HALF] = state["has_uint32"]
    rng_state[HALF] = state["uinteger"]
    return rng_state


@compiled
def multiply(a, b):
    """The 128-bit product of two uint64, high and low, by halves of 32 bits as on paper."""
    a_low = a & MASK_32
    a_high = a >> SHIFT_32
    b_low = b & MASK_32
    b_high = b >> SHIFT_32
    low = a_low * b_low
    middle = a_high * b_low + (low >> SHIFT_32)
    other = a_low * b_high + (middle & MASK_32)
    high = a_high * b_high + (middle >> SHIFT_32) + (other >> SHIFT_32)
    return high, (other << SHIFT_32) | (low & MASK_32)


@compiled
def draw_32(rng_state):
    """The next 32 random bits."""
    if rng_state[HAS_HALF] != ZERO:
        rng_state[HAS_HALF] = ZERO
        return rng_state[HALF]

    # state = state * multiplier + increment, in 128 bits
    high, low = multiply(rng_state[STATE_LOW], MULTIPLIER_LOW)
    high += rng_state[STATE_HIGH] * MULTIPLIER_LOW + rng_state[STATE_LOW] * MULTIPLIER_HIGH
    new_low = low + rng_state[INCREMENT_LOW]
    carry = ONE if new_low < low else ZERO
    rng_state[STATE_HIGH] = high + rng_state[INCREMENT_HIGH] + carry
    rng_state[STATE_LOW] = new_low

    # The draw: both halves, rotated by the six highest bits.
    word = rng_state[STATE_HIGH] ^ rng_state[STATE_LOW]
    rotation = rng_state[STATE_HIGH] >> np.uint64(58)
    word = (word >> rotation) | (word << ((np.uint64(64) - rotation) & np.uint64(63)))
    rng_state[HAS_HALF] = ONE
    rng_state[HALF] = word >> SHIFT_32
    return word & MASK_32


@compiled
def draw_up_to(rng_state, largest):
    """A uniform integer in [0, largest]: as numpy, by masking and rejecting."""
    mask = np.uint64(largest)
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> np.uint64(shift)
    while True:
        value = draw_32(rng_state) & mask
        if value <= np.uint64(largest):
            return np.int64(value)


@compiled
def shuffle_turns(rng_state, units, turns):
    """Fill `turns` (units,) with the ids of living units in random order, and -1 behind them."""
    n_alive = 0
    turns[:] = -1
    for i in range(len(units)):
        if units[i].alive:
            turns[n_alive] = i
            n_alive += 1
    for i in range(n_alive - 1, 0, -1):
        j = draw_up_to(rng_state, i)
        turns[i], turns[j] = turns[j], turns[i]
