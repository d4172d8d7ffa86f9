"""The ids of the maps in gymnasium's registry, and what makes environments of map files."""

import gymnasium as gym
from gymnasium.wrappers import TimeLimit

from smaclite_jit.environment import SMACliteEnv
from smaclite_jit.map_files import MapError, fail, hint, load_map  # noqa: F401
from smaclite_jit.maps import MAPS
from smaclite_jit.vector import SMACliteVectorEnv


def find_map(map_name, package="smaclite_jit"):
    """Find a map by its name, or by its file, for ``gym.make`` and ``gym.make_vec``.

    Parameters
    ----------
    map_name : str
        A key of ``maps.MAPS``, or the path of a file that ends in ``.json``.
    package : str
        Whose environments: ``smaclite_jit``, or the original ``smaclite``, which must have been imported.

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
        limit = load_map(map_name).episode_limit
        return {"id": f"{package}/custom-v0", "max_episode_steps": limit, "map_file": map_name}
    ids = {name: f"{package}/{name}-v0" for name in MAPS if f"{package}/{name}-v0" in gym.registry}
    if map_name not in ids:
        fail(f"there is no map {map_name!r}; {hint(map_name, ids)}")
    return {"id": ids[map_name], "max_episode_steps": MAPS[map_name].episode_limit}


def make_custom(map_file=None, **options):
    """Make the environment ``smaclite_jit/custom-v0``, which truncates at the file's episode limit.

    ``gym.make`` calls this; its ``max_episode_steps`` can make the limit shorter.

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


def make_custom_vector(num_envs=1, map_file=None, **options):
    """Make the vector environment ``smaclite_jit/custom-v0``, for ``gym.make_vec``.

    Parameters
    ----------
    num_envs : int
        Battles.
    map_file : str or path
        The JSON file.
    **options
        Those of ``vector.SMACliteVectorEnv``: ``max_episode_steps``, ``arrays`` and ``agent_ids``.

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
    if map_file is None:
        fail(
            'smaclite_jit/custom-v0 needs a map_file: gym.make("smaclite_jit/custom-v0", map_file="my.json")'
        )
    return map_file


make_custom.metadata = SMACliteEnv.metadata  # gym.make looks there for the render modes
