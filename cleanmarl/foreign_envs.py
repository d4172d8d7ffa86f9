"""Parallel environments of PettingZoo, of MPE and of your own: found by name, and checked.

Anybody may have written them, so what they return is not taken on trust: the check plays one
episode and looks at all of it. Nothing here knows of teams.
"""

import collections
import contextlib
import functools
import importlib
import inspect
import math
import multiprocessing
import os
import pkgutil
import random
import sys
import time
import traceback

import gymnasium as gym
import numpy as np
import torch
from tqdm import tqdm

from cleanmarl import UsageError, check_name, keep_random_state

FAMILIES = {name: f"pettingzoo.{name}" for name in ("atari", "butterfly", "classic", "sisl")}
FAMILIES["mpe"] = "mpe2"
NOT_PARALLEL = (
    "must have a function parallel_env() that returns a ParallelEnv; an AEC environment becomes "
    "one by turn_based_aec_to_parallel or aec_to_parallel of pettingzoo.utils.conversions"
)
STEP_LIMIT = "an episode that had not ended is truncated (--max-episode-steps), as will be others"
CHECK_STEPS = 200
CHECK_SECONDS = 5


class NoExit(contextlib.ContextDecorator):
    """A ``sys.exit()`` of an environment is an error, or the run would end with 0 and no word."""

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        is_ours = kind is SystemExit and error.code in (129, 130, 143)  # of our handlers
        if kind is SystemExit and not is_ours:
            raise RuntimeError(f"the environment has called sys.exit(): {error.code}") from error


@functools.cache  # each line once
def warn(message):
    """Write a line on stderr, above a progress bar. The main process speaks for its workers."""
    if multiprocessing.parent_process() is None:
        tqdm.write(f"warning: {message}", file=sys.stderr)


# By name


@NoExit()
def make_parallel_env(env_name, env_family, render_mode=None, seed=0, check=False):
    """Make a parallel environment, reset it with `seed`, and refuse what QMIX cannot train.

    An environment that has "rgb_array" gets it without a film too: what it observes may depend on
    it, and is then the same in training, evaluation and filming.
    """
    parallel_env = find_parallel_env(env_name, env_family)
    wanted = render_mode or "rgb_array"
    failure = None
    try:
        env = parallel_env(render_mode=wanted)
        can_draw = wanted in getattr(env, "metadata", {}).get("render_modes", [wanted])
        if can_draw:
            reset_first(env, env_name, seed)  # where some find out that there is no display
        else:
            with contextlib.suppress(Exception, SystemExit):  # it was never reset
                env.close()
    except UsageError:
        raise
    except Exception as error:  # it takes none or not this one, or has a bug
        can_draw = False
        failure = error
    if not can_draw:
        problem = f"cannot be drawn as {wanted!r}"
        if failure is not None:
            problem += f": {failure!r}"
        if render_mode is not None:
            raise UsageError(f"--env-name: {env_name} {problem}")
        missing = signature_error(parallel_env)
        if missing:
            hint = "give them in a module of your own (docs/own_environment.md)"
            raise UsageError(f"--env-name: {env_name} needs arguments ({missing}): {hint}")
        env = parallel_env()  # raises what is a bug in any case
        reset_first(env, env_name, seed)
        if not isinstance(failure, TypeError | None):  # a TypeError: it takes no render_mode
            warn(f"{env_name}: {problem}; it is played without pictures")
    check_spaces(env, env_name)
    if check:
        check_episode(env, env_name, seed)
    return env


def reset_first(env, name, seed):
    """Reset an environment that was just made: some have no agents or spaces before."""
    methods = ("reset", "step", "observation_space", "action_space")
    is_complete = all(callable(getattr(env, method, None)) for method in methods)
    if not is_complete or hasattr(env, "agent_iter"):
        raise UsageError(f"--env-name: {name} {NOT_PARALLEL}")
    if signature_error(env.reset, seed=seed, options=None):
        raise UsageError(f"--env-name: {name} must have reset(seed=None, options=None)")
    try:
        env.reset(seed=seed, options=None)
    except Exception:
        close(env)  # another one may need its port
        raise


def signature_error(function, **arguments):
    """What Python says of the call of a function with other arguments than it has, else ""."""
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        return str(error)
    except ValueError:  # Python cannot tell the signature
        pass
    return ""


