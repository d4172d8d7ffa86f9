"""Attack where it is possible, and print everything: run with and without NUMBA_DISABLE_JIT."""

import numpy as np

from smaclite_jit.environment import SMACliteEnv
from smaclite_jit.vector import SMACliteVectorEnv


def last_available(avail_actions):
    return avail_actions.shape[-1] - 1 - avail_actions[..., ::-1].argmax(axis=-1)


for name in ("MMM", "1c3s5z", "bane_vs_bane"):
    env = SMACliteEnv(name)
    env.reset(seed=1)
    env.units["x"][env.arena.enemies] -= 8  # into the fight
    env.observe()
    for _ in range(4):
        _, reward, *_ = env.step(last_available(env.avail_actions))
        print(name, "reward", reward, env.units.tolist(), env.obs.sum(), env.state.sum())

envs = SMACliteVectorEnv(2, "3m", max_episode_steps=2)
envs.reset(seed=1)
for _ in range(2):
    observations, rewards, *_ = envs.step(last_available(envs.avail_actions))
    print("reward", rewards, envs.units.tolist(), np.sum(observations["obs"]))
