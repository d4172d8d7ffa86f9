"""One interface for SMAClite, PettingZoo and Level-Based Foraging.

`make_env` makes one environment, a `TeamEnv`, and `check_env` looks at it before it is trained.
`make_vector_env` makes several that step together, and `end_workers` ends the processes of those
that need some.
"""

import atexit
import contextlib
import copy
import dataclasses
import functools
import importlib
import inspect
import math
import multiprocessing
import pickle
import pkgutil
import random
import re
import signal
import sys
import time
import traceback
from functools import partial

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.utils import batch_space
from tqdm import tqdm

from cleanmarl import UsageError, check_name


def blank_observations(n_agents, obs_dim, agent_ids):
    """Zeros for `obs_dim` features of each agent and, with `agent_ids`, its one-hot id behind them.

    Returns (n_agents, obs_dim) or (n_agents, obs_dim + n_agents) float32. An observation is a copy
    in which the features are filled in: all ids come from here.
    """
    features = np.zeros((n_agents, obs_dim), np.float32)
    if not agent_ids:
        return features
    return np.hstack([features, np.eye(n_agents, dtype=np.float32)])


def warn(message):
    """Write a line on stderr, above a progress bar if there is one."""
    tqdm.write(f"warning: {message}", file=sys.stderr)


@functools.cache  # once a process
def warn_of_limit(max_episode_steps):
    """Say that an episode has been cut off."""
    warn(
        f"an episode that had not ended after {max_episode_steps:,} steps is truncated there, "
        "and so will be others (--max-episode-steps)"
    )


class NoExit:
    """In its block a ``sys.exit()`` of an environment is an error.

    Otherwise a run that has not finished would end with exit code 0, and without a word.
    """

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is SystemExit and not error.code:
            raise RuntimeError("the environment has called sys.exit()") from error


NO_EXIT = NoExit()


# The environments: one interface, and a class for each family


class TeamEnv(gym.Env):
    """A ``gymnasium.Env`` for a team with a common reward.

    An observation is a dictionary: ``obs`` (n_agents, obs_dim) float32, ``state`` (state_dim,)
    float32, ``avail_actions`` (n_agents, n_actions) bool. The action space is MultiDiscrete.
    Agents with shorter observations or fewer actions are padded.

    Attributes
    ----------
    max_episode_steps : float
        No episode is longer; inf if that is not known.
    """

    max_episode_steps = math.inf  # the environment's own limit, then also that of ``make_env``
    step_limit = math.inf  # of ``make_env``: an episode that goes on after it is truncated
    seeds_every_reset = False  # or only the first one, and the environment goes on from there

    def __init__(self, env, obs_dims, action_dims, state_dim, agent_ids, seed):
        n_agents = len(obs_dims)
        n_actions = max(action_dims)
        self.env = env
        self.metadata = {"render_modes": [], "render_fps": 5} | getattr(env, "metadata", {})
        self.first_seed = seed  # of the first reset if that is given none
        self.obs_dims = obs_dims  # features of each agent
        self.action_dims = action_dims  # actions of each agent
        self.obs_dim = max(obs_dims)  # shorter observations are padded with zeros
        self.blank_obs = blank_observations(n_agents, self.obs_dim, agent_ids)
        self.no_actions = np.zeros((n_agents, n_actions), np.bool_)
        self.observation_space = gym.spaces.Dict(
            {
                "obs": gym.spaces.Box(-np.inf, np.inf, self.blank_obs.shape),
                "state": gym.spaces.Box(-np.inf, np.inf, (state_dim,)),
                "avail_actions": gym.spaces.Box(0, 1, self.no_actions.shape, np.bool_),
            }
        )
        self.action_space = gym.spaces.MultiDiscrete([n_actions] * n_agents)
        self.steps = 0  # in this episode
        self.is_closed = False

    def reset(self, *, seed=None, options=None):
        """Start an episode and return (observation, {}).

        The first reset without a `seed` takes the one of ``make_env``.
        """
        if seed is None:
            seed = self.first_seed
        self.first_seed = None
        super().reset(seed=seed)  # seeds np_random, if there is a seed
        if seed is None and self.seeds_every_reset:
            seed = int(self.np_random.integers(2**31))
        self.steps = 0
        with NO_EXIT:
            observations, info = self.env.reset(seed=seed, options=options)
            return self.observe(observations, info), {}

    def step(self, actions):
        """Take `actions`, (n_agents,) ints.

        An action that is not available is an error or does nothing, see the family.

        Returns
        -------
        observation : dict
        reward : float
            The sum over the agents.
        terminated, truncated : bool
            Whether the task has ended, and whether a time limit has cut it off.
        info : dict
            On SMAClite ``battle_won``, a bool. ``step_limit``, True, only if the limit of
            ``make_env`` has cut the episode off.
        """
        with NO_EXIT:
            observation, reward, terminated, truncated, info = self.play(actions)
        self.steps += 1
        if self.steps >= self.step_limit and not (terminated or truncated):
            truncated = True
            info = {**info, "step_limit": True}
            if multiprocessing.parent_process() is None:  # workers tell the main process
                warn_of_limit(self.step_limit)
        return observation, reward, terminated, truncated, info

    def play(self, actions):
        """What ``step`` returns, without the limit of ``make_env``."""
        actions = np.asarray(actions).tolist()
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        observation = self.observe(observations, info)
        return observation, float(np.sum(rewards)), bool(terminated), bool(truncated), info

    def render(self):
        """Return a picture of the state, (height, width, 3) uint8.

        Only with the `render_mode` "rgb_array" of ``make_env``; None without one.
        """
        if self.render_mode is None:
            return None
        return self.env.render()

    def close(self):
        """Close the environment. An error is shown and raised no further.

        It would take the place of the error for which a run ends, or of its exit code.
        """
        if self.is_closed:
            return
        self.is_closed = True
        try:
            self.env.close()
        except (Exception, SystemExit) as error:
            warn(f"the environment has failed to close: {error!r}")
            if multiprocessing.parent_process() is None:  # once is enough
                traceback.print_exc(chain=False)


