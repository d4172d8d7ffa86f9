"""One interface for SMAClite, Level-Based Foraging and PettingZoo.

`make_env` makes an environment of any family, a `TeamEnv`. Beside this file, vector_envs.py makes
several that step together, and foreign_envs.py finds and checks PettingZoo environments.
"""

import copy
import math

import gymnasium as gym
import numpy as np

from cleanmarl import UsageError, check_name, foreign_envs


class TeamEnv(gym.Env):
    """A ``gymnasium.Env`` for a team of agents with a common reward.

    An observation is a dictionary:

    - ``obs`` (n_agents, obs_dim) float32: what each agent sees, padded with zeros to the longest,
      and then, with `agent_ids`, its one-hot id.
    - ``state`` (state_dim,) float32: the input of the mixer, which needs it in training only.
    - ``avail_actions`` (n_agents, n_actions) bool: what each agent may do now. Actions that an
      agent does not have are never available.

    ``terminated`` says that the task has ended, ``truncated`` that a time limit has cut it off: the
    family's own or `max_episode_steps`, whichever comes first. The classes below say what all these
    are in each family; their ``observe`` makes an observation of what the family itself returns.
    """

    max_episode_steps = math.inf  # no episode is longer; inf where that is not known
    seeds_every_reset = False  # False: later resets go on with the generators of the first

    def __init__(self, env, obs_dims, action_dims, state_dim, agent_ids, seed, render_mode):
        n_agents = len(obs_dims)
        n_actions = max(action_dims)
        self.env = env
        self.metadata = {"render_modes": [], "render_fps": 5} | getattr(env, "metadata", {})
        self.render_mode = render_mode
        self.next_seed = seed  # of the next reset, if that is given none
        self.obs_dim = max(obs_dims)  # features of an agent, its id comes behind them
        ids = np.eye(n_agents, n_agents if agent_ids else 0, dtype=np.float32)
        # An observation is a copy of this in which the features are filled in.
        self.blank_obs = np.hstack([np.zeros((n_agents, self.obs_dim), np.float32), ids])
        self.observation_space = gym.spaces.Dict(
            {
                "obs": gym.spaces.Box(-np.inf, np.inf, self.blank_obs.shape),
                "state": gym.spaces.Box(-np.inf, np.inf, (state_dim,)),
                "avail_actions": gym.spaces.Box(0, 1, (n_agents, n_actions), np.bool_),
            }
        )
        self.action_space = gym.spaces.MultiDiscrete([n_actions] * n_agents)

    def reset(self, *, seed=None, options=None):
        """Start an episode. If the first reset is given no `seed`, it has that of ``make_env``."""
        if seed is None:
            seed = self.next_seed
        self.next_seed = None
        super().reset(seed=seed)  # seeds np_random, if there is a seed
        if seed is None and self.seeds_every_reset:
            seed = int(self.np_random.integers(2**31))
        observations, infos = self.env.reset(seed=seed, options=options)
        return self.observe(observations, infos), {}

    def step(self, actions):
        """Take `actions`, (n_agents,) ints. The reward is a float, common to all agents."""
        actions = np.asarray(actions).tolist()
        observations, rewards, terminated, truncated, info = self.env.step(actions)
        observation = self.observe(observations, info)
        return observation, float(np.sum(rewards)), bool(terminated), bool(truncated), info

    def render(self):
        """Return a picture, (height, width, 3) uint8, or None without a `render_mode`."""
        return None if self.render_mode is None else self.env.render()

    def close(self):
        """Close the environment."""
        self.env.close()


class SMACliteEnv(TeamEnv):
    """A map of ``smaclite_jit``, or of the original ``smaclite``.

    - ``obs``: each unit's own health, and the units within its sight range; zeros if it is dead.
    - ``state``: all units of both sides.
    - ``avail_actions``: stop, move, attack or heal a unit in range. Dead units only have action 0.
    - ``terminated``: one side has no units left. The info's ``battle_won`` is True if it is theirs.
    - ``truncated``: at SMAC's episode limit of the map.
    """

    def __init__(self, env_name, package, agent_ids, seed, render_mode, max_episode_steps):
        arguments = find_map(env_name, package)
        self.max_episode_steps = min(arguments["max_episode_steps"], max_episode_steps)
        arguments["max_episode_steps"] = self.max_episode_steps
        if render_mode is not None:
            if package == "smaclite":
                raise UsageError("--env-type smaclite_upstream cannot be drawn here: use smaclite")
            arguments["render_mode"] = render_mode
        env = gym.make(**arguments, disable_env_checker=True)
        self.battle = env.unwrapped
        obs_dims = [self.battle.obs_size] * self.battle.n_agents
        action_dims = [self.battle.n_actions] * self.battle.n_agents
        state_dim = self.battle.state_size
        super().__init__(env, obs_dims, action_dims, state_dim, agent_ids, seed, render_mode)

    def observe(self, observations, info):
        obs = self.blank_obs.copy()
        obs[:, : self.obs_dim] = observations
        state = np.asarray(self.battle.get_state(), np.float32)
        avail_actions = np.array(self.battle.get_avail_actions(), np.bool_)
        return {"obs": obs, "state": state, "avail_actions": avail_actions}


