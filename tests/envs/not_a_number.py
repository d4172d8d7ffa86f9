"""An environment whose observations are not numbers from the first step on, as the check finds."""

from tests.envs.foreign import NotANumber

parallel_env = NotANumber
