"""SMAClite's maps by name, or from a JSON file of the user's."""

import importlib

from cleanmarl.usage import UsageError


def get_map(env_name, package="smaclite_jit"):
    """The arguments of ``gym.make`` and ``gym.make_vec`` for a map.

    Parameters
    ----------
    env_name : str
        The map's name, 3m for example, or the path of its JSON file.
    package : {"smaclite_jit", "smaclite"}
        The simulator. Only ours has 3m and other maps of SMAC's that the original SMAClite lacks.

    Returns
    -------
    dict
        ``id``, ``max_episode_steps`` and, of a file, ``map_file``.

    Raises
    ------
    UsageError
        For an unknown map, with the nearest names, or a file that holds none.
    ModuleNotFoundError
        If `package` is not installed.
    """
    registration, _ = (
        importlib.import_module("smaclite_jit.registration"),
        importlib.import_module(package),
    )
    try:
        return registration.find_map(env_name, package)
    except registration.MapError as error:
        raise UsageError(f"--env-name: {error}") from error
