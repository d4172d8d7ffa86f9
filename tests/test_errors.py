"""Bad input ends with one line and exit code 2, and what ends a run loses nothing."""

import contextlib
import errno
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from cleanmarl import SCRIPTS, UsageError
from tests.envs import clock
from tests.envs.clock import Clock
from tests.helpers import (
    CLOCK,
    ENVIRON,
    LBF,
    PZ,
    command,
    module,
    run_dir,
    run_here,
    scalars,
    words,
)

# Bad input

NOT_A_NUMBER = "--env-type pz --env-family tests.envs --env-name not_a_number"
BAD = [
    ("--env-type starcraft", "--env-type"),
    ("--env-type lbf --env-name Foraging-5x5-2p-1f-v9", "--env-name"),
    ("--env-type pz --env-name simple_spraed_v3", "simple_spread_v3"),
    ("--env-type pz --env-family no_such_family --env-name x", "--env-family"),
    ("--env-type pz --env-family= --env-name x", "--env-family"),
    ("--env-type pz --env-family atari --env-name pong_v3", "pettingzoo[atari]"),
    ("--env-type pz --env-family sisl --env-name multiwalker_v9", "Discrete"),
    (NOT_A_NUMBER, "nan for the observation of 'agent_0'"),  # by the check
    ("--env-type smaclite_upstream", "--env-type"),
    ("--env-type lbf --env-name Foraging-5x5-2p-1f-v3 --device cuda:7", "--device"),
    ("--env-type lbf --env-name Foraging-5x5-2p-1f-v3 --device abacus", "--device"),
    ("--env-type lbf --env-name Foraging-5x5-2p-1f-v3 --device meta", "--device"),
    ("--env-type lbf --env-name Foraging-5x5-2p-1f-v3 --optimizer Adma", "--optimizer"),
    ("--env-type lbf --env-name Foraging-5x5-2p-1f-v3 --optimizer LBFGS", "--optimizer"),
    ("--env-type lbf --env-name Foraging-5x5-2p-1f-v3 --optimizer lr_scheduler", "--optimizer"),
    ("--gamma 1.1", "--gamma"),
    (f"--buffer-size {10**20}", "--buffer-size"),
    ("--hidden-dim 100000000", "--hidden-dim"),
    ("--hyper-dim 100000000", "--hyper-dim"),
]
CASES = [("qmix", *case) for case in BAD]
CASES += [
    ("qmix_memefficient", "--gamma 1.1", "--gamma"),
    ("qmix_multienvs", "--num-envs 0", "--num-envs"),
    ("qmix_multienvs", NOT_A_NUMBER, "nan for the observation of 'agent_0'"),
    ("qmix_lstm", "--tbptt 0", "--tbptt"),
]


@pytest.mark.parametrize(("script", "args", "word"), CASES)
def test_one_line_and_no_folder(script, args, word, tmp_path, monkeypatch, capfd):
    with pytest.raises(SystemExit) as stop:
        run_here(script, *words(args), cwd=tmp_path, monkeypatch=monkeypatch)
    out, err = capfd.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith(f"{script}.py: ")
    assert word in err
    assert not list(tmp_path.iterdir())


OUT_OF_RANGE = [
    ("buffer_size", 0),
    ("batch_size", 0),
    ("batch_size", 20),  # more than the buffer holds
    ("gamma", 1.1),
    ("gamma", -0.1),
    ("gamma", float("nan")),
    ("start_e", 2),
    ("end_e", -1),
    ("exploration_fraction", 1.5),
    ("polyak", 1.01),
    ("learning_rate", 0),
    ("learning_rate", float("inf")),
    ("total_timesteps", 0),
    ("train_freq", 0),
    ("target_network_update_freq", 0),
    ("hidden_dim", 0),
    ("hyper_dim", -3),
    ("num_layers", 0),
    ("log_every", 0),
    ("eval_steps", 0),
    ("num_eval_ep", 0),
    ("seed", -1),
    ("seed", 2**31),
    ("max_episode_steps", 0),
]
RANGES = [("qmix", *case) for case in OUT_OF_RANGE]
RANGES += [
    ("qmix_multienvs", "num_envs", 0),
    ("qmix_multienvs", "n_epochs", 0),
    ("qmix_lstm", "tbptt", 0),
]


