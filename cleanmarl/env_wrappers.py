"""SMAClite, PettingZoo and Level-Based Foraging behind one face: ``make_env`` makes a ``TeamEnv`` of any."""

import copy
import importlib

import gymnasium as gym
import numpy as np

from cleanmarl.maps import get_map
from cleanmarl.parallel_envs import make_parallel_env
from cleanmarl.usage import UsageError, check_name


class TeamEnv(gym.Env):
    """A ``gymnasium.Env`` for a team with a common reward.

    It observes a dictionary of ``obs`` (n_agents, obs_dim) float32, ``state`` (state_dim,) float32, ``avail_actions``
    (n_agents, n_actions) bool; actions are MultiDiscrete. Agents with shorter observations or fewer actions are padded.
    """

    def __init__(self, env, obs_dims, action_dims, state_dim, agent_ids, seed):
        self.env, self.close, self.first_seed = env, env.close, seed
        self.metadata = {"render_modes": [], "render_fps": 5} | getattr(env, "metadata", {})
        self.obs_dims, self.action_dims, self.obs_dim = obs_dims, action_dims, max(obs_dims)
        n_agents, n_actions = len(obs_dims), max(action_dims)
        self.blank_obs = np.zeros((n_agents, self.obs_dim + n_agents * agent_ids), np.float32)
        self.no_actions = np.zeros((n_agents, n_actions), np.bool_)
        self.blank_obs[:, self.obs_dim :] = np.eye(n_agents)[:, : n_agents * agent_ids]
        box, shape = gym.spaces.Box, self.blank_obs.shape
        spaces = {"obs": box(-np.inf, np.inf, shape), "state": box(-np.inf, np.inf, (state_dim,))}
        self.observation_space = gym.spaces.Dict(
            spaces | {"avail_actions": box(0, 1, self.no_actions.shape, np.bool_)}
        )
        self.action_space = gym.spaces.MultiDiscrete([n_actions] * n_agents)

    def reset(self, *, seed=None, options=None):
        """Start an episode and return (observation, {}). `seed` defaults to ``make_env``'s the first time."""
        seed, self.first_seed = (self.first_seed if seed is None else seed), None
        super().reset(seed=seed)
        return self.observe(*self.env.reset(seed=seed, options=options)), {}

    def render(self):
        """The picture of the state, (height, width, 3) uint8, with ``make_env``'s `render_mode` "rgb_array"."""
        return None if self.render_mode is None else self.env.render()

    def step(self, actions):
        """Take `actions`, (n_agents,) ints. One that is not available is an error or does nothing, see the family.

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
        observations, rewards, terminated, truncated, info = self.env.step(
            np.asarray(actions).tolist()
        )
        return (
            self.observe(observations, info),
            float(np.sum(rewards)),
            bool(terminated),
            bool(truncated),
            info,
        )


class SMACliteEnv(TeamEnv):
    """A map of `package`, ``smaclite_jit`` or the original ``smaclite``, with SMAC's episode limit."""

    def __init__(self, env_name, package, agent_ids, seed, **drawn):
        env = gym.make(**get_map(env_name, package), disable_env_checker=True, **drawn)
        b = self.battle = env.unwrapped
        super().__init__(
            env,
            [b.obs_size] * b.n_agents,
            [b.n_actions] * b.n_agents,
            b.state_size,
            agent_ids,
            seed,
        )

    def observe(self, observations, info):
        obs, avail_actions = (
            self.blank_obs.copy(),
            np.array(self.battle.get_avail_actions(), np.bool_),
        )
        obs[:, : self.obs_dim] = observations
        return {
            "obs": obs,
            "state": np.asarray(self.battle.get_state(), np.float32),
            "avail_actions": avail_actions,
        }


class LBFEnv(TeamEnv):
    """Level-Based Foraging: common reward the sum over agents, state all observations in a row, valid actions only.

    lbforaging reports its time limit as termination. Here gymnasium's TimeLimit truncates, the last food terminates.
    Its renderer needs OpenGL: the pictures are our own, everywhere.
    """

    def __init__(self, env_name, agent_ids, seed, **drawn):
        importlib.import_module("lbforaging")  # registers its environments
        check_name(
            "--env-name", env_name, [name for name in gym.registry if name.startswith("Foraging-")]
        )
        spec = copy.deepcopy(gym.spec(env_name))
        spec.max_episode_steps, spec.kwargs["max_episode_steps"] = (
            spec.kwargs["max_episode_steps"],
            np.inf,
        )
        env = gym.make(spec, disable_env_checker=True)
        env.metadata = env.metadata | {"render_modes": ["human", "rgb_array"]}
        env = (
            importlib.import_module("cleanmarl.lbf_drawing").Drawing(env, **drawn) if drawn else env
        )
        obs_dims = [gym.spaces.flatdim(space) for space in env.observation_space]
        super().__init__(
            env, obs_dims, [int(s.n) for s in env.action_space], sum(obs_dims), agent_ids, seed
        )

    def reset(self, *, seed=None, options=None):
        for player in self.env.unwrapped.players if seed is not None else ():
            player.position = None  # lbforaging places players around where they last stood: only the seed shall count
        return super().reset(seed=seed, options=options)

    def observe(self, observations, info):
        obs, avail_actions = self.blank_obs.copy(), self.no_actions.copy()
        obs[:, : self.obs_dim] = [observation.ravel() for observation in observations]
        for i, valid_actions in enumerate(
            self.env.unwrapped._valid_actions.values()
        ):  # in the order of the players
            avail_actions[i, [action.value for action in valid_actions]] = True
        return {"obs": obs, "state": obs[:, : self.obs_dim].ravel(), "avail_actions": avail_actions}


