"""Several environments that step together: they do what single ones do, and leave nobody behind."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch

from cleanmarl import UsageError
from cleanmarl.env_wrappers import make_env
from cleanmarl.vector_envs import WorkerDied, make_vector_env
from tests.envs import clock, foreign
from tests.envs.clock import Clock
from tests.helpers import ENVIRON, REPO, assert_same, command, first_actions
from tests.policies import random_actions

LBF = ("lbf", "Foraging-5x5-2p-1f-v3")
SPREAD = ("pz", "simple_spread_v3")
CLOCK = ("pz", "clock", "tests.envs")
AMBUSH = ("smaclite", str(REPO / "tests" / "maps" / "ambush.json"))


@pytest.fixture
def make_envs():
    """`make_vector_env`, with the processes ended at the end."""
    made = []

    def make(env_type, env_name, env_family="mpe", agent_ids=True, num_envs=2, **kwargs):
        envs = make_vector_env(env_type, env_name, env_family, agent_ids, 3, num_envs, **kwargs)
        made.append(envs)
        return envs

    yield make
    for envs in made:
        envs.close()


def one_of(observations, i):
    """The observation of environment i."""
    return {key: values[i] for key, values in observations.items()}


# What they play


@pytest.mark.parametrize(
    ("args", "agent_ids", "num_steps"),
    [
        (("smaclite", "3m"), True, 150),
        (("smaclite", "MMM"), False, 250),
        (AMBUSH, True, 100),
        (LBF, True, 110),
        (SPREAD, False, 60),
        (CLOCK, True, 10),
    ],
)
def test_a_vector_environment_does_what_single_ones_do(args, agent_ids, num_steps, make_envs):
    envs = make_envs(*args, agent_ids=agent_ids, num_envs=3)
    singles = [make_env(*args, agent_ids=agent_ids, seed=3 + i) for i in range(3)]
    assert envs.num_envs == 3
    observations, _ = envs.reset()
    for i, env in enumerate(singles):
        assert_same(one_of(observations, i), env.reset()[0])
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(num_steps):
        actions = [random_actions(avail, rng) for avail in observations["avail_actions"]]
        observations, rewards, terminations, truncations, infos = envs.step(np.array(actions))
        assert observations in envs.observation_space
        for i, env in enumerate(singles):
            expected, reward, terminated, truncated, info = env.step(actions[i])
            assert rewards[i] == reward
            assert terminations[i] == terminated
            assert truncations[i] == truncated
            if terminated or truncated:
                ends += 1
                assert_same(infos["final_obs"][i], expected)
                if args[0] == "smaclite":
                    assert infos["final_info"]["battle_won"][i] == info["battle_won"]
                expected, _ = env.reset()
            assert_same(one_of(observations, i), expected)
    assert ends >= 3
    # A reset in the middle, with a seed.
    observations, _ = envs.reset(seed=8)
    for i, env in enumerate(singles):
        assert_same(one_of(observations, i), env.reset(seed=8 + i)[0])


@pytest.mark.parametrize("args", [("smaclite", "3m"), SPREAD])
def test_spaces_of_a_vector_environment_have_the_ids(args, make_envs):
    envs = make_envs(*args)
    without = make_envs(*args, agent_ids=False)
    n_agents, obs_dim = without.single_observation_space["obs"].shape
    assert envs.single_observation_space["obs"].shape == (n_agents, obs_dim + n_agents)
    assert envs.observation_space["obs"].shape == (2, n_agents, obs_dim + n_agents)
    assert without.observation_space["obs"].shape == (2, n_agents, obs_dim)
    assert envs.observation_space["obs"].dtype == np.float32
    for key in ("state", "avail_actions"):
        assert envs.observation_space[key] == without.observation_space[key]


def test_vector_observations_are_not_overwritten_by_later_steps(make_envs):
    envs = make_envs("smaclite", "3m")
    observations, _ = envs.reset()
    before = {key: values.copy() for key, values in observations.items()}
    latest = observations
    for _ in range(5):
        latest, *_ = envs.step(first_actions(latest))
    assert_same(observations, before)
    assert not np.array_equal(latest["obs"], before["obs"])


@pytest.mark.parametrize(
    ("args", "limit", "lines"),
    [(("smaclite", "3m"), 3, 0), (LBF, 3, 0), (CLOCK, 1, 1)],  # only PettingZoo's say it
)
def test_vector_environments_truncate(args, limit, lines, make_envs, capsys):
    envs = make_envs(*args, max_episode_steps=limit)
    observations, _ = envs.reset()
    for step in range(1, 3 * limit + 1):
        observations, _, terminations, truncations, _ = envs.step(first_actions(observations))
        assert truncations.tolist() == [step % limit == 0] * 2
        assert not terminations.any()
    shown = capsys.readouterr().err
    assert shown.count("warning") == lines
    assert shown.count("--max-episode-steps") == lines


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("smaclite", "3mm"), "--env-name: there is no map '3mm'"),
        (("lbf", "Foraging-5x5-2p-1f-v9"), "Foraging-5x5-2p-1f-v3"),
    ],
)
def test_errors_of_a_vector_environment(args, words, make_envs):
    with pytest.raises(UsageError) as error:
        make_envs(*args)
    assert words in str(error.value)


def test_no_memory_to_share_is_one_line(make_envs, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", fail)
    with pytest.raises(UsageError, match=r"--num-envs: .*No space left on device.*/dev/shm"):
        make_envs(*CLOCK)


def test_the_last_infos_of_workers_are_kept(make_envs, monkeypatch, capsys):
    monkeypatch.setattr(clock, "parallel_env", foreign.TellsSuccess)
    envs = make_envs(*CLOCK)
    observations, _ = envs.reset()
    for _ in range(4):
        observations, *_, infos = envs.step(first_actions(observations))
    assert infos["final_info"]["battle_won"].tolist() == [True, True]
    assert infos["final_info"]["cost"].tolist() == [1, 1]
    assert capsys.readouterr().err == ""


# Generators of workers


def test_every_worker_has_generators_of_its_own(make_envs):
    np.random.seed(3)
    envs = make_envs("pz", "dice", "tests.envs", agent_ids=False)
    # gymnasium makes one environment in the main process too, whose generators go on.
    main = np.random.RandomState(3).random(1000).astype(np.float32)
    assert np.float32(np.random.random()) in main[:3]
    drawn = []
    for i in range(2):
        seed = int(np.random.SeedSequence([3, i + 1]).generate_state(1)[0])
        python = random.Random(seed)
        numpy = np.random.RandomState(seed)
        pytorch = torch.Generator().manual_seed(seed)
        rows = []
        for _ in range(20):
            numbers = [python.random(), numpy.random(), torch.rand(1, generator=pytorch).item()]
            rows.append(numbers)
        drawn.append(np.float32(rows))
    observations, _ = envs.reset()
    for _ in range(10):
        for i in range(2):
            assert (drawn[i] == observations["obs"][i, 0]).all(axis=1).any()
        assert not np.isin(observations["obs"], main).any()
        observations, *_ = envs.step(np.zeros((2, 2), int))
    assert len(np.unique(drawn)) == 2 * 20 * 3


# How workers end


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def alive(envs):
    return [process.is_alive() for process in envs.processes]


def test_close_ends_the_workers_and_is_harmless_twice(make_envs):
    envs = make_envs(*CLOCK)
    envs.reset()
    assert alive(envs) == [True, True]
    envs.close()
    assert alive(envs) == [False, False]
    assert envs.closed
    envs.close()


def test_close_ends_the_other_workers_of_one_that_died(make_envs):
    envs = make_envs(*CLOCK)
    envs.reset()
    envs.processes[0].kill()
    envs.processes[0].join(timeout=30)
    envs.close()
    assert alive(envs) == [False, False]


def test_workers_close_their_environments(make_envs, monkeypatch, tmp_path):
    monkeypatch.setattr(Clock, "close", lambda env: (tmp_path / str(os.getpid())).touch())
    envs = make_envs(*CLOCK)
    envs.reset()
    envs.close()
    closed = {int(path.name) for path in tmp_path.iterdir()}
    assert {process.pid for process in envs.processes} <= closed


def test_deaf_workers_are_killed(make_envs):
    envs = make_envs("pz", "deaf", "tests.envs")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # this process has made one too
    envs.reset()
    for _ in range(9):
        envs.step(np.zeros((2, 3), int))
    envs.step_async(np.zeros((2, 3), int))
    start = time.monotonic()
    envs.close()
    assert time.monotonic() - start < 30
    assert alive(envs) == [False, False]
    envs.close()


@pytest.mark.filterwarnings("ignore:.*Worker")
def test_a_dead_worker_is_noticed_though_its_environment_has_a_process(make_envs):
    envs = make_envs("pz", "deaf", "tests.envs")  # whose process holds the worker's pipe
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    envs.reset()
    envs.processes[1].kill()
    with pytest.raises(WorkerDied):
        for _ in range(9):
            envs.step(np.zeros((2, 3), int))


def test_workers_leave_signals_to_the_main_process(make_envs):
    envs = make_envs(*CLOCK)
    observations, _ = envs.reset()
    for process in envs.processes:
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGINT)
        os.kill(process.pid, signal.SIGHUP)
    envs.step(first_actions(observations))
    assert alive(envs) == [True, True]


@pytest.mark.parametrize(
    ("how", "code"), [("close", 0), ("end of the program", 0), ("SIGKILL", -signal.SIGKILL)]
)
def test_no_way_leaves_a_process_behind(how, code):
    program = REPO / "tests" / "programs" / "deaf_workers.py"
    command = [sys.executable, str(program), how]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 4  # two workers with a process each
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_workers_of_a_server_that_forks_live():
    """Python 3.14 starts processes so on Linux: their parent is not the main process."""
    program = """