def find_parallel_env(env_name, env_family):
    """The function ``parallel_env`` of a family's module, or of a module in your own package."""
    if env_family == "pettingzoo.mpe":
        raise UsageError("--env-family: pettingzoo.mpe is a package of its own now: give mpe")
    package = FAMILIES.get(env_family, env_family)
    if env_family in FAMILIES:
        modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
        check_name("--env-name", env_name, [m.name for m in modules if "_v" in m.name])
    elif os.getcwd() not in sys.path:
        # Find modules in the current folder, as `python -m` does, though they may leave it.
        sys.path.insert(0, os.getcwd())
    module_name = f"{package}.{env_name}"
    try:
        module = importlib.import_module(module_name)
    except (ImportError, TypeError) as error:  # a TypeError: the name starts with a dot
        if env_family in FAMILIES:
            hint = f'first pip install "pettingzoo[{env_family}]"'
            raise UsageError(f"--env-family: {hint} ({error})") from error
        missing = getattr(error, "name", "")
        is_here = not f"{module_name}.".startswith(f"{missing}.")
        if is_here or not isinstance(error, ModuleNotFoundError | TypeError):
            raise  # a bug in the module, or a package that it needs
        raise UsageError(
            f"--env-family, --env-name: there is no module {module_name}; give "
            f"{', '.join(FAMILIES)} or the package of a module that can be imported from here"
        ) from error
    if not hasattr(module, "parallel_env"):
        raise UsageError(f"--env-name: {module_name} {NOT_PARALLEL}")
    return module.parallel_env


# What an agent observes


def without_mask(space):
    """The space of an agent's observation without its action mask."""
    if not isinstance(space, gym.spaces.Dict) or "action_mask" not in space.spaces:
        return space
    return gym.spaces.Dict({key: space[key] for key in space if key != "action_mask"})


def split(space, observation, info):
    """Split an agent's observation into its features, a row, and its action mask or None.

    `space` is the one without the mask. The mask is in the observation or in the info.
    """
    mask = info.get("action_mask") if info else None
    if isinstance(observation, dict):
        mask = observation.get("action_mask", mask)
        if not isinstance(space, gym.spaces.Dict):
            observation = observation["observation"]  # the space is that of this entry alone
    return flatten(space, observation), mask


def flatten(space, observation):
    """The row of an observation. gym.spaces.flatten would cast it, and take -1 for a category."""
    if isinstance(space, gym.spaces.Dict):  # leaves out what `space` does not have
        rows = [flatten(space[key], observation[key]) for key in space]
        return np.concatenate(rows) if rows else np.empty(0)
    if isinstance(space, gym.spaces.Tuple):
        return np.concatenate([flatten(*pair) for pair in zip(space, observation, strict=True)])
    if type(space) is gym.spaces.Box:
        return np.asarray(observation).ravel()
    is_category = isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete)
    if is_category and not space.contains(observation):  # -1 would be the last one
        given = np.asarray(observation).reshape(space.shape)
        with np.errstate(invalid="ignore"):  # nan
            observation = given.astype(space.dtype)
        is_whole = np.array_equal(observation, given)
        if not (is_whole and space.contains(observation)):
            raise ValueError(f"{given} is not in {space}")
    return gym.spaces.flatten(space, observation)


def has_state(env):
    """Whether a parallel environment has a ``state()``. A bug inside of it is raised."""
    state = getattr(env, "state", None)
    inner_state = getattr(getattr(env, "unwrapped", env), "state", state)
    if not (callable(state) and callable(inner_state)):
        return False  # in rps_v2 it is a dictionary, behind a wrapper's method
    try:
        env.state()
    except NotImplementedError:
        return False
    return True


def is_set(flags, agent):
    """Whether the flag of an agent, or RLlib's of all, is set. A list of one is always true."""
    return bool(np.asarray(flags.get(agent, False))) or bool(flags.get("__all__", False))


def add(rewards):
    """The sum of the rewards of a team, a float. Some are arrays, tensors or lists of one."""
    return float(sum(np.asarray(reward).item() for reward in rewards))


def sum_up(infos):
    """The info of a team: the mean over the agents of each number in their `infos`.

    Whether it has won is ``battle_won``, or stable-baselines3's ``is_success``, of all who tell it.
    """
    told = collections.defaultdict(list)
    for info in infos.values():
        if not isinstance(info, dict):
            continue
        for key, value in info.items():
            if getattr(value, "ndim", None) == 0:  # a scalar of NumPy or torch
                value = value.item()
            if isinstance(value, int | float):  # or a bool
                with contextlib.suppress(OverflowError):
                    told[key].append(float(value))
    means = {key: float(np.mean(values)) for key, values in told.items()}
    won = means.get("battle_won", means.get("is_success"))
    return means if won is None else means | {"battle_won": won == 1}


def find_max_cycles(env):
    """The length of an episode, where an environment says it as PettingZoo's own do."""
    inner = getattr(env, "unwrapped", env)
    for holder in (inner, getattr(inner, "env", None)):
        max_cycles = getattr(holder, "max_cycles", None)
        if isinstance(max_cycles, int) and max_cycles > 0:
            return max_cycles
    return math.inf