class PettingZooEnv(TeamEnv):
    """A PettingZoo parallel environment: common reward the sum over agents, state its ``state()`` where it has one.

    It ends with the last agents: truncated if one is only cut off. Those out of the game see zeros, have only action 0.
    """

    def __init__(self, env_name, env_family, agent_ids, seed, **drawn):
        env = make_parallel_env(env_name, env_family, **drawn)
        self.agents = list(env.possible_agents)
        action_spaces = [env.action_space(agent) for agent in self.agents]
        if other := [
            space for space in action_spaces if not isinstance(space, gym.spaces.Discrete)
        ]:
            raise UsageError(
                f"--env-name: {env_name} has actions {other[0]}: QMIX needs Discrete ones"
            )
        self.first_actions = [int(space.start) for space in action_spaces]
        spaces = [env.observation_space(agent) for agent in self.agents]
        self.spaces = [
            s["observation"] if "action_mask" in getattr(s, "spaces", ()) else s for s in spaces
        ]
        obs_dims = [gym.spaces.flatdim(space) for space in self.spaces]
        env.reset(seed=seed)
        try:
            state_dim, self.has_state = int(np.size(env.state())), True
        except (
            AttributeError,
            NotImplementedError,
            TypeError,
        ):  # it has none; rps_v2 a dictionary so called
            state_dim, self.has_state = sum(obs_dims), False
        super().__init__(
            env, obs_dims, [int(space.n) for space in action_spaces], state_dim, agent_ids, seed
        )

    def observe(self, observations, infos, playing=None):
        obs, avail_actions = self.blank_obs.copy(), self.no_actions.copy()
        for i, (agent, space) in enumerate(zip(self.agents, self.spaces)):
            if agent not in (self.env.agents if playing is None else playing):
                avail_actions[i, 0] = True
                continue
            observation, mask = observations[agent], infos.get(agent, {}).get("action_mask", True)
            if isinstance(observation, dict) and "action_mask" in observation:
                observation, mask = observation["observation"], observation["action_mask"]
            obs[i, : self.obs_dims[i]] = gym.spaces.flatten(space, observation)
            avail_actions[i, : self.action_dims[i]] = mask
        rows = [row[:obs_dim] for row, obs_dim in zip(obs, self.obs_dims)]
        state = (
            np.array(self.env.state(), np.float32).ravel()
            if self.has_state
            else np.concatenate(rows)
        )
        return {"obs": obs, "state": state, "avail_actions": avail_actions}

    def step(self, actions):
        acting = list(self.env.agents)
        joint = {
            agent: first + int(a)
            for agent, first, a in zip(self.agents, self.first_actions, actions)
        }
        observations, rewards, terminations, truncations, infos = self.env.step(
            {a: joint[a] for a in acting}
        )
        playing = [a for a in self.env.agents if not (terminations.get(a) or truncations.get(a))]
        if (
            over := not playing
        ):  # those who are only cut off keep their last observation, to bootstrap from
            playing = [a for a in acting if truncations.get(a) and not terminations.get(a)]
        obs, reward = self.observe(observations, infos, playing), float(sum(rewards.values()))
        return obs, reward, over and not playing, over and bool(playing), {}


def make_env(env_type, env_name, env_family="mpe", agent_ids=True, seed=None, render_mode=None):
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
    families = {
        "smaclite": (SMACliteEnv, "smaclite_jit"),
        "smaclite_upstream": (SMACliteEnv, "smaclite"),
    }
    families |= {"pz": (PettingZooEnv, env_family), "lbf": (LBFEnv,)}
    check_name("--env-type", env_type, list(families))
    check_name("render_mode", render_mode or "human", ["human", "rgb_array"])
    drawn = (
        {} if render_mode is None else {"render_mode": render_mode}
    )  # not every environment takes one
    try:
        family, *source = families[env_type]
        env = family(env_name, *source, agent_ids, seed, **drawn)
    except ModuleNotFoundError as error:
        package = '-e ".[smaclite-upstream]"' if error.name == "smaclite" else error.name
        raise UsageError(
            f"--env-type {env_type} needs a package that is missing: pip install {package}"
        ) from error
    except TypeError as error:
        if "'render_mode'" not in str(error):
            raise
        raise UsageError(
            f"--env-name: {env_name} cannot be drawn, it takes no render_mode"
        ) from error
    env.render_mode = render_mode
    return env


def make_worker_env(env_args, seed):
    import random
    import torch
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    return make_env(*env_args, seed=seed)


def make_vector_env(env_type, env_name, env_family, agent_ids, seed, num_envs):
    if env_type == "smaclite":
        return gym.make_vec(**get_map(env_name), num_envs=num_envs, arrays=True, agent_ids=agent_ids)
    a = (env_type, env_name, env_family, agent_ids)
    fns = [lambda i=i: make_worker_env(a, seed + i) for i in range(num_envs)]
    return gym.vector.AsyncVectorEnv(fns, autoreset_mode=gym.vector.AutoresetMode.SAME_STEP)


def end_workers(envs):
    for worker in getattr(envs, "processes", ()):
        worker.terminate()
    envs.closed = True
