"""The ids of the maps in gymnasium's registry, and what makes environments of map files.

This layer stands on ``vector``, ``environment``, ``map_files`` and ``maps``.
"""

import os
from typing import Any

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

from smaclite_jit.environment import SMACliteEnv
from smaclite_jit.map_files import MapError, hint, load_map
from smaclite_jit.maps import MAPS
from smaclite_jit.vector import SMACliteVectorEnv


def register_all() -> None:
    """Register ``smaclite_jit/<map>-v0`` for every map, and ``smaclite_jit/custom-v0``."""
    for name, smac_map in MAPS.items():
        gym.register(
            f"smaclite_jit/{name}-v0",
            entry_point="smaclite_jit.environment:SMACliteEnv",
            vector_entry_point="smaclite_jit.vector:SMACliteVectorEnv",
            kwargs={"map_name": name},
            max_episode_steps=smac_map.episode_limit,
            order_enforce=False,
            disable_env_checker=True,
        )
    # No max_episode_steps here: the limit is the file's, and make_custom truncates at it.
    gym.register(
        "smaclite_jit/custom-v0",
        entry_point="smaclite_jit.registration:make_custom",
        vector_entry_point="smaclite_jit.registration:make_custom_vector",
        order_enforce=False,
        disable_env_checker=True,
    )


def find_map(map_name: str, package: str = "smaclite_jit") -> dict[str, Any]:
    """Find a map by its name, or by its file: the arguments of ``gym.make`` and ``gym.make_vec``.

    Parameters
    ----------
    map_name
        A key of ``maps.MAPS``, or the path of a file that ends in ``.json``.
    package
        The package of the environments: ``smaclite_jit``, or the original ``smaclite``, which must
        have been imported.

    Returns
    -------
    dict
        ``id``, ``max_episode_steps`` and, of a file, ``map_file``.

    Raises
    ------
    MapError
        For a map that is not known, or a file that holds none.
    """
    if map_name.endswith(".json"):
        return {
            "id": f"{package}/custom-v0",
            "max_episode_steps": load_map(map_name).episode_limit,
            "map_file": map_name,
        }
    registered = [name for name in MAPS if f"{package}/{name}-v0" in gym.registry]
    if map_name not in registered:
        raise MapError(f"there is no map {map_name!r}; {hint(map_name, registered)}")
    return {
        "id": f"{package}/{map_name}-v0",
        "max_episode_steps": MAPS[map_name].episode_limit,
    }


def make_custom(map_file: str | os.PathLike[str], **options: Any) -> TimeLimit:
    """Make the environment ``smaclite_jit/custom-v0``, which truncates at the file's episode limit.

    ``gym.make`` calls this. Its ``max_episode_steps`` can make the limit shorter. The other options
    are those of ``environment.SMACliteEnv``: ``render_mode`` and ``seed``.

    Raises
    ------
    MapError
        For a file that holds no map.
    """
    env = SMACliteEnv(map_file=map_file, **options)
    return TimeLimit(env, env.episode_limit)


make_custom.metadata = SMACliteEnv.metadata  # gym.make looks here for the render modes


def make_custom_vector(
    num_envs: int, map_file: str | os.PathLike[str], **options: Any
) -> SMACliteVectorEnv:
    """Make the vector environment ``smaclite_jit/custom-v0``, for ``gym.make_vec``.

    The options are those of ``vector.SMACliteVectorEnv``, such as ``max_episode_steps``.

    Raises
    ------
    MapError
        For a file that holds no map.
    """
    return SMACliteVectorEnv(num_envs, map_file=map_file, **options)
