"""Several environments that step together, for qmix_multienvs.py.

SMAClite's battles are played in one compiled call, other environments in a process each.
"""

import atexit
import contextlib
import functools
import multiprocessing
import os
import random
import signal
import threading
import time

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.utils import batch_space

from cleanmarl import UsageError, foreign_envs
from cleanmarl.env_wrappers import find_map, make_env


def make_vector_env(
    env_type: str,
    env_name: str,
    env_family: str,
    agent_ids: bool,
    seed: int,
    num_envs: int,
    max_episode_steps: int = 10000,
) -> gym.vector.VectorEnv:
    """Make `num_envs` environments that step together. The arguments are those of ``make_env``.

    Environment i has ``seed + i``. Observations are those of ``TeamEnv`` with an axis in front,
    (num_envs, ...), and actions are (num_envs, n_agents). An environment that ends its episode
    starts the next one in the same step: ``infos["final_obs"][i]`` is then its last observation,
    and ``infos["final_info"]`` has an array (num_envs,) for each key of its last info.

    Raises what ``make_env`` does. It, ``reset`` and ``step`` raise a WorkerDied if a process is
    gone. The latter two raise an environment's own error as a RuntimeError, below the traceback of
    its process.
    """
    if env_type == "smaclite":
        arguments = find_map(env_name)
        limit = min(arguments["max_episode_steps"], max_episode_steps)
        arguments["max_episode_steps"] = limit
        return Battles(gym.make_vec(**arguments, num_envs=num_envs), agent_ids, seed)
    try:
        multiprocessing.Array("b", 1)
    except OSError as error:
        hint = "make /dev/shm larger, or writable, or use qmix.py"
        raise UsageError(
            f"--num-envs: no memory to share with processes ({error}): {hint}"
        ) from error
    args = (env_type, env_name, env_family, agent_ids)
    make_one = functools.partial(make_worker, args, max_episode_steps, seed)
    return Workers([functools.partial(make_one, i) for i in range(num_envs)])


class Battles(gym.vector.VectorWrapper):
    """The compiled battles of ``smaclite_jit``, with the ids of the agents."""

    def __init__(self, envs, agent_ids, seed):
        super().__init__(envs)
        self.next_seed = seed  # of the next reset, if that is given none
        spaces = envs.single_observation_space.spaces
        n_agents, self.obs_dim = spaces["obs"].shape
        ids = np.eye(n_agents, n_agents if agent_ids else 0, dtype=np.float32)
        # An observation is a copy of this in which the features are filled in.
        self.blank_obs = np.hstack([np.zeros((n_agents, self.obs_dim), np.float32), ids])
        self.blank_batch = np.stack([self.blank_obs] * envs.num_envs)  # (num_envs, n_agents, ...)
        obs_space = gym.spaces.Box(-np.inf, np.inf, self.blank_obs.shape)
        self.single_observation_space = gym.spaces.Dict({**spaces, "obs": obs_space})
        self.observation_space = batch_space(self.single_observation_space, envs.num_envs)

    def add_ids(self, blank_obs, observation):
        """Put the features of an observation, of one battle or of all, in front of the ids."""
        obs = blank_obs.copy()
        obs[..., : self.obs_dim] = observation["obs"]
        return {**observation, "obs": obs}

    def reset(self, *, seed=None, options=None):
        if seed is None:
            seed = self.next_seed
        self.next_seed = None
        observations, infos = self.env.reset(seed=seed, options=options)
        return self.add_ids(self.blank_batch, observations), infos

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        for i in np.flatnonzero(infos.get("_final_obs", ())):
            infos["final_obs"][i] = self.add_ids(self.blank_obs, infos["final_obs"][i])
        observations = self.add_ids(self.blank_batch, observations)
        return observations, rewards, terminations, truncations, infos


class WorkerDied(RuntimeError):  # noqa: N818 (it names what has happened)
    """Raised if a worker process is gone, killed by the system for example."""


@contextlib.contextmanager
def dead_workers():
    """A pipe that breaks is a worker that died. An environment's own error is another one."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        reason = "a worker process died (out of memory, or killed?)"
        raise WorkerDied(f"{reason}: try a smaller --num-envs") from error


class Workers(AsyncVectorEnv):
    """Environments in a process each, none of which outlives this one."""

    def __init__(self, env_fns):
        # Before multiprocessing's own function, which would wait for deaf workers for ever.
        atexit.register(self.close)
        # daemon=False: environments may have processes of their own.
        super().__init__(env_fns, daemon=False, autoreset_mode=AutoresetMode.SAME_STEP)

    # All that awaits answers of the workers.
    _check_spaces = dead_workers()(AsyncVectorEnv._check_spaces)
    reset = dead_workers()(AsyncVectorEnv.reset)

    @dead_workers()
    def step(self, actions):
        result = super().step(actions)
        final_info = result[-1].get("final_info", {})
        if np.any(final_info.get("step_limit", False)):
            foreign_envs.warn(foreign_envs.STEP_LIMIT)
        return result

    def close_extras(self, **kwargs):
        """Ask the workers to close their environments, and kill those that take longer."""
        pipes = getattr(self, "parent_pipes", [])  # none if making the first environment has failed
        workers = getattr(self, "processes", [])
        with contextlib.suppress(BaseException):  # a second Ctrl-C too: they are killed the sooner
            for pipe in pipes:
                with contextlib.suppress(Exception):  # a worker that is gone, its pipe with it
                    pipe.send(("close", None))
            deadline = time.monotonic() + 2  # seconds
            for worker in workers:
                worker.join(max(0, deadline - time.monotonic()))
        for worker in workers:
            with contextlib.suppress(BaseException):
                if worker.exitcode != 0:  # its environment is not closed
                    kill(worker)
                worker.join()


def kill(worker):
    """Kill a worker process, and the processes that its environment has started."""
    worker.kill()
    with contextlib.suppress(AttributeError, ProcessLookupError):  # Windows has no groups
        os.killpg(worker.pid, signal.SIGKILL)


@functools.cache  # once for each parent
def end_with(parent):
    """Kill this process, and its group if it leads one, soon after its parent is gone."""

    def wait():
        while os.getppid() == parent:
            time.sleep(1)
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def plain_errors():
    """Raise a RuntimeError in the place of any other error.

    Some errors cannot be pickled, and the main process would wait for them for ever. Others look
    like a broken pipe.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


class Worker(gym.Wrapper):
    """An environment in a process of its own."""

    reset = plain_errors()(gym.Wrapper.reset)
    step = plain_errors()(gym.Wrapper.step)


def make_worker(args, max_episode_steps, seed, i):
    """Make environment i. gymnasium also makes the first one in the main process, to look at it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        if os.name == "posix":
            os.setpgid(0, 0)  # a group of its own, with the processes of its environment
            end_with(os.getppid())  # which is not the main process where a server forks
            # The environment's processes hold the worker's pipes: while they live, nobody sees
            # that the worker was killed.
            os.register_at_fork(after_in_child=lambda: end_with(os.getppid()))
        torch.set_num_threads(1)  # the other cores are for the other environments
        # No two processes draw the same.
        worker_seed = int(np.random.SeedSequence([seed, i + 1]).generate_state(1)[0])
        random.seed(worker_seed)
        np.random.seed(worker_seed)
        torch.manual_seed(worker_seed)
    env = make_env(*args, seed + i, max_episode_steps=max_episode_steps)
    if parent is not None:
        # Only the main process decides when to stop, and ends its workers.
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            if hasattr(signal, name):  # Windows has no SIGHUP
                signal.signal(getattr(signal, name), signal.SIG_IGN)
    return Worker(env)
