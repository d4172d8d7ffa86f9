"""An environment that imports what its own package does not have."""

from tests.envs import Clocks  # noqa: F401