def find_map(env_name, package="smaclite_jit"):
    """The arguments of ``gym.make`` and ``gym.make_vec`` for a map: its name, or its JSON file."""
    from smaclite_jit import registration  # here: it takes a second, which others need not wait

    if package == "smaclite":
        try:
            import smaclite  # noqa: F401 (registers its maps)
        except ModuleNotFoundError as error:
            install = 'pip install -e ".[smaclite-upstream]"'
            raise UsageError(f"--env-type smaclite_upstream: first {install} ({error})") from error
    try:
        return registration.find_map(env_name, package)
    except registration.MapError as error:
        raise UsageError(f"--env-name: {error}") from error


class LBFEnv(TeamEnv):
    """Level-Based Foraging.

    - ``obs``: positions and levels of the food and of the agents in sight.
    - ``state``: all observations in a row.
    - ``avail_actions``: stay, moves to free cells, and loading if there is food beside the agent.
    - ``terminated``: no food is left.
    - ``truncated``: at the id's limit of 50 steps, which lbforaging would report as termination.

    The common reward is the sum over agents. lbforaging's renderer needs OpenGL, so the pictures
    are our own.
    """

    def __init__(self, env_name, agent_ids, seed, render_mode, max_episode_steps):
        import lbforaging  # noqa: F401 (registers its environments)

        ids = [env_id for env_id in gym.registry if env_id.startswith("Foraging-")]
        check_name("--env-name", env_name, ids)
        spec = copy.deepcopy(gym.spec(env_name))
        self.max_episode_steps = min(spec.kwargs["max_episode_steps"], max_episode_steps)
        spec.max_episode_steps = self.max_episode_steps  # gymnasium's TimeLimit truncates
        spec.kwargs["max_episode_steps"] = np.inf  # lbforaging itself would terminate
        env = gym.make(spec, disable_env_checker=True)
        env.metadata = env.metadata | {"render_modes": ["human", "rgb_array"]}
        if render_mode is not None:
            from cleanmarl.rendering.lbf import Drawing  # needs pygame

            env = Drawing(env, render_mode)
        obs_dims = [gym.spaces.flatdim(space) for space in env.observation_space]
        action_dims = [int(space.n) for space in env.action_space]
        super().__init__(env, obs_dims, action_dims, sum(obs_dims), agent_ids, seed, render_mode)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            # lbforaging places players around where they last stood: only the seed should count.
            for player in self.env.unwrapped.players:
                player.position = None
        return super().reset(seed=seed, options=options)

    def observe(self, observations, info):
        obs = self.blank_obs.copy()
        obs[:, : self.obs_dim] = observations
        state = obs[:, : self.obs_dim].ravel()
        avail_actions = np.zeros((len(obs), self.action_space.nvec[0]), np.bool_)
        valid_actions = self.env.unwrapped._valid_actions.values()  # in the order of the players
        for i, actions in enumerate(valid_actions):
            avail_actions[i, [action.value for action in actions]] = True
        return {"obs": obs, "state": state, "avail_actions": avail_actions}


