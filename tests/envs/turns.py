"""An AEC environment only: no `parallel_env`."""

from pettingzoo.classic.rps import rps

env = rps.env
