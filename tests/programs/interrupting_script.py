"""A script of somebody's own. In episode STOP_AT Ctrl-C is pressed; 0 stands for never."""

import os

from cleanmarl.qmix import QNetwork  # noqa: F401
from cleanmarl.qmix import evaluate as evaluate_by_ours

stop_at = int(os.environ.get("STOP_AT", 4))
num_episodes_played = 0


def evaluate(env, q_network, num_episodes):
    global num_episodes_played
    print("\nthis goes to stderr", flush=True)
    num_episodes_played += 1
    if num_episodes_played == stop_at:
        raise KeyboardInterrupt
    return evaluate_by_ours(env, q_network, num_episodes)
