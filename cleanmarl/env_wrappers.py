"""One interface for SMAClite, PettingZoo and Level-Based Foraging.

`make_env` makes one environment, a `TeamEnv`. `make_vector_env` makes several that step together,
and `end_workers` ends the processes of those that need some.
"""

import copy
import difflib
import importlib
import pkgutil
import random
import sys
from functools import partial

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.utils import batch_space


class UsageError(ValueError):
    """Raised for an argument that cannot work.

    The message is one line that names the argument and says what to do.
    """


def check_name(argument, value, names):
    """Raise a UsageError with the nearest names unless `value` is one of `names`."""
    if value not in names:
        near = difflib.get_close_matches(value, names, n=3, cutoff=0.5) or sorted(names)[:20]
        raise UsageError(f"{argument}: there is no {value!r}; try {' or '.join(near)}")


def blank_observations(n_agents, obs_dim, agent_ids):
    """Zeros for `obs_dim` features of each agent and, with `agent_ids`, its one-hot id behind them.

    Returns (n_agents, obs_dim) or (n_agents, obs_dim + n_agents) float32. An observation is a copy
    in which the features are filled in: all ids come from here.
    """
    features = np.zeros((n_agents, obs_dim), np.float32)
    if not agent_ids:
        return features
    return np.hstack([features, np.eye(n_agents, dtype=np.float32)])


# The environments: one interface, and a class for each family


class TeamEnv(gym.Env):
    """A ``gymnasium.Env`` for a team with a common reward.

    An observation is a dictionary: ``obs`` (n_agents, obs_dim) float32, ``state`` (state_dim,)
    float32, ``avail_actions`` (n_agents, n_actions) bool. The action space is MultiDiscrete.
    Agents with shorter observations or fewer actions are padded.
    """

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

    def reset(self, *, seed=None, options=None):
        """Start an episode and return (observation, {}).

        The first reset without a `seed` takes the one of ``make_env``.
        """
        if seed is None:
            seed = self.first_seed
        self.first_seed = None
        super().reset(seed=seed)
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
            On SMAClite ``battle_won``, a bool.
        """
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
        self.env.close()


class SMACliteEnv(TeamEnv):
    """A map of ``smaclite_jit``, or of the original ``smaclite``, with SMAC's episode limit."""

    def __init__(self, env_name, package, agent_ids, seed, **render_kwargs):
        env = gym.make(**get_map(env_name, package), disable_env_checker=True, **render_kwargs)
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

    def __init__(self, env_name, agent_ids, seed, **render_kwargs):
        importlib.import_module("lbforaging")  # registers its environments
        ids = [name for name in gym.registry if name.startswith("Foraging-")]
        check_name("--env-name", env_name, ids)
        spec = copy.deepcopy(gym.spec(env_name))
        spec.max_episode_steps = spec.kwargs["max_episode_steps"]  # gymnasium's TimeLimit truncates
        spec.kwargs["max_episode_steps"] = np.inf  # lbforaging itself would terminate
        env = gym.make(spec, disable_env_checker=True)
        env.metadata = env.metadata | {"render_modes": ["human", "rgb_array"]}
        if render_kwargs:
            lbf = importlib.import_module("cleanmarl.rendering.lbf")  # needs pygame
            env = lbf.Drawing(env, **render_kwargs)
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
    action 0. An episode ends when the last agents leave; it is truncated if at least one of these
    is only cut off.
    """

    def __init__(self, env_name, env_family, agent_ids, seed, **render_kwargs):
        env = make_parallel_env(env_name, env_family, **render_kwargs)
        self.agents = list(env.possible_agents)
        self.spaces = []  # the observation space of each agent, without its action mask
        self.first_actions = []  # what an agent's environment calls its action 0
        action_dims = []
        for agent in self.agents:
            action_space = env.action_space(agent)
            if not isinstance(action_space, gym.spaces.Discrete):
                problem = f"{env_name} has actions {action_space}: QMIX needs Discrete ones"
                raise UsageError(f"--env-name: {problem}")
            self.first_actions.append(int(action_space.start))
            action_dims.append(int(action_space.n))
            space = env.observation_space(agent)
            if "action_mask" in getattr(space, "spaces", ()):
                space = space["observation"]
            self.spaces.append(space)
        obs_dims = [gym.spaces.flatdim(space) for space in self.spaces]
        env.reset(seed=seed)
        try:
            state_dim = int(np.size(env.state()))
            self.has_state = True
        except (AttributeError, NotImplementedError, TypeError):
            # It has none. (The TypeError: in rps_v2 `state` is a dictionary.)
            state_dim = sum(obs_dims)
            self.has_state = False
        super().__init__(env, obs_dims, action_dims, state_dim, agent_ids, seed)

    def observe(self, observations, infos, playing=None):
        """The observation of the team. Agents that are not `playing` are out of the game."""
        if playing is None:
            playing = self.env.agents
        obs = self.blank_obs.copy()
        avail_actions = self.no_actions.copy()
        for i, agent in enumerate(self.agents):
            if agent not in playing:
                avail_actions[i, 0] = True
                continue
            observation = observations[agent]
            mask = infos.get(agent, {}).get("action_mask", True)
            if isinstance(observation, dict) and "action_mask" in observation:
                mask = observation["action_mask"]
                observation = observation["observation"]
            obs[i, : self.obs_dims[i]] = gym.spaces.flatten(self.spaces[i], observation)
            avail_actions[i, : self.action_dims[i]] = mask
        if self.has_state:
            state = np.array(self.env.state(), np.float32).ravel()
        else:
            state = np.concatenate([row[:obs_dim] for row, obs_dim in zip(obs, self.obs_dims)])
        return {"obs": obs, "state": state, "avail_actions": avail_actions}

    def step(self, actions):
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
        return observation, float(sum(rewards.values())), terminated, truncated, {}


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


def make_parallel_env(env_name, env_family, **render_kwargs):
    """Make a parallel environment.

    The family ``mpe`` is the package mpe2, PettingZoo's families are in ``pettingzoo``, and any
    other one is a package of your own with a module `env_name` that has a ``parallel_env``.
    """
    pettingzoo = importlib.import_module("pettingzoo")
    families = {"mpe", *(name.split("/")[0] for name in pettingzoo.aec_registry)}
    package = env_family
    if env_family == "mpe":
        package = "mpe2"
        modules = pkgutil.iter_modules(importlib.import_module(package).__path__)
        check_name("--env-name", env_name, [m.name for m in modules if "_v" in m.name])
    elif env_family in families:
        ids = [name.replace("-v", "_v").split("/") for name in pettingzoo.parallel_registry]
        check_name("--env-name", env_name, [name for family, name in ids if family == env_family])
        try:
            return pettingzoo.make("parallel", f"{env_family}/{env_name}", **render_kwargs)
        except (ImportError, pettingzoo.env_registry.exceptions.FailedToImport) as error:
            hint = f'first pip install "pettingzoo[{env_family}]"'
            raise UsageError(f"--env-family: {hint}") from error
    elif "" not in sys.path:
        sys.path.insert(0, "")  # find modules in the current folder, as `python -m` does
    module_name = f"{package}.{env_name}"
    try:
        module = importlib.import_module(module_name)
    except (ModuleNotFoundError, TypeError) as error:  # a TypeError: the name starts with a dot
        missing = getattr(error, "name", "")
        if not f"{module_name}.".startswith(f"{missing}."):
            raise  # the module is there, but something that it imports is not
        hint = f"{', '.join(sorted(families))} or the package of a module"
        raise UsageError(
            f"--env-family, --env-name: there is no module {module_name}; "
            f"give {hint} that can be imported from here"
        ) from error
    if not hasattr(module, "parallel_env"):
        problem = "must have a function parallel_env() that returns a ParallelEnv"
        raise UsageError(f"--env-name: {module_name} {problem}")
    return module.parallel_env(**render_kwargs)


def make_env(
    env_type: str,
    env_name: str,
    env_family: str = "mpe",
    agent_ids: bool = True,
    seed: int | None = None,
    render_mode: str | None = None,
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
    render_kwargs = {}  # not every environment takes a render_mode
    if render_mode is not None:
        render_kwargs["render_mode"] = render_mode
    try:
        if env_type == "smaclite":
            env = SMACliteEnv(env_name, "smaclite_jit", agent_ids, seed, **render_kwargs)
        elif env_type == "smaclite_upstream":
            env = SMACliteEnv(env_name, "smaclite", agent_ids, seed, **render_kwargs)
        elif env_type == "pz":
            env = PettingZooEnv(env_name, env_family, agent_ids, seed, **render_kwargs)
        else:
            env = LBFEnv(env_name, agent_ids, seed, **render_kwargs)
    except ModuleNotFoundError as error:
        package = error.name
        if package == "smaclite":
            package = '-e ".[smaclite-upstream]"'
        problem = "needs a package that is missing"
        raise UsageError(f"--env-type {env_type} {problem}: pip install {package}") from error
    except TypeError as error:
        if "'render_mode'" not in str(error):
            raise
        problem = f"{env_name} cannot be drawn, it takes no render_mode"
        raise UsageError(f"--env-name: {problem}") from error
    env.render_mode = render_mode
    return env


# Several environments that step together


class TeamVectorEnv(gym.vector.VectorWrapper):
    """The compiled battles of ``smaclite_jit``, with agent ids: a ``TeamEnv`` for many battles."""

    def __init__(self, envs, agent_ids, seed):
        super().__init__(envs)
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
        observations = self.add_ids(self.blank_batch, observations)
        return observations, rewards, terminations, truncations, infos


def make_worker_env(env_args, seed):
    """Make an environment in a worker process, with the process's generators seeded.

    An environment may draw from them, so no two processes shall have the same.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return make_env(*env_args, seed=seed)


