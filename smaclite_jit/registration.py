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
    """Find a map by its name, or by its file, for ``gym.make`` and ``gym.make_vec``.

    Parameters
    ----------
    map_name : str
        A key of ``maps.MAPS``, or the path of a file that ends in ``.json``.
    package : str
        The package of the environments: ``smaclite_jit``, or the original ``smaclite``, which must
        have been imported.

    Returns
    -------
    dict
        Keyword arguments: ``id``, ``max_episode_steps`` and, of a file, ``map_file``.

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
    ids = {name: f"{package}/{name}-v0" for name in MAPS}
    registered = {name: env_id for name, env_id in ids.items() if env_id in gym.registry}
    if map_name not in registered:
        raise MapError(f"there is no map {map_name!r}; {hint(map_name, registered)}")
    return {
        "id": registered[map_name],
        "max_episode_steps": MAPS[map_name].episode_limit,
    }


def make_custom(map_file: str | os.PathLike[str] | None = None, **options: Any) -> TimeLimit:
    """Make the environment ``smaclite_jit/custom-v0``, which truncates at the file's episode limit.

    ``gym.make`` calls this. Its ``max_episode_steps`` can make the limit shorter.

    Parameters
    ----------
    map_file : str or path
        The JSON file.
    **options
        Those of ``environment.SMACliteEnv``: ``render_mode`` and ``seed``.

    Returns
    -------
    gymnasium.wrappers.TimeLimit

    Raises
    ------
    MapError
        Without a file, or for one that holds no map.
    """
    env = SMACliteEnv(map_file=require_map_file(map_file), **options)
    return TimeLimit(env, env.episode_limit)


make_custom.metadata = SMACliteEnv.metadata  # gym.make looks here for the render modes


def make_custom_vector(
    num_envs: int = 1, map_file: str | os.PathLike[str] | None = None, **options: Any
) -> SMACliteVectorEnv:
    """Make the vector environment ``smaclite_jit/custom-v0``, for ``gym.make_vec``.

    Parameters
    ----------
    num_envs : int
        The number of battles.
    map_file : str or path
        The JSON file.
    **options
        Those of ``vector.SMACliteVectorEnv``, such as ``max_episode_steps``.

    Returns
    -------
    vector.SMACliteVectorEnv

    Raises
    ------
    MapError
        Without a file, or for one that holds no map.
    """
    return SMACliteVectorEnv(num_envs, map_file=require_map_file(map_file), **options)


def require_map_file(map_file):
    """Return `map_file`, which must not be None."""
    if map_file is None:
        example = 'gym.make("smaclite_jit/custom-v0", map_file="my.json")'
        raise MapError(f"smaclite_jit/custom-v0 needs a map_file: {example}")
    return map_file