class SMACliteEnv(TeamEnv):
    """A map of ``smaclite_jit``, or of the original ``smaclite``, with SMAC's episode limit."""

    def __init__(self, env_name, package, agent_ids, seed, render_mode):
        arguments = get_map(env_name, package)
        if render_mode is not None:  # the original may take none
            arguments["render_mode"] = render_mode
        env = gym.make(**arguments, disable_env_checker=True)
        self.max_episode_steps = arguments["max_episode_steps"]
        self.battle = env.unwrapped
        obs_dims = [self.battle.obs_size] * self.battle.n_agents
        action_dims = [self.battle.n_actions] * self.battle.n_agents
        super().__init__(env, obs_dims, action_dims, self.battle.state_size, agent_ids, seed)

    def observe(self, observations, info):
        obs = self.blank_obs.copy()
        obs[:, : self.obs_dim] = observations
        state = np.asarray(self.battle.get_state(), np.float32)
        avail_actions = np.array(self.battle.get_avail_actions(), np.bool_)
        return {"obs": obs, "state": state, "avail_actions": avail_actions}


class LBFEnv(TeamEnv):
    """Level-Based Foraging, with the valid actions as those that are available.

    The common reward is the sum over agents, the state is all observations in a row. lbforaging
    reports its time limit as termination; here the limit truncates, and only the last food
    terminates. Its renderer needs OpenGL, so the pictures are our own.
    """

    def __init__(self, env_name, agent_ids, seed, render_mode):
        spec = get_lbf_spec(env_name)
        self.max_episode_steps = spec.kwargs["max_episode_steps"]
        spec.max_episode_steps = self.max_episode_steps  # gymnasium's TimeLimit truncates
        spec.kwargs["max_episode_steps"] = np.inf  # lbforaging itself would terminate
        env = gym.make(spec, disable_env_checker=True)
        env.metadata = env.metadata | {"render_modes": ["human", "rgb_array"]}
        if render_mode is not None:
            lbf = importlib.import_module("cleanmarl.rendering.lbf")  # needs pygame
            env = lbf.Drawing(env, render_mode)
        obs_dims = [gym.spaces.flatdim(space) for space in env.observation_space]
        action_dims = [int(space.n) for space in env.action_space]
        super().__init__(env, obs_dims, action_dims, sum(obs_dims), agent_ids, seed)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            # lbforaging places players around where they last stood: only the seed shall count.
            for player in self.env.unwrapped.players:
                player.position = None
        return super().reset(seed=seed, options=options)

    def observe(self, observations, info):
        obs = self.blank_obs.copy()
        obs[:, : self.obs_dim] = [observation.ravel() for observation in observations]
        state = obs[:, : self.obs_dim].ravel()
        avail_actions = self.no_actions.copy()
        valid_actions = self.env.unwrapped._valid_actions.values()  # in the order of the players
        for i, actions in enumerate(valid_actions):
            avail_actions[i, [action.value for action in actions]] = True
        return {"obs": obs, "state": state, "avail_actions": avail_actions}