import multiprocessing
import numpy as np
from cleanmarl.vector_envs import make_vector_env
multiprocessing.set_start_method("forkserver")
envs = make_vector_env("pz", "clock", "tests.envs", True, 3, 2)
envs.reset()
envs.step(np.zeros((2, 3), int))
envs.close()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_environments_with_networks_of_torch_do_not_wait_for_ever(tmp_path):
    """A forked process has one thread: it must not wait for those of the main process."""
    words = "--env-type pz --env-family tests.envs --env-name dreaming --num-envs 2"
    words = [*words.split(), "--total-timesteps", "30", "--batch-size", "2"]
    two_threads = ENVIRON | {"OMP_NUM_THREADS": "2"}
    subprocess.run(
        command("qmix_multienvs", *words), env=two_threads, cwd=tmp_path, timeout=120, check=True
    )


@pytest.mark.parametrize("command", ["reset", "step"])
def test_a_dead_worker_has_an_error_of_its_own(command, make_envs):
    envs = make_envs(*CLOCK)
    observations, _ = envs.reset()
    envs.processes[1].kill()
    envs.processes[1].join(timeout=30)
    with pytest.raises(WorkerDied, match=r"a worker process died .* --num-envs"):
        if command == "reset":
            envs.reset()
        else:
            envs.step(first_actions(observations))


def test_a_worker_that_dies_at_once_has_the_same_error(make_envs):
    with pytest.raises(WorkerDied, match="a worker process died"):
        make_envs("pz", "stillborn", "tests.envs")


@pytest.mark.parametrize(
    ("env_name", "words"),
    [
        ("connecting", "ConnectionResetError: the game server has closed"),  # like a dead worker's
        ("troubled", "OwnError: a bug with a lock"),  # cannot be pickled
        ("exiting", r"the environment has called sys.exit\(\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*")
def test_errors_of_workers_arrive_as_runtime_errors(env_name, words, make_envs):
    envs = make_envs("pz", env_name, "tests.envs")
    observations, _ = envs.reset()
    with pytest.raises(RuntimeError, match=words) as error:
        for _ in range(6):
            observations, *_ = envs.step(first_actions(observations))
    assert not isinstance(error.value, WorkerDied)