class PettingZooEnv(TeamEnv):
    """A parallel environment of PettingZoo, of MPE or of your own.

    - ``obs``: each agent's observation, flattened; zeros if the agent is out of the game.
    - ``state``: the environment's ``state()`` or, if it has none, all observations in a row.
    - ``avail_actions``: the action mask in the agent's observation or info, or all its actions
      without one. Agents that are out of the game, or whose mask allows nothing, have action 0.
    - ``terminated``: the last agents have left the game, and none of them was cut off.
    - ``truncated``: at least one of the last agents was only cut off, or the episode has lasted
      `max_episode_steps`. In the second case the info's ``step_limit`` is True.
    - ``info``: at the end of an episode the mean of each number over the infos of the last step.
      Its ``battle_won`` is True if theirs, or their ``is_success``, all are.

    The common reward is the sum over agents. Every reset is given a seed: with None, some
    environments draw a new one.
    """

    seeds_every_reset = True

    def __init__(
        self, env_name, env_family, agent_ids, seed, render_mode, max_episode_steps, check
    ):
        if seed is None:
            seed = np.random.SeedSequence().entropy % 2**31  # drawn by the system
        env = foreign_envs.make_parallel_env(env_name, env_family, render_mode, seed, check)
        self.agents = list(env.possible_agents)
        action_spaces = [env.action_space(agent) for agent in self.agents]
        self.first_actions = [int(space.start) for space in action_spaces]  # they may not be 0
        self.action_dims = [int(space.n) for space in action_spaces]
        self.all_actions = np.arange(max(self.action_dims)) < np.array(self.action_dims)[:, None]
        obs_spaces = [env.observation_space(agent) for agent in self.agents]
        self.obs_spaces = [foreign_envs.without_mask(space) for space in obs_spaces]
        self.obs_dims = [gym.spaces.flatdim(space) for space in self.obs_spaces]
        self.has_state = foreign_envs.has_state(env)
        self.state_dim = np.asarray(env.state()).size if self.has_state else sum(self.obs_dims)
        self.step_limit = max_episode_steps
        self.max_episode_steps = min(foreign_envs.find_max_cycles(env), max_episode_steps)
        super().__init__(
            env, self.obs_dims, self.action_dims, self.state_dim, agent_ids, seed, render_mode
        )

    @foreign_envs.NoExit()
    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return super().reset(seed=seed, options=options)

    @foreign_envs.NoExit()
    def step(self, actions):
        acting = list(self.env.agents)
        joint_action = {}
        for agent, first_action, action in zip(self.agents, self.first_actions, actions):
            if agent in acting:
                joint_action[agent] = first_action + int(action)
        observations, rewards, terminations, truncations, infos = self.env.step(joint_action)
        playing = []
        cut_off = []
        for agent in self.agents:
            if foreign_envs.is_set(terminations, agent):
                continue
            if agent in acting and foreign_envs.is_set(truncations, agent):
                cut_off.append(agent)
            elif agent in self.env.agents:
                playing.append(agent)
        over = not playing
        truncated = over and bool(cut_off)
        terminated = over and not cut_off
        self.steps += 1
        at_limit = self.steps >= self.step_limit and not over
        if at_limit:
            truncated = True
            foreign_envs.warn(foreign_envs.STEP_LIMIT)
        info = {}
        if terminated or truncated:
            info = foreign_envs.sum_up(infos) | {"step_limit": at_limit}
        # At the end, those who are cut off keep their last observation, to bootstrap from.
        observation = self.observe(observations, infos, cut_off if over else playing)
        reward = foreign_envs.add(rewards.values())
        return observation, reward, terminated, truncated, info

    def observe(self, observations, infos, playing=None):
        """The observation of the team. Agents that are not `playing` are out of the game."""
        if playing is None:
            playing = self.env.agents
        obs = self.blank_obs.copy()
        avail_actions = self.all_actions.copy()
        for i, agent in enumerate(self.agents):
            if agent not in playing:
                avail_actions[i, 1:] = False
                continue
            observation = observations[agent]
            features, mask = foreign_envs.split(self.obs_spaces[i], observation, infos.get(agent))
            obs_dim = self.obs_dims[i]
            n_actions = self.action_dims[i]
            # reshape, because numpy would spread a single number over the whole row.
            obs[i, :obs_dim] = features.reshape(obs_dim)
            if mask is not None:
                avail_actions[i, :n_actions] = np.asarray(mask).reshape(n_actions)
                if not avail_actions[i].any():
                    avail_actions[i, 0] = True  # an agent that has to wait
        if self.has_state:
            state = np.asarray(self.env.state()).astype(np.float32).reshape(self.state_dim)
        else:
            state = np.concatenate([row[:obs_dim] for row, obs_dim in zip(obs, self.obs_dims)])
        return {"obs": obs, "state": state, "avail_actions": avail_actions}

    def close(self):
        foreign_envs.close(self.env)


def make_env(
    env_type: str,
    env_name: str,
    env_family: str = "mpe",
    agent_ids: bool = True,
    seed: int | None = None,
    render_mode: str | None = None,
    max_episode_steps: int = 10000,
    check: bool = False,
) -> TeamEnv:
    """Make an environment.

    Parameters
    ----------
    env_type : {"smaclite", "pz", "lbf", "smaclite_upstream"}
    env_name : str
        A map or the path of a map's JSON file, a PettingZoo environment, an LBF id.
    env_family : str
        For ``pz``: mpe, a family of PettingZoo's or your own package.
    agent_ids : bool
        Append each agent's one-hot id to its row of ``obs``.
    seed : int, optional
        Seed of the first reset, if that is given none. If None, the system draws one.
    render_mode : {None, "rgb_array", "human"}
        Pictures by ``render()``, or a window that shows every step.
    max_episode_steps : int
        An episode that has not ended by itself after this many steps is truncated.
    check : bool
        For ``pz``: play a random episode first, and look at all that the environment returns.

    Raises
    ------
    UsageError
        One line that names the argument and says what to do.
    """
    check_name("--env-type", env_type, ["smaclite", "smaclite_upstream", "pz", "lbf"])
    common = (agent_ids, seed, render_mode, max_episode_steps)
    if env_type == "smaclite":
        return SMACliteEnv(env_name, "smaclite_jit", *common)
    if env_type == "smaclite_upstream":
        return SMACliteEnv(env_name, "smaclite", *common)
    if env_type == "lbf":
        return LBFEnv(env_name, *common)
    return PettingZooEnv(env_name, env_family, *common, check)
