"""A stand-in for the original SMAClite, which is on no index. Importing it registers its ids."""

import gymnasium

from smaclite_jit.environment import SMACliteEnv


class Original(SMACliteEnv):
    """Takes no render_mode, not even None."""

    def __init__(self, map_name):
        super().__init__(map_name=map_name)


gymnasium.register("smaclite/MMM-v0", entry_point=Original, kwargs={"map_name": "MMM"})
