"""An environment whose server is gone: its error must not look like a dead worker."""

from tests.envs.clock import Clock


class Connecting(Clock):
    def step(self, actions):
        raise ConnectionResetError("the game server has closed the connection")


parallel_env = Connecting
