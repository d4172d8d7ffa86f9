"""The scripts train on environments that others have written, where their packages are.

pip install rware "pettingzoo[butterfly,sisl,classic]" supersuit magent2
"""

import math
from dataclasses import dataclass

import pytest

from tests.helpers import REPO, run, scalars

CONNECT_FOUR = """
from pettingzoo.classic import connect_four_v3
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

def parallel_env(**kwargs):
    return turn_based_aec_to_parallel(connect_four_v3.env(**kwargs))
"""
BLACK_DEATH = """
import supersuit
from pettingzoo.butterfly import knights_archers_zombies_v11

def parallel_env(**kwargs):
    return supersuit.black_death_v3(knights_archers_zombies_v11.parallel_env(**kwargs))
"""
BATTLE = """
from functools import partial
from magent2.environments import battle_v4

parallel_env = partial(battle_v4.parallel_env, map_size=12)
"""
ADAPTERS = {  # modules of a package `adapters`
    "connect_four": CONNECT_FOUR,
    "black_death": BLACK_DEATH,
    "battle": BATTLE,
    "rware_env": (REPO / "docs" / "examples" / "rware_env.py").read_text(),
}


@dataclass
class Environment:
    """An environment, and the packages that it needs."""

    env_name: str
    env_family: str
    packages: tuple[str, ...]


ENVIRONMENTS = {
    "kaz": Environment("knights_archers_zombies_v11", "butterfly", ("pygame",)),
    "pursuit": Environment("pursuit_v5", "sisl", ("pygame", "scipy")),
    "battle": Environment("battle", "adapters", ("magent2",)),
    "black_death": Environment("black_death", "adapters", ("supersuit", "pygame")),
    "connect_four": Environment("connect_four", "adapters", ("pygame",)),
    "rware": Environment("rware_env", "adapters", ("rware",)),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])  # here, and in processes
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_foreign_environment_is_trained_on(name, script, tmp_path):
    environment = ENVIRONMENTS[name]
    for package in environment.packages:
        pytest.importorskip(package)
    (tmp_path / "adapters").mkdir()
    for module, source in ADAPTERS.items():
        (tmp_path / "adapters" / f"{module}.py").write_text(source)
    words = ["--env-type", "pz", "--env-name", environment.env_name]
    words += ["--env-family", environment.env_family, "--total-timesteps", 300]
    words += ["--batch-size", 2, "--buffer-size", 20, "--log-every", 1, "--num-eval-ep", 1]
    words += ["--max-episode-steps", 50]
    if script == "qmix_multienvs":
        words += ["--num-envs", 2]
    run(script, *words, cwd=tmp_path)
    logged = scalars(tmp_path)
    assert {"eval/ep_reward", "rollout/ep_reward", "train/loss"} <= set(logged)
    for tag, events in logged.items():
        assert all(math.isfinite(value) for _, value in events), tag