class PettingZooEnv(TeamEnv):
    """A parallel environment of PettingZoo, of MPE or of your own.

    The common reward is the sum over agents, the state is the environment's ``state()`` or, if it
    has none, all observations in a row. An agent that is out of the game sees zeros and has only
    action 0, and so has one whose action mask allows nothing. An episode ends when the last agents
    leave; it is truncated if at least one of these is only cut off. Every reset is given a seed.
    """

    seeds_every_reset = True

    def __init__(self, env_name, env_family, agent_ids, seed, render_mode):
        env = make_parallel_env(env_name, env_family, render_mode)
        self.name = env_name
        self.check_is_parallel(env)
        if seed is None:
            seed = np.random.SeedSequence().entropy % 2**31  # drawn by the system
        env.reset(seed=seed)  # first: some environments have no agents or spaces before it
        self.agents = list(getattr(env, "possible_agents", ()))
        if not self.agents:
            raise self.problem("has no possible_agents, the list of all agents that can play")
        self.spaces = []  # the observation space of each agent, without its action mask
        self.mask_neighbours = []  # the only key beside each agent's mask, None if there are more
        self.first_actions = []  # what an agent's environment calls its action 0
        action_dims = []
        obs_dims = []
        for agent in self.agents:
            action_space = env.action_space(agent)
            if not isinstance(action_space, gym.spaces.Discrete):
                raise self.problem(
                    f"has actions {action_space}: QMIX needs Discrete ones. If it has an option "
                    "for them, such as continuous=False, set it in a module of your own: see "
                    "docs/environments.md"
                )
            self.first_actions.append(int(action_space.start))
            action_dims.append(int(action_space.n))
            space, neighbour = without_mask(env.observation_space(agent))
            try:
                obs_dims.append(gym.spaces.flatdim(space))
            except (ValueError, NotImplementedError) as error:
                raise self.problem(
                    f"has observations {space} for {agent!r}, which have no fixed size: the "
                    "networks need a space that gymnasium can flatten, such as Box or Discrete"
                ) from error
            self.spaces.append(space)
            self.mask_neighbours.append(neighbour)
        self.has_state = has_state(env)
        state_dim = sum(obs_dims)
        if self.has_state:
            state_dim = self.check_numbers("state()", env.state()).size
        self.max_episode_steps = find_max_cycles(env)
        super().__init__(env, obs_dims, action_dims, state_dim, agent_ids, seed)
        self.state_dim = state_dim
        self.all_actions = np.arange(max(action_dims)) < np.array(action_dims)[:, None]

    def problem(self, words):
        """A UsageError about this environment."""
        return UsageError(f"--env-name: {self.name} {words}")

    def check_is_parallel(self, env):
        """Raise a UsageError unless `env` has PettingZoo's parallel API."""
        pettingzoo = importlib.import_module("pettingzoo")
        if isinstance(env, pettingzoo.AECEnv):
            raise self.problem(
                "is an AEC environment, in which agents act one by one: return it through "
                "aec_to_parallel or turn_based_aec_to_parallel of pettingzoo.utils.conversions"
            )
        missing = [name for name in ("reset", "step", "action_space") if not hasattr(env, name)]
        if missing or not callable(env.action_space):
            raise self.problem("has a parallel_env that returns no ParallelEnv of PettingZoo's")
        try:
            inspect.signature(env.reset).bind(seed=0, options=None)
        except TypeError as error:
            raise self.problem("must have a reset(seed=None, options=None)") from error
        except ValueError:  # Python cannot tell the signature
            pass

    def check_numbers(self, what, value):
        """Return `value` as an array. Raise a UsageError if it is not finite numbers."""
        try:
            numbers = np.asarray(value)
        except ValueError:  # lists of different lengths
            numbers = np.array(None)
        if numbers.dtype.kind not in "biuf":
            raise self.problem(f"gives a {type(value).__name__} for {what}: expected numbers")
        if numbers.size == 0:
            raise self.problem(f"gives 0 numbers for {what}: expected at least 1")
        with np.errstate(over="ignore"):
            finite = np.isfinite(numbers.astype(np.float32))
        if not finite.all():
            value = numbers[~finite].flat[0]
            raise self.problem(f"gives {value} for {what}: expected finite numbers of float32")
        return numbers

    def split(self, i, observation, info):
        """Split what agent `i` observes into its features and its action mask, None if it has none.

        The mask is in its observation or in its info.
        """
        if isinstance(observation, dict) and "action_mask" in observation:
            mask = observation["action_mask"]
            neighbour = self.mask_neighbours[i]
            if neighbour is not None:
                observation = observation[neighbour]
            return observation, mask
        if info:
            return observation, info.get("action_mask")
        return observation, None

    def flatten(self, i, features):
        """The features of agent `i` as one row."""
        space = self.spaces[i]
        if type(space) is gym.spaces.Box:
            row = np.asarray(features).ravel()  # gym.spaces.flatten would cast to the space's dtype
        else:
            row = gym.spaces.flatten(space, features)
        if row.size != self.obs_dims[i]:  # one number would fill the whole row
            raise self.problem(
                f"gives {row.size} numbers for the observation of {self.agents[i]!r}: "
                f"expected {self.obs_dims[i]}, as its observation_space says"
            )
        return row

    def observe(self, observations, infos, playing=None):
        """The observation of the team. Agents that are not `playing` are out of the game."""
        if playing is None:
            playing = self.env.agents
        obs = self.blank_obs.copy()
        avail_actions = self.all_actions.copy()
        for i, agent in enumerate(self.agents):
            if agent not in playing:
                avail_actions[i] = False
                avail_actions[i, 0] = True
                continue
            if agent not in observations:
                raise self.problem(
                    f"gives no observation to {agent!r}: expected one for each of `agents` and, "
                    "at a time limit, a last one for each who is cut off"
                )
            features, mask = self.split(i, observations[agent], infos.get(agent))
            obs[i, : self.obs_dims[i]] = self.flatten(i, features)
            if mask is not None:
                self.apply_mask(i, mask, avail_actions[i])
        if self.has_state:
            state = np.array(self.env.state(), np.float32).ravel()
            if state.size != self.state_dim:
                raise self.problem(
                    f"gives {state.size} numbers for state(): "
                    f"expected {self.state_dim}, as after the first reset"
                )
        else:
            state = np.concatenate([row[:obs_dim] for row, obs_dim in zip(obs, self.obs_dims)])
        return {"obs": obs, "state": state, "avail_actions": avail_actions}

    def apply_mask(self, i, mask, avail_actions):
        """Set the `avail_actions` of agent `i`, (n_actions,), to its action mask."""
        mask = np.asarray(mask).ravel()
        n_actions = self.action_dims[i]
        if mask.size != n_actions:
            raise self.problem(
                f"gives {mask.size} numbers for the action mask of {self.agents[i]!r}: "
                f"expected {n_actions}, one for each action"
            )
        avail_actions[:n_actions] = mask
        if not avail_actions.any():
            avail_actions[0] = True  # an agent that has to wait

    def play(self, actions):
        acting = list(self.env.agents)
        chosen = {}
        for agent, first, action in zip(self.agents, self.first_actions, actions):
            chosen[agent] = first + int(action)
        joint_action = {agent: chosen[agent] for agent in acting}
        observations, rewards, terminations, truncations, infos = self.env.step(joint_action)
        playing = []
        for agent in self.env.agents:
            if not (terminations.get(agent) or truncations.get(agent)):
                playing.append(agent)
        over = not playing
        if over:
            # Those who are only cut off keep their last observation, to bootstrap from.
            for agent in acting:
                if truncations.get(agent) and not terminations.get(agent):
                    playing.append(agent)
        truncated = over and bool(playing)
        terminated = over and not truncated
        observation = self.observe(observations, infos, playing)
        reward = sum(rewards.values())
        if isinstance(reward, np.ndarray):
            reward = reward.item()  # of one number; more are an error
        return observation, float(reward), terminated, truncated, {}


