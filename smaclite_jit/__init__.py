"""SMAClite, the StarCraft Multi-Agent Challenge without StarCraft, compiled with numba.

Importing the package registers ``smaclite_jit/<map>-v0`` for every map of ``MAPS``, with SMAC's
episode limit, and ``smaclite_jit/custom-v0`` for maps of your own: see ``smaclite_jit.map_files``.
"""

from smaclite_jit import registration
from smaclite_jit.environment import SMACliteEnv
from smaclite_jit.map_files import MapError, load_map
from smaclite_jit.maps import MAPS, Map
from smaclite_jit.units import UNITS, UnitType
from smaclite_jit.vector import SMACliteVectorEnv

__all__ = [
    "MAPS",
    "UNITS",
    "Map",
    "MapError",
    "SMACliteEnv",
    "SMACliteVectorEnv",
    "UnitType",
    "load_map",
]

registration.register_all()