def close(env):
    """Close an environment. An error is only shown: it would hide the one that ended the run."""
    try:
        env.close()
    except (Exception, SystemExit) as error:
        trace = "".join(traceback.format_exception(error, chain=False))
        warn(f"the environment has failed to close: {error!r}\n{trace}")


# The check


def check_spaces(env, name):
    """Raise a UsageError unless the networks fit the spaces of `env`."""
    if not getattr(env, "possible_agents", None):
        raise UsageError(f"--env-name: {name} has no possible_agents, the list of all agents")
    for agent in env.possible_agents:
        actions = env.action_space(agent)
        if not isinstance(actions, gym.spaces.Discrete):
            raise UsageError(
                f"--env-name: {name} has actions {actions}: QMIX needs Discrete ones. If it has an "
                "option for them, set it in a module of your own (docs/own_environment.md)"
            )
        space = env.observation_space(agent)
        if not without_mask(space).is_np_flattenable:
            raise UsageError(
                f"--env-name: {name} has observations {space} for {agent!r}, which have no fixed "
                "size: the networks need a space that gymnasium can flatten, such as Box"
            )


def check_episode(env, name, seed):
    """Play one random episode, of at most 200 steps or 5 seconds, and look at all that comes back.

    What cannot be right is a UsageError, what is odd but can be right a line on stderr. At the end
    `env` is reset with `seed`, and the generators of Python, NumPy and torch are as they were.
    """
    with keep_random_state():
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        Check(env, name).play()
        env.reset(seed=seed)


def as_numbers(value):
    """The array of a number or of several, None if they are not numbers."""
    try:
        array = np.asarray(value)
        if array.dtype == object:
            array = array.astype(np.float64)
    except Exception:  # of lists of different lengths, or of anybody's objects
        return None
    return array if array.dtype.kind in "biuf" else None