def without_mask(space):
    """The observation space without its action mask, and the key if it is the only other one."""
    if not isinstance(space, gym.spaces.Dict) or "action_mask" not in space.spaces:
        return space, "observation"
    rest = {key: value for key, value in space.spaces.items() if key != "action_mask"}
    if len(rest) == 1:
        ((key, space),) = rest.items()
        return space, key
    return gym.spaces.Dict(rest), None


def has_state(env):
    """Whether a parallel environment has a ``state()``. A bug inside of it is raised."""
    try:
        env.state()
    except NotImplementedError as error:
        *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
        if innermost.f_code.co_name != "state":
            raise
        return False
    except (AttributeError, TypeError) as error:
        # There is none, or it is no method (in rps_v2 it is a dictionary), if only this function
        # and PettingZoo's wrappers have looked for it.
        _, *frames = traceback.walk_tb(error.__traceback__)
        for frame, _ in frames:
            if not frame.f_globals.get("__name__", "").startswith("pettingzoo.utils."):
                raise
        return False
    return True


def find_max_cycles(env):
    """The greatest number of steps in an episode, if the environment says it as PettingZoo does."""
    inner = getattr(env, "unwrapped", env)
    for holder in (env, inner, getattr(inner, "env", None)):
        max_cycles = getattr(holder, "max_cycles", None)
        if isinstance(max_cycles, int) and max_cycles > 0:
            return max_cycles
    return math.inf


# Finding environments by name


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
    registration = importlib.import_module("smaclite_jit.registration")
    importlib.import_module(package)  # registers its environments
    try:
        return registration.find_map(env_name, package)
    except registration.MapError as error:
        raise UsageError(f"--env-name: {error}") from error


def get_lbf_spec(env_name):
    """The specification of an environment of lbforaging's, a copy.

    lbforaging does not register its thousands of ids with grid observations by itself. Here they
    are known by their names.
    """
    importlib.import_module("lbforaging")  # registers its environments
    grid = re.fullmatch(r"Foraging-grid(?:-(\d+)s)?(-\d+x.+)", env_name)
    task = f"Foraging{grid[2]}" if grid else env_name
    if grid is None or task not in gym.registry:
        ids = [name for name in gym.registry if name.startswith("Foraging-")]
        check_name("--env-name", env_name, ids)
        return copy.deepcopy(gym.spec(env_name))
    spec = copy.deepcopy(gym.spec(task))
    spec.kwargs["grid_observation"] = True
    if grid[1] is not None:
        spec.kwargs["sight"] = int(grid[1])
    spec.entry_point = make_grid_foraging
    return spec


def make_grid_foraging(**kwargs):
    """Level-Based Foraging with grid observations.

    lbforaging 2.0 itself gives their space a shape that gymnasium refuses.
    """
    foraging = importlib.import_module("lbforaging.foraging.environment")

    class GridForagingEnv(foraging.ForagingEnv):
        def _get_observation_space(self):
            width = 2 * self.sight + 1
            return gym.spaces.Box(0, np.inf, (3, width, width), np.float32)

    return GridForagingEnv(**kwargs)


def make_parallel_env(env_name, env_family, render_mode):
    """Make a parallel environment.

    The family ``mpe`` is the package mpe2, PettingZoo's families are in ``pettingzoo``, and any
    other one is a package of your own with a module `env_name` that has a ``parallel_env``.

    Where an environment has the `render_mode` "rgb_array", it gets that also without a film: what
    it observes may depend on it, and shall be the same in training, evaluation and filming.
    """
    parallel_env = find_parallel_env(env_name, env_family)
    wanted = render_mode or "rgb_array"
    cause = None
    try:
        env = parallel_env(render_mode=wanted)
    except Exception as error:  # it takes no render_mode or not this one, or has a bug
        cause = error
        reason = f"render_mode {wanted!r} leads to {type(error).__name__}: {error}"
        if "'render_mode'" in str(error):
            reason = "it takes no render_mode"
    else:
        modes = getattr(env, "metadata", {}).get("render_modes", [wanted])
        if wanted in modes:
            return env
        reason = f"it has no render_mode {wanted!r}"
    env = parallel_env()  # raises what is a bug in any case
    if render_mode is None:
        return env
    is_refused = "'render_mode'" in str(cause) or isinstance(cause, ValueError | AssertionError)
    if cause is not None and not is_refused:
        raise cause  # a bug in its drawing, or a package that is missing
    raise UsageError(f"--env-name: {env_name} cannot be drawn, {reason}") from cause


