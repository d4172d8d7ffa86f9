"""A `parallel_env` that returns an AEC environment."""

from pettingzoo.classic import rps_v2

parallel_env = rps_v2.env
