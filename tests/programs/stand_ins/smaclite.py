"""A stand-in for the original SMAClite, which is on no index. Importing it registers its ids."""

import gymnasium

gymnasium.register(
    "smaclite/MMM-v0",
    entry_point="smaclite_jit.environment:SMACliteEnv",
    kwargs={"map_name": "MMM"},
)