def find_parallel_env(env_name, env_family):
    """The function that makes an environment of a family."""
    pettingzoo = importlib.import_module("pettingzoo")
    families = {"mpe", *(name.split("/")[0] for name in pettingzoo.aec_registry)}
    package = env_family
    if env_family == "mpe":
        package = "mpe2"
        modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
        check_name("--env-name", env_name, [m.name for m in modules if "_v" in m.name])
    elif env_family in families:
        return partial(make_pettingzoo_env, env_name, env_family)
    elif "" not in sys.path:
        sys.path.insert(0, "")  # find modules in the current folder, as `python -m` does
    module_name = f"{package}.{env_name}"
    try:
        module = importlib.import_module(module_name)
    except (ModuleNotFoundError, TypeError) as error:  # a TypeError: the name starts with a dot
        missing = getattr(error, "name", None) or ""
        if f"{module_name}.".startswith(f"{missing}."):
            hint = f"{', '.join(sorted(families))} or the package of a module"
            raise UsageError(
                f"--env-family, --env-name: there is no module {module_name}; "
                f"give {hint} that can be imported from here"
            ) from error
        own = module_name.split(".")[0]
        if missing in PACKAGES or not missing or missing.split(".")[0] == own:
            raise
        # No advice to install it: a name that is misspelt may be a stranger's package.
        frames = traceback.extract_tb(error.__traceback__)
        importing = [frame for frame in frames if "importlib" not in frame.filename][-1]
        raise UsageError(
            f"--env-type pz: {module_name} needs the module {missing}, which is not to be found "
            f"here ({importing.filename}, line {importing.lineno}): install what has it, or "
            "correct the name"
        ) from error
    if hasattr(module, "parallel_env"):
        return module.parallel_env
    problem = "must have a function parallel_env() that returns a ParallelEnv"
    if hasattr(module, "env"):
        problem += (
            "; for an AEC environment, its env(), write one with turn_based_aec_to_parallel or "
            "aec_to_parallel of pettingzoo.utils.conversions"
        )
    raise UsageError(f"--env-name: {module_name} {problem}")


def make_pettingzoo_env(env_name, env_family, **render_kwargs):
    """Make an environment of one of PettingZoo's own families."""
    pettingzoo = importlib.import_module("pettingzoo")
    names = []  # of the family's parallel environments
    for registered in pettingzoo.parallel_registry:
        family, name = registered.replace("-v", "_v").split("/")
        if family == env_family:
            names.append(name)
    env_id = f"{env_family}/{env_name}"
    if env_name not in names and env_id.replace("_v", "-v") in pettingzoo.aec_registry:
        raise UsageError(
            f"--env-name: {env_name} of {env_family} is only an AEC environment, in which agents "
            "act one by one: turn_based_aec_to_parallel in a module of your own makes a parallel "
            "one of it, see docs/environments.md"
        )
    check_name("--env-name", env_name, names)
    try:
        return pettingzoo.make("parallel", env_id, **render_kwargs)
    except (ImportError, pettingzoo.env_registry.exceptions.FailedToImport) as error:
        hint = f'first pip install "pettingzoo[{env_family}]"'
        raise UsageError(f"--env-family: {hint}") from error
    except OSError as error:
        if env_family != "atari" or "rom" not in str(error):
            raise
        hint = 'pip install "autorom[accept-rom-license]", then run AutoROM'
        raise UsageError(
            f"--env-family atari: the game of {env_name} (its ROM) is not installed: {hint}"
        ) from error


PACKAGES = {  # those of the families, and what pip installs for them
    "lbforaging": "lbforaging",
    "mpe2": "mpe2",
    "pettingzoo": "pettingzoo",
    "pygame": "pygame-ce",
    "smaclite": '-e ".[smaclite-upstream]"',
}


def make_env(
    env_type: str,
    env_name: str,
    env_family: str = "mpe",
    agent_ids: bool = True,
    seed: int | None = None,
    render_mode: str | None = None,
    max_episode_steps: int = 10000,
) -> TeamEnv:
    """Make an environment whose first reset uses `seed` unless it is given another.

    Parameters
    ----------
    env_type : {"smaclite", "pz", "lbf", "smaclite_upstream"}
    env_name : str
        A map or the path of a map's JSON file, a PettingZoo environment, an LBF id.
    env_family : str
        Of ``pz`` only: mpe, a family of PettingZoo's or your own package.
    agent_ids : bool
        Append each agent's one-hot id to its row of ``obs``.
    seed : int, optional
        Drawn by the system if there is none.
    render_mode : {None, "rgb_array", "human"}
        Pictures by ``render()``, or a window that shows every step.
    max_episode_steps : int
        An episode that has not ended by itself after so many steps is truncated.

    Returns
    -------
    TeamEnv

    Raises
    ------
    UsageError
        One line that names the argument and says what to do.
    """
    check_name("--env-type", env_type, ["smaclite", "smaclite_upstream", "pz", "lbf"])
    check_name("render_mode", render_mode or "human", ["human", "rgb_array"])
    try:
        with NO_EXIT:
            if env_type == "smaclite":
                env = SMACliteEnv(env_name, "smaclite_jit", agent_ids, seed, render_mode)
            elif env_type == "smaclite_upstream":
                env = SMACliteEnv(env_name, "smaclite", agent_ids, seed, render_mode)
            elif env_type == "pz":
                env = PettingZooEnv(env_name, env_family, agent_ids, seed, render_mode)
            else:
                env = LBFEnv(env_name, agent_ids, seed, render_mode)
    except ModuleNotFoundError as error:
        if env_type == "pz" and error.name not in PACKAGES:
            raise  # a bug in somebody's environment
        problem = "needs a package that is missing"
        package = PACKAGES.get(error.name, error.name)
        raise UsageError(f"--env-type {env_type} {problem}: pip install {package}") from error
    except OSError as error:
        if "spatialindex_c" not in str(error):
            raise
        problem = "needs the system library libspatialindex"
        hint = "on Debian and Ubuntu apt install libspatialindex-dev"
        raise UsageError(f"--env-type {env_type} {problem}: {hint}") from error
    except TypeError as error:
        if "'render_mode'" not in str(error):
            raise
        problem = f"{env_name} cannot be drawn, it takes no render_mode"
        raise UsageError(f"--env-name: {problem}") from error
    env.render_mode = render_mode
    env.step_limit = max_episode_steps
    env.max_episode_steps = min(env.max_episode_steps, max_episode_steps)
    return env


