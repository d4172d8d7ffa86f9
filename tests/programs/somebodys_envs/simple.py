"""An environment that cannot be drawn: its function takes no render_mode."""

from tests.envs.clock import Clock


def parallel_env():
    return Clock()
