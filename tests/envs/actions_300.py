"""A clock with 300 actions, more than fit in a byte."""

from functools import partial

from tests.envs.clock import Clock

parallel_env = partial(Clock, action_dims=(300, 300, 300))