# The check before training

CHECK_STEPS = 200
CHECK_SECONDS = 5


def check_env(env: TeamEnv) -> None:
    """Play one short random episode in which everything that `env` relies on is looked at.

    For PettingZoo environments; nothing is done for others. It leaves seeds as they were: the next
    reset of `env` is its first one, and the generators of Python, NumPy and torch go on as if
    there had been no check. What is odd but can be right is a line on stderr.

    Raises
    ------
    UsageError
        One line that names the agent and what was expected.
    """
    env = env.unwrapped
    if not isinstance(env, PettingZooEnv):
        return
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    kept = env.env, env.first_seed, env.step_limit
    checked = CheckedEnv(env)
    env.env = checked
    env.step_limit = math.inf  # one is said to be reached in training
    try:
        seed_generators(0, 0)
        play_randomly(env)
    finally:
        env.env, env.first_seed, env.step_limit = kept
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_rng_state(generators[2])
    checked.warn()


def play_randomly(env):
    """Play one random episode, of at most CHECK_STEPS steps or CHECK_SECONDS seconds."""
    rng = np.random.default_rng(0)
    deadline = time.monotonic() + CHECK_SECONDS
    observation, _ = env.reset()
    for _ in range(CHECK_STEPS):
        actions = [rng.choice(np.flatnonzero(row)) for row in observation["avail_actions"]]
        observation, _, terminated, truncated, _ = env.step(actions)
        if terminated or truncated or time.monotonic() > deadline:
            return


class CheckedEnv:
    """A parallel environment that looks at everything that the one inside of `team` returns."""

    def __init__(self, team):
        self.env = team.env
        self.team = team
        self.num_steps = 0
        self.first_rows = {}  # what each agent observes first
        self.something_changes = False
        self.waiting_agents = []  # those who have had no available action

    def __getattr__(self, name):  # agents, state...
        return getattr(self.env, name)

    def warn(self):
        """Say what is odd but can be right."""
        name = self.team.name
        if self.num_steps > 1 and not self.something_changes:
            warn(
                f"{name}: all observations are equal, from the first step of an episode to its end"
            )
        for agent in self.waiting_agents[:1]:
            others = len(self.waiting_agents) - 1
            who = f"{agent!r} and {others} others have" if others else f"{agent!r} has"
            warn(f"{name}: {who} at times no available action, and takes action 0 then")

    def reset(self, seed=None, options=None):
        problem = self.team.problem
        result = self.env.reset(seed=seed, options=options)
        if not isinstance(result, tuple) or len(result) != 2:
            kind = type(result).__name__
            raise problem(f"has a reset() that returns a {kind}: expected (observations, infos)")
        observations, infos = result
        for what, values in (("observations", observations), ("infos", infos)):
            self.check_dictionary(f"the {what} of reset()", values)
        if not self.env.agents:
            raise problem("has no agents after reset(): expected the list of those who play")
        self.check_observations(observations, infos, terminations={}, truncations={})
        return result

    def step(self, actions):
        problem = self.team.problem
        names = ("observations", "rewards", "terminations", "truncations", "infos")
        result = self.env.step(actions)
        self.num_steps += 1
        if not isinstance(result, tuple) or len(result) != 5:
            kind = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
            raise problem(f"has a step() that returns {kind}: expected ({', '.join(names)})")
        for what, values in zip(names, result):
            self.check_dictionary(f"the {what} of step()", values)
        observations, rewards, terminations, truncations, infos = result
        for agent, reward in rewards.items():
            self.check_agent(agent, "a reward")
            if np.size(reward) > 1:
                raise problem(
                    f"gives {np.size(reward)} numbers for the reward of {agent!r}: expected one. "
                    "momaland's LinearizeReward, in a module of your own, weighs them into one"
                )
            self.team.check_numbers(f"the reward of {agent!r}", reward)
        for what, values in (("terminations", terminations), ("truncations", truncations)):
            for agent, value in values.items():
                if np.size(value) != 1 or np.asarray(value).dtype.kind not in "biuf":
                    raise problem(f"gives {value!r} in {what} of {agent!r}: expected a bool")
        self.check_observations(observations, infos, terminations, truncations)
        return result

    def state(self):
        state = self.env.state()
        self.team.check_numbers("state()", state)
        return state

    def check_dictionary(self, what, values):
        if not isinstance(values, dict):
            kind = type(values).__name__
            raise self.team.problem(f"gives a {kind} for {what}: expected a dictionary by agent")

    def check_agent(self, agent, what):
        if agent not in self.team.agents:
            raise self.team.problem(
                f"gives {what} to {agent!r}: expected agents of possible_agents, "
                f"which are {self.team.agents}"
            )

    def check_observations(self, observations, infos, terminations, truncations):
        """Look at what those who play or are cut off observe, and at their action masks."""
        for agent in self.env.agents:
            self.check_agent(agent, "a place in `agents`")
        for agent in self.team.agents:
            observes = agent in self.env.agents or truncations.get(agent)
            if terminations.get(agent):
                observes = False
            # An observation that is missing is found when that of the team is made.
            if observes and agent in observations:
                self.check_info(agent, infos.get(agent))
                self.check_observation(agent, observations[agent], infos.get(agent))

    def check_info(self, agent, info):
        if info is not None and not isinstance(info, dict):
            kind = type(info).__name__
            raise self.team.problem(f"gives a {kind} for the info of {agent!r}: expected a dict")

    def check_observation(self, agent, observation, info):
        """Look at what an agent observes, and at its action mask."""
        team = self.team
        what = f"the observation of {agent!r}"
        i = team.agents.index(agent)
        space = team.spaces[i]
        try:
            features, mask = team.split(i, observation, info)
            fits = True
            if isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete):
                fits = space.contains(features)  # a negative number would be taken from the end
            if type(space) is gym.spaces.Box:
                team.check_numbers(what, features)
            row = team.flatten(i, features)
        except UsageError:
            raise
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            shown = repr(observation).splitlines()[0][:80]
            raise team.problem(f"gives {shown} for {what}: expected one of its space {space}")
        row = team.check_numbers(what, row)
        first = self.first_rows.setdefault(agent, row.copy())
        if not np.array_equal(row, first):
            self.something_changes = True
        if mask is None:
            return
        what = f"the action mask of {agent!r}"
        mask = team.check_numbers(what, mask)
        if not np.isin(mask, (0, 1)).all():
            raise team.problem(f"gives {mask.tolist()} for {what}: expected 0 and 1")
        if not mask.any() and agent not in self.waiting_agents:
            self.waiting_agents.append(agent)


