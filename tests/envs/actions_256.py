"""A clock with 256 actions, as many as fit in a byte."""

from functools import partial

from tests.envs.clock import Clock

parallel_env = partial(Clock, action_dims=(256, 256, 256))
