"""A script whose returns are not numbers."""

from cleanmarl.qmix import QNetwork  # noqa: F401


def evaluate(env, q_network, num_episodes):
    return {"eval/ep_reward": float("nan"), "eval/ep_length": 1}