# Several environments that step together


class TeamVectorEnv(gym.vector.VectorWrapper):
    """The compiled battles of ``smaclite_jit``, with agent ids: a ``TeamEnv`` for many battles."""

    def __init__(self, envs, agent_ids, seed, step_limit):
        super().__init__(envs)
        self.step_limit = step_limit  # of ``make_vector_env``; inf if the map's own comes first
        self.first_seed = seed  # of the first reset if that is given none
        space = envs.single_observation_space["obs"]
        n_agents, self.obs_dim = space.shape
        self.blank_obs = blank_observations(n_agents, self.obs_dim, agent_ids)
        self.blank_batch = np.stack([self.blank_obs] * envs.num_envs)  # (num_envs, n_agents, ...)
        obs_space = gym.spaces.Box(space.low.min(), space.high.max(), self.blank_obs.shape)
        spaces = envs.single_observation_space.spaces
        self.single_observation_space = gym.spaces.Dict({**spaces, "obs": obs_space})
        self.observation_space = batch_space(self.single_observation_space, envs.num_envs)

    def add_ids(self, blank_obs, observation):
        """Put the features of an observation, of one battle or of all, in front of the ids."""
        obs = blank_obs.copy()
        obs[..., : self.obs_dim] = observation["obs"]
        return {**observation, "obs": obs}

    def reset(self, *, seed=None, options=None):
        if seed is None:
            seed = self.first_seed
        self.first_seed = None
        observations, infos = self.env.reset(seed=seed, options=options)
        return self.add_ids(self.blank_batch, observations), infos

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        for i in np.flatnonzero(infos.get("_final_obs", ())):
            infos["final_obs"][i] = self.add_ids(self.blank_obs, infos["final_obs"][i])
        if self.step_limit < math.inf and (truncations & ~terminations).any():
            warn_of_limit(self.step_limit)
        observations = self.add_ids(self.blank_batch, observations)
        return observations, rewards, terminations, truncations, infos


class WorkerDied(RuntimeError):  # noqa: N818 (it names what has happened)
    """Raised if a worker process is gone, killed by the system for example."""


class WorkerVectorEnv(AsyncVectorEnv):
    """Environments in a process each, which ends whatever happens."""

    def __init__(self, env_fns):
        # Before multiprocessing's own function, which would wait for deaf workers for ever.
        atexit.register(end_workers, self)
        super().__init__(env_fns, autoreset_mode=AutoresetMode.SAME_STEP)

    def reset(self, *, seed=None, options=None):
        with worker_errors():
            return super().reset(seed=seed, options=options)

    def step(self, actions):
        with worker_errors():
            result = super().step(actions)
        infos = result[-1]
        if "step_limit" in infos.get("final_info", {}):
            warn_of_limit(self.step_limit)
        return result

    def close_extras(self, **kwargs):
        end_workers(self)

    def _check_spaces(self):  # the first answer that is awaited of the workers
        with worker_errors():
            super()._check_spaces()


@contextlib.contextmanager
def worker_errors():
    """Turn errors of pipes into a WorkerDied; those of environments are not, see WorkerEnv."""
    try:
        yield
    except (EOFError, ConnectionError) as error:
        reason = "a worker process died (out of memory, or killed?)"
        raise WorkerDied(f"{reason}: try a smaller --num-envs") from error


class WorkerEnv(gym.Wrapper):
    """An environment in a worker: its errors can be sent to the main process, and told apart there.

    Some cannot be sent, because they hold what cannot be pickled, and the main process would wait
    for them for ever. These become a RuntimeError, as do those that look like a broken pipe.
    """

    def reset(self, **kwargs):
        with sendable_errors():
            return self.env.reset(**kwargs)

    def step(self, actions):
        with sendable_errors():
            return self.env.step(actions)