class Check:
    """Looks at what a parallel environment returns."""

    def __init__(self, env, name):
        self.env = env
        self.name = name
        self.has_state = has_state(env)
        self.state_size = None  # that of the first state
        self.first_features = {}  # what each agent observes first
        self.something_changes = False
        self.may_be_masks = set()  # entries that look like an action mask
        self.no_masks = set()  # and those that do not, at least once
        self.has_mask = {}  # whether each agent has a mask at first

    def play(self):
        """Play one random episode, and warn of what is odd in it."""
        rng = np.random.default_rng(0)
        deadline = time.monotonic() + CHECK_SECONDS
        names = ("observations", "infos")
        result = self.env.reset(seed=0, options=None)
        observations, infos = self.look_at_result("reset()", names, result)
        self.require(self.env.agents, "has no agents after reset(): expected those who play")
        masks = self.look_at_agents(self.env.agents, observations, infos)
        names = ("observations", "rewards", "terminations", "truncations", "infos")
        playing = self.env.agents
        num_steps = 0
        while playing and num_steps < CHECK_STEPS and time.monotonic() < deadline:
            actions = {}
            for agent in self.env.agents:
                first_action = self.env.action_space(agent).start
                allowed = np.flatnonzero(masks.get(agent, [1]))  # action 0 of those who are out
                actions[agent] = int(first_action + rng.choice(allowed))
            result = self.look_at_result("step()", names, self.env.step(actions))
            observations, rewards, terminations, truncations, infos = result
            num_steps += 1
            for agent, reward in rewards.items():
                is_known = agent in self.env.possible_agents
                self.require(is_known, f"gives a reward to {agent!r}, not one of possible_agents")
                self.look_at_numbers(f"the reward of {agent!r}", reward, size=1)
            for name, flags in (("terminations", terminations), ("truncations", truncations)):
                for agent, flag in flags.items():
                    self.look_at_numbers(f"{name} of {agent!r}", flag, size=1)
            # At the end those who are cut off observe once more, to bootstrap from.
            left = [a for a in self.env.possible_agents if is_set(terminations, a)]
            cut_off = [a for a in actions if is_set(truncations, a) and a not in left]
            playing = [a for a in self.env.agents if a not in cut_off + left]
            when = f" after step {num_steps}" if playing else " after the last step"
            masks = self.look_at_agents(playing or cut_off, observations, infos, when)
        if num_steps > 1 and not self.something_changes:
            warn(f"{self.name}: all observations are equal in the {num_steps} steps of the check")
        for key in self.may_be_masks - self.no_masks:
            warn(
                f"{self.name}: {key!r} looks like an action mask: if it is one, call it action_mask"
            )

    def require(self, condition, problem):
        """Raise a UsageError unless the condition holds."""
        if not condition:
            raise UsageError(f"--env-name: {self.name} {problem}")

    def look_at_result(self, call, names, result):
        """Return the result of a call, which must be a dictionary by agent for each name."""
        is_tuple = isinstance(result, tuple)
        kind = f"{len(result)} values" if is_tuple else f"a {type(result).__name__}"
        fits = is_tuple and len(result) == len(names)
        self.require(fits, f"has a {call} that returns {kind}: expected ({', '.join(names)})")
        for name, values in zip(names, result):
            problem = f"gives a {type(values).__name__} for the {name} of {call}"
            is_dictionary = isinstance(values, dict)
            self.require(is_dictionary, f"{problem}: expected a dictionary by agent")
        return result

    def look_at_numbers(self, what, value, size=None):
        """Return `value` as a row, which must be finite numbers of float32, `size` if given."""
        numbers = as_numbers(value)
        is_array = isinstance(value, np.ndarray)
        given = f"an array of {value.dtype}" if is_array else f"a {type(value).__name__}"
        self.require(numbers is not None, f"gives {given} for {what}: expected numbers")
        numbers = numbers.ravel()
        fits = numbers.size > 0 if size is None else numbers.size == size
        expected = "some" if size is None else size
        self.require(fits, f"gives {numbers.size} numbers for {what}: expected {expected}")
        with np.errstate(over="ignore"):
            is_finite = np.isfinite(numbers.astype(np.float32))
        if not is_finite.all():
            problem = f"gives {numbers[is_finite.argmin()]} for {what}"
            self.require(False, f"{problem}: expected finite numbers of float32")
        return numbers

    def look_at_agents(self, agents, observations, infos, when=""):
        """Look at what `agents` observe, and at the state. Returns their action masks."""
        strangers = set(self.env.agents) - set(self.env.possible_agents)
        self.require(not strangers, f"has {strangers} in agents, but not in possible_agents")
        masks = {}
        for agent in agents:
            self.require(
                agent in observations,
                f"gives no observation to {agent!r}: expected one for each of `agents` and, at a "
                "time limit, a last one for each who is cut off",
            )
            masks[agent] = self.look_at_agent(agent, observations[agent], infos.get(agent))
        if self.has_state:
            state = self.look_at_numbers(f"state(){when}", self.env.state(), self.state_size)
            self.state_size = state.size
        return masks

    def look_at_agent(self, agent, observation, info):
        """Look at what an agent observes. Returns its action mask."""
        fits = isinstance(info, dict | None)
        self.require(fits, f"gives {info} for the info of {agent!r}: expected a dictionary")
        what = f"the observation of {agent!r}"
        space = without_mask(self.env.observation_space(agent))
        try:
            features, mask = split(space, observation, info)
            fits = True
        except (ArithmeticError, LookupError, AttributeError, RuntimeError, TypeError, ValueError):
            fits = False
        shown = repr(observation).splitlines()[0][:80]
        self.require(fits, f"gives {shown} for {what}: expected one of its space {space}")
        obs_dim = gym.spaces.flatdim(space)
        features = self.look_at_numbers(what, features, obs_dim)
        if obs_dim == 0:
            warn(f"{self.name}: some agents observe nothing, such as {agent!r}: {space}")
        first = self.first_features.setdefault(agent, features.copy())
        if not np.array_equal(features, first):
            self.something_changes = True
        n_actions = int(self.env.action_space(agent).n)
        if self.has_mask.setdefault(agent, mask is not None) != (mask is not None):
            warn(f"{self.name}: an action mask is missing at times: all actions are available then")
        if mask is None:
            self.look_for_mask(observation, n_actions)
            self.look_for_mask(info, n_actions)
            return np.ones(n_actions)
        what = f"the action mask of {agent!r}"
        mask = self.look_at_numbers(what, mask, n_actions)
        self.require(np.isin(mask, (0, 1)).all(), f"gives {mask} for {what}: expected 0 and 1")
        if not mask.any():
            warn(f"{self.name}: agents have at times no available action, and take action 0 then")
            return np.arange(n_actions) == 0
        return mask

    def look_for_mask(self, entries, n_actions):
        """Note which entries of an observation or info may be a mask: 0 and 1 for each action."""
        if not isinstance(entries, dict) or len(entries) < 2:
            return
        for key, value in entries.items():
            row = as_numbers(value)
            has_shape = row is not None and row.shape == (n_actions,)
            if not (has_shape and np.isin(row, (0, 1)).all()):
                self.no_masks.add(key)
            elif row.sum() > 1:  # else one-hot, as the last action is
                self.may_be_masks.add(key)
