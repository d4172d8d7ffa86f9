"""Three agents with 30 observations and 5 actions each, for 25 steps."""

from functools import partial

from tests.envs.clock import Clock

parallel_env = partial(Clock, obs_dims=(30, 30, 30), action_dims=(5, 5, 5), limit=25, leaves=())