@contextlib.contextmanager
def sendable_errors():
    """Raise a RuntimeError in the place of an error that cannot be sent as it is."""
    try:
        yield
    except (Exception, SystemExit) as error:
        try:
            type(error)(error)  # what gymnasium raises in the main process
            pickle.loads(pickle.dumps(error))
            can_be_sent = not isinstance(error, (EOFError, ConnectionError, SystemExit))
        except Exception:
            can_be_sent = False
        if can_be_sent:
            raise
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


def seed_generators(seed, process):
    """Seed the generators of Python, NumPy and torch: the check is process 0, worker i is i + 1."""
    value = int(np.random.SeedSequence([seed, process]).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def make_worker_env(env_kwargs, first_seed, i):
    """Make environment `i` of several, in a process of its own.

    An environment may draw from the generators of its process, so no two processes shall have the
    same, and none those of the main process, which choose the team's actions.
    """
    # gymnasium also makes the first environment in the main process, to look at its spaces.
    if multiprocessing.parent_process() is not None:
        # Only the main process decides when to stop, and ends its workers.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        seed_generators(first_seed, i + 1)
    return WorkerEnv(make_env(**env_kwargs, seed=first_seed + i))


def make_vector_env(
    env_type: str,
    env_name: str,
    env_family: str,
    agent_ids: bool,
    seed: int,
    num_envs: int,
    max_episode_steps: int = 10000,
) -> gym.vector.VectorEnv:
    """Make `num_envs` environments that step together.

    SMAClite's battles are played in one compiled call, other environments in a process each. End
    these with ``end_workers``; it is also called when the program ends. An environment that ends
    its episode starts the next one in the same step.

    Parameters
    ----------
    env_type, env_name, env_family, agent_ids
        As in ``make_env``.
    seed : int
        Environment i has ``seed + i``. The generators of its process have others.
    num_envs : int
        Environments.
    max_episode_steps : int
        As in ``make_env``.

    Returns
    -------
    gymnasium.vector.VectorEnv
        Its observations are those of ``TeamEnv`` with an axis in front, (num_envs, ...). Its
        actions are (num_envs, n_agents). In a step in which environment i ends its episode,
        ``infos["final_obs"][i]`` is the last observation and ``infos["final_info"]`` has an entry
        for each key of its last info, on SMAClite ``battle_won`` (num_envs,).

    Raises
    ------
    UsageError
        As in ``make_env``.
    WorkerDied
        By ``reset`` and ``step``, if a process is gone. An environment's own error is raised there
        as itself.
    """
    if env_type == "smaclite":
        arguments = get_map(env_name)
        step_limit = math.inf
        if max_episode_steps < arguments["max_episode_steps"]:
            step_limit = max_episode_steps
            arguments["max_episode_steps"] = max_episode_steps
        envs = gym.make_vec(**arguments, num_envs=num_envs, arrays=True)
        return TeamVectorEnv(envs, agent_ids, seed, step_limit)
    env_kwargs = {
        "env_type": env_type,
        "env_name": env_name,
        "env_family": env_family,
        "agent_ids": agent_ids,
        "max_episode_steps": max_episode_steps,
    }
    env_fns = [partial(make_worker_env, env_kwargs, seed, i) for i in range(num_envs)]
    envs = WorkerVectorEnv(env_fns)
    envs.step_limit = max_episode_steps
    return envs


WORKER_SECONDS = 2  # that workers have to close their environments


def end_workers(envs: gym.vector.VectorEnv) -> None:
    """End the processes of a vector environment, if it has any.

    They are asked to close their environments, and killed if they take longer than two seconds.
    Nothing is raised, and a second call is harmless.
    """
    envs = envs.unwrapped
    if not isinstance(envs, AsyncVectorEnv):
        return
    envs.closed = True  # or gymnasium would close them again when `envs` is deleted
    pipes = getattr(envs, "parent_pipes", [])  # none if making the first environment has failed
    workers = getattr(envs, "processes", [])
    with contextlib.suppress(BaseException):  # a second Ctrl-C too: they are killed the sooner
        for pipe in pipes:
            with contextlib.suppress(Exception):  # a worker that is gone, its pipe with it
                pipe.send(("close", None))
        deadline = time.monotonic() + WORKER_SECONDS
        for worker in workers:
            worker.join(max(0, deadline - time.monotonic()))
    for worker in workers:
        with contextlib.suppress(BaseException):
            worker.kill()
            worker.join()


# Command lines


def boolean_flags(args_class: type) -> list[str]:
    """The command line, with its booleans as tyro reads them.

    Sweep tools write ``--double_q=True`` or ``--double-q True``, tyro reads ``--double-q`` and
    ``--no-double-q``.

    Parameters
    ----------
    args_class : type
        The dataclass of the arguments.
    """
    flags = {}  # "--double-q" and "--double_q": "double-q"
    for field in dataclasses.fields(args_class):
        if field.type in (bool, "bool"):
            name = field.name.replace("_", "-")
            flags[f"--{name}"] = name
            flags[f"--{field.name}"] = name
    prefixes = {"true": "--", "yes": "--", "1": "--", "false": "--no-", "no": "--no-", "0": "--no-"}
    words = sys.argv[1:]
    arguments = []
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option not in flags:
            arguments.append(word)
            continue
        if not equals and words and words[0].lower() in prefixes:
            value = words.pop(0)
        if value.lower() in prefixes:
            word = prefixes[value.lower()] + flags[option]
        arguments.append(word)
    return arguments
