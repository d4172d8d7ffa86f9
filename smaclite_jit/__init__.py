"""SMAClite, the StarCraft Multi-Agent Challenge without StarCraft, compiled with numba.

Importing the package registers `smaclite_jit/<map>-v0` for every map of `smaclite_jit.maps.MAPS`, with SMAC's
episode limit, and `smaclite_jit/custom-v0` for maps of your own: see `smaclite_jit.map_files`.
"""

import gymnasium as gym

from smaclite_jit.maps import MAPS

for _name, _map in MAPS.items():
    gym.register(
        f"smaclite_jit/{_name}-v0",
        entry_point="smaclite_jit.environment:SMACliteEnv",
        vector_entry_point="smaclite_jit.vector:SMACliteVectorEnv",
        kwargs={"map_name": _name},
        max_episode_steps=_map.episode_limit,
        order_enforce=False,
        disable_env_checker=True,
    )
gym.register(
    "smaclite_jit/custom-v0",
    entry_point="smaclite_jit.registration:make_custom",  # which truncates at the file's episode limit
    vector_entry_point="smaclite_jit.registration:make_custom_vector",
    order_enforce=False,
    disable_env_checker=True,
)