@pytest.mark.parametrize(("script", "name", "value"), RANGES)
def test_numbers_out_of_range(script, name, value):
    args = module(script).Args(**{"buffer_size": 10, "batch_size": 10, name: value})
    with pytest.raises(UsageError) as error:
        module(script).check_args(args)
    flag = "--" + name.replace("_", "-")
    message = str(error.value)
    if name == "buffer_size":
        flag = "--b"  # the batch does not fit into it either
    assert message.startswith(flag)
    assert "\n" not in message


def test_numbers_just_within_range():
    args = module("qmix").Args(
        gamma=1, polyak=1, exploration_fraction=0, batch_size=7, buffer_size=7, seed=0
    )
    module("qmix").check_args(args)


def test_networks_that_cannot_be_built_leave_no_folder(tmp_path, monkeypatch):
    def no_memory(*args, **kwargs):
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(torch.nn, "Linear", no_memory)
    with pytest.raises(RuntimeError, match="memory"):
        run_here("qmix", *CLOCK, cwd=tmp_path, monkeypatch=monkeypatch)
    assert not list(tmp_path.iterdir())


def test_wandb_that_does_not_start_leaves_no_folder(tmp_path, monkeypatch):
    def init(**_):
        raise RuntimeError("not logged in")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(RuntimeError, match="not logged in"):
        run_here("qmix", *CLOCK, "--use-wnb", cwd=tmp_path, monkeypatch=monkeypatch)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_bad_input_from_the_command_line(tmp_path, monkeypatch, capfd):
    args = ("--gamma", "2", *LBF)
    done = subprocess.run(
        command("qmix", *args), cwd=tmp_path, env=ENVIRON, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "--gamma" in done.stderr
    for args in (("--no-such-argument", "1"), ("--gamma", "high")):  # tyro's own words
        with pytest.raises(SystemExit) as stop:
            run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
        assert stop.value.code == 2
        assert args[0] in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


# What ends a run


def test_loss_that_is_not_finite(tmp_path, monkeypatch):
    args = (*PZ, "not_finite", "--batch-size", 2)
    with pytest.raises(SystemExit) as stop:
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code.startswith("qmix.py: loss is not finite")
    assert "--learning-rate" in stop.value.code
    weights = torch.load(run_dir(tmp_path) / "model.pt", weights_only=True)
    for value in (*weights["q_network"].values(), *weights["mixer"].values()):
        assert value.isfinite().all()


@pytest.mark.parametrize("key", ["reward", "obs", "states"])
def test_an_environment_that_is_no_longer_finite_is_named(key, tmp_path, monkeypatch):
    class Late(Clock):
        """From the ninth episode on something is nan: long after the check."""

        episodes = 0

        def reset(self, seed=None, options=None):
            self.episodes += 1
            return super().reset(seed, options)

        def step(self, actions):
            observations, rewards, *rest = super().step(actions)
            if self.episodes > 8 and key == "reward":
                rewards = dict.fromkeys(rewards, math.nan)
            if self.episodes > 8 and key == "obs":
                observations = {agent: row + math.nan for agent, row in observations.items()}
            return observations, rewards, *rest

        def state(self):
            return np.full(3, math.nan if self.episodes > 8 and key == "states" else self.t)

    monkeypatch.setattr(clock, "parallel_env", Late)
    with pytest.raises(SystemExit) as stop:
        run_here("qmix", *CLOCK, "--num-eval-ep", 1, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code == f"qmix.py: not finite: {key} of the environment"


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
@pytest.mark.filterwarnings("ignore:.*")
def test_an_environments_own_error_is_shown_and_the_model_kept(script, tmp_path, monkeypatch):
    args = (*PZ, "slamming")  # its close() ends the program, which must not hide the error
    with pytest.raises(RuntimeError, match="a bug in the environment"):
        run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert (run_dir(tmp_path) / "model.pt").exists()


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
@pytest.mark.filterwarnings("ignore:.*Worker")
def test_an_environment_that_ends_the_program_is_an_error(script, tmp_path, monkeypatch):
    with pytest.raises(RuntimeError, match=r"called sys\.exit\(\)"):
        run_here(script, *PZ, "exiting", cwd=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_sigterm_keeps_the_model_though_the_environment_ignores_it(script, tmp_path, monkeypatch):
    args = (*PZ, "terminating", "--total-timesteps", 400)
    with pytest.raises(SystemExit) as stop:
        run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code == 143
    assert (run_dir(tmp_path) / "model.pt").exists()


def test_a_signal_keeps_the_model_and_what_has_been_logged(tmp_path, monkeypatch):
    args = (*PZ, "interrupting", *words("--eval-steps 1 --num-eval-ep 5 --log-every 1"))
    with pytest.raises(SystemExit) as stop:
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code == 143
    saved = torch.load(run_dir(tmp_path) / "model.pt", weights_only=True)
    assert saved["script"] == "qmix"
    logged = scalars(tmp_path)
    assert len(logged["eval/ep_reward"]) == 1
    assert len(logged["rollout/ep_reward"]) == 2


@pytest.mark.filterwarnings("ignore:.*Worker")
def test_a_dead_worker_ends_the_run_in_one_line_and_the_model_is_kept(tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run_here("qmix_multienvs", *PZ, "dying", cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code.startswith("qmix_multienvs.py: a worker process died")
    assert "--num-envs" in stop.value.code
    assert (run_dir(tmp_path) / "model.pt").exists()


def test_a_worker_that_dies_before_the_run_ends_it_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run_here("qmix_multienvs", *PZ, "stillborn", cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code.startswith("qmix_multienvs.py: a worker process died")
    assert not (tmp_path / "runs").exists()


@pytest.mark.filterwarnings("ignore:.*Worker")
@pytest.mark.parametrize("end", ["clock", "crashing", "interrupting", "dying"])
def test_no_worker_is_left_behind(end, tmp_path, monkeypatch):
    args = (*PZ, end, *words("--total-timesteps 200 --eval-steps 1"))
    before = set(multiprocessing.active_children())
    try:
        run_here("qmix_multienvs", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    except (RuntimeError, SystemExit) as error:
        assert end != "clock", error
    for worker in set(multiprocessing.active_children()) - before:
        worker.join(timeout=2)
        assert not worker.is_alive()


@pytest.mark.parametrize("end", ["clock", "crashing"])
def test_a_run_closes_its_writer_and_its_environments(end, tmp_path, monkeypatch):
    closed = []

    class Writer(SummaryWriter):
        def close(self):
            closed.append("writer")
            super().close()

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", Writer)
    monkeypatch.setattr(Clock, "close", lambda env: closed.append("environment"))
    args = (*PZ, end, "--total-timesteps", 40)
    if end == "crashing":
        with pytest.raises(RuntimeError):
            run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    else:
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert sorted(closed) == ["environment", "environment", "writer"]


def test_models_are_written_whole_or_not_at_all(tmp_path, monkeypatch, capfd):
    write_bytes = Path.write_bytes
    files = []

    def write_on_a_disk_that_fills_up(path, data):
        files.append(path.name)
        if len(files) <= 2:
            return write_bytes(path, data)
        write_bytes(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_on_a_disk_that_fills_up)
    monkeypatch.setattr(Clock, "close", lambda env: files.append("closed"))
    args = (*PZ, "seasons", *words("--total-timesteps 80 --eval-steps 4 --num-eval-ep 1"))
    args += words("--batch-size 2")
    with pytest.raises(SystemExit) as stop:
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    # The run ends at the second best model, and its environments are closed.
    best, last = "best_model.pt.tmp", "model.pt.tmp"
    assert files == ["qmix.py.tmp", best, best, last, "closed", "closed"]
    folder = run_dir(tmp_path)
    line = f"qmix.py: {folder / 'model.pt'} cannot be written: No space left on device"
    assert stop.value.code == line
    assert {path.name for path in folder.glob("*.pt*")} == {"best_model.pt"}
    last_line = capfd.readouterr().out.splitlines()[-1]
    assert f" {folder} --best " in last_line


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_disk_that_is_full_from_the_start_is_one_line(script, tmp_path, monkeypatch):
    def write_nothing(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_nothing)
    with pytest.raises(SystemExit) as stop:
        run_here(script, *CLOCK, cwd=tmp_path, monkeypatch=monkeypatch)
    file = run_dir(tmp_path) / f"{script}.py"
    assert stop.value.code == f"{script}.py: {file} cannot be written: No space left on device"


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_a_log_that_cannot_be_written_is_one_line(script, tmp_path, monkeypatch):
    def add_scalar(self, tag, value, step):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", add_scalar)
    with pytest.raises(SystemExit) as stop:
        run_here(script, *CLOCK, cwd=tmp_path, monkeypatch=monkeypatch)
    folder = run_dir(tmp_path)
    line = f"{script}.py: {folder} cannot be written: No space left on device"
    assert stop.value.code == line
    assert (folder / "model.pt").exists()


def test_a_run_folder_that_is_gone_is_one_line(tmp_path, monkeypatch):
    class Removes(Clock):
        def step(self, actions):
            shutil.rmtree(tmp_path / "runs", ignore_errors=True)
            return super().step(actions)

    monkeypatch.setattr(clock, "parallel_env", Removes)
    args = (*CLOCK, *words("--total-timesteps 8 --num-eval-ep 1"))
    with pytest.raises(SystemExit, match=r"model\.pt cannot be written: No such file or directory"):
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("name", ["runs", "read_only"])
def test_a_folder_that_cannot_be_written_is_one_line(name, tmp_path, monkeypatch, capfd):
    if name == "runs":
        (tmp_path / "runs").touch()
    else:  # root can write anywhere
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SystemExit) as stop:
        run_here("qmix", *CLOCK, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1
    assert str(tmp_path) in err


@pytest.mark.slow
def test_a_workers_own_traceback_is_shown(tmp_path):
    args = (*PZ, "crashing")
    done = subprocess.run(
        command("qmix_multienvs", *args), cwd=tmp_path, env=ENVIRON, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert 'raise RuntimeError("a bug in the environment")' in done.stderr


@pytest.fixture
def start():
    """Start long runs, each in a session of its own, and leave none of them behind."""
    groups = []

    def start_one(script, cwd):
        groups.append(start_run(script, cwd))
        return groups[-1]

    yield start_one
    for process in groups:
        if session(process):
            os.killpg(process.pid, signal.SIGKILL)


def start_run(script, cwd):
    """A long run, once it has trained for a while and logged its first evaluation."""
    args = (*LBF, "--batch-size", 2, "--log-every", 1, "--eval-steps", 25, "--num-eval-ep", 1)
    # A shell that runs the tests in the background has SIGINT ignored, which processes inherit.
    process = subprocess.Popen(
        command(script, *args),
        cwd=cwd,
        env=ENVIRON,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(2):  # evaluations; when the second is printed, the first has been logged
        assert process.stdout.readline().startswith("step")
    return process


def session(process):
    """The living processes of a run's session: its own and what it has started, no zombies."""
    living = []
    for other in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            is_zombie = other.status() == psutil.STATUS_ZOMBIE
            if os.getsid(other.pid) == process.pid and not is_zombie:
                living.append(other.pid)
    return living


def gone(process):
    """True as soon as none of a run's processes is left."""
    deadline = time.time() + 10
    while session(process) and time.time() < deadline:
        time.sleep(0.1)
    return not session(process)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "to_all"), [("qmix", False), ("qmix_multienvs", False), ("qmix_multienvs", True)]
)
def test_ctrl_c_saves_and_closes(script, to_all, start, tmp_path):
    process = start(script, tmp_path)
    assert len(session(process)) >= (5 if script == "qmix_multienvs" else 1)
    if to_all:  # as a terminal does
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    weights = torch.load(run_dir(tmp_path) / "model.pt", weights_only=True)
    assert weights["script"] == script
    logged = scalars(tmp_path)
    # Parallel environments may end episodes in the same step.
    assert len(logged["rollout/ep_reward"]) >= 40
    assert len(logged["eval/ep_reward"]) >= 1
    assert gone(process)


@pytest.mark.slow
def test_a_dying_worker_ends_the_run(start, tmp_path):
    process = start("qmix_multienvs", tmp_path)
    os.kill(sorted(session(process))[-2], signal.SIGKILL)  # the workers are the youngest processes
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "worker process died" in err
    assert "Traceback" not in err
    assert (run_dir(tmp_path) / "model.pt").exists()
    assert gone(process)