def make_vector_env(
    env_type: str,
    env_name: str,
    env_family: str,
    agent_ids: bool,
    seed: int,
    num_envs: int,
) -> gym.vector.VectorEnv:
    """Make `num_envs` environments that step together.

    SMAClite's battles are played in one compiled call, other environments in a process each. End
    these with ``end_workers``. An environment that ends its episode starts the next one in the
    same step.

    Parameters
    ----------
    env_type, env_name, env_family, agent_ids
        As in ``make_env``.
    seed : int
        Environment i has ``seed + i``, and so have the generators of its process.
    num_envs : int
        Environments.

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
    """
    if env_type == "smaclite":
        envs = gym.make_vec(**get_map(env_name), num_envs=num_envs, arrays=True)
        return TeamVectorEnv(envs, agent_ids, seed)
    # gymnasium also makes the first environment in this process, to look at its spaces. So the
    # generators of this process are left as `seed` and that environment make them.
    env_args = (env_type, env_name, env_family, agent_ids)
    env_fns = [partial(make_worker_env, env_args, seed + i) for i in range(num_envs)]
    return AsyncVectorEnv(env_fns, autoreset_mode=AutoresetMode.SAME_STEP)


def end_workers(envs: gym.vector.VectorEnv) -> None:
    """End the processes of a vector environment at once, if it has any.

    ``envs.close()`` would wait for answers of workers that may be gone.
    """
    envs = envs.unwrapped
    if isinstance(envs, AsyncVectorEnv):
        for worker in envs.processes:
            worker.terminate()
        envs.closed = True  # or gymnasium would close them again when `envs` is deleted
