"""Fixtures that several files of tests share."""

import pytest

from cleanmarl import foreign_envs
from cleanmarl.env_wrappers import make_env
from tests.envs import clock, foreign


@pytest.fixture(autouse=True)
def first_warning():
    """A warning comes once a process: let every test be the first."""
    foreign_envs.warn.cache_clear()


@pytest.fixture
def make(monkeypatch):
    """Make a team of the environment of that name in tests/envs/foreign.py, or of a function."""

    def make_foreign(parallel_env, **kwargs):
        if isinstance(parallel_env, str):
            parallel_env = getattr(foreign, parallel_env)
        monkeypatch.setattr(clock, "parallel_env", parallel_env)
        return make_env("pz", "clock", "tests.envs", **{"seed": 3, **kwargs})

    return make_foreign
