"""How runs start and end: memory, signals, logs in files, weights of another run, a resumed run."""

import json
import os
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from tests.envs import clock
from tests.envs.clock import Clock
from tests.helpers import (
    CLOCK,
    ENVIRON,
    LBF,
    PZ,
    REPO,
    SCRIPTS,
    SPREAD,
    WEATHER,
    command,
    run_dir,
    run_here,
    scalars,
    words,
)

SMACLITE = words("--env-type smaclite --env-name 3m")
LINUX = sys.platform.startswith("linux")


# Memory


def memory_lines(capfd):
    return re.findall(r"^replay buffer: .*$", capfd.readouterr().err, re.M)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_memory_of_the_buffer_is_said_after_the_first_episode(
    script, tmp_path, monkeypatch, capfd
):
    num_envs = 4 if script == "qmix_multienvs" else 1
    for steps in (3, 4, 40):  # an episode of the clock has 4
        args = (*CLOCK, "--total-timesteps", steps * num_envs)
        program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
        lines = memory_lines(capfd)
        assert len(lines) == (steps >= 4)
    said = int(re.match(r"replay buffer: ([\d,]+) bytes a step, ", lines[0])[1].replace(",", ""))
    first = program["buffer"].episodes[0]
    # A tensor takes about 650 bytes beside its numbers.
    assert said == sum(tensor.nbytes + 650 for tensor in first.values()) / 4


@pytest.mark.parametrize(
    ("args", "steps"),
    [
        ("--max-episode-steps 4", 5000 * 4),
        ("--max-episode-steps 4 --buffer-size 10000", 10000 * 4),
        ("--max-episode-steps 4 --total-timesteps 10000", 10000),
        ("", 1_000_000),  # the clock does not tell how long its episodes are
    ],
)
def test_the_buffer_holds_no_more_than_the_run_or_its_episodes(
    args, steps, tmp_path, monkeypatch, capfd
):
    args = (*PZ, "interrupting", *words(args), *words("--eval-steps 1 --num-eval-ep 5"))
    with pytest.raises(SystemExit):  # soon
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    (line,) = memory_lines(capfd)
    step_bytes = int(re.search(r"([\d,]+) bytes a step", line)[1].replace(",", ""))
    assert line.endswith(f", up to {step_bytes * steps / 1e6:,.0f} MB")


def test_too_little_memory_is_a_warning(tmp_path, monkeypatch, capfd):
    memory = psutil.virtual_memory()._replace(available=100)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    args = (*CLOCK, *words("--total-timesteps 40"))
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    (line,) = re.findall(r"^warning: .*memory.*$", capfd.readouterr().err, re.M)
    assert "--buffer-size" in line
    assert "qmix_memefficient.py" in line


def test_steps_that_may_not_reach_a_batch_are_a_warning(tmp_path, monkeypatch, capfd):
    args = (*SPREAD, *words("--num-eval-ep 1 --batch-size 2"))  # of 25 steps
    for steps in (49, 50):
        run_here("qmix", *args, "--total-timesteps", steps, cwd=tmp_path, monkeypatch=monkeypatch)
        warnings = re.findall("^warning: --total-timesteps.*$", capfd.readouterr().err, re.M)
        assert len(warnings) == (steps < 50)


def test_the_last_line_says_that_nothing_was_learnt(tmp_path, monkeypatch, capfd):
    args = (*CLOCK, *words("--total-timesteps 16 --batch-size 5 --num-eval-ep 1"))
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    last_line = capfd.readouterr().out.splitlines()[-1]
    assert last_line == "no update: 4 of --batch-size 5 episodes ended"


def test_the_speed_needs_no_clock_that_moves(tmp_path, monkeypatch):
    # Windows' clock stands still for the first steps.
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    run_here("qmix", *CLOCK, "--total-timesteps", 12, cwd=tmp_path, monkeypatch=monkeypatch)


@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_a_run_stays_where_it_began(script, tmp_path, monkeypatch):
    class Moves(Clock):
        def reset(self, seed=None, options=None):
            os.chdir(tmp_path / "elsewhere")
            return super().reset(seed, options)

    monkeypatch.setattr(clock, "parallel_env", Moves)
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    args = (*CLOCK, *words("--total-timesteps 40 --num-eval-ep 1"))
    run_here(script, *args, cwd=tmp_path / "here", monkeypatch=monkeypatch)
    assert {"model.pt", "best_model.pt"} < {
        path.name for path in run_dir(tmp_path / "here").iterdir()
    }
    assert not list(Path().iterdir())


# Signals and logs


@pytest.mark.skipif(not LINUX, reason="reads Linux's structure of sigaltstack")
def test_signals_have_a_stack_of_their_own_in_qmix_lstm(tmp_path):
    program = [sys.executable, REPO / "tests" / "programs" / "alternate_stack.py"]
    args = (*CLOCK, *words("--total-timesteps 12 --batch-size 2 --num-eval-ep 1"))
    script = REPO / "cleanmarl" / "qmix_lstm.py"
    done = subprocess.run(
        [*program, script, *args], cwd=tmp_path, env=ENVIRON, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "before False"
    assert lines[-1] == "after True"


@pytest.mark.slow
def test_no_signal_and_no_second_one_loses_anything(tmp_path):
    program = [sys.executable, REPO / "tests" / "programs" / "signalled_runs.py"]
    args = (tmp_path, "qmix_multienvs", 0, *CLOCK)
    args += words("--batch-size 2 --eval-steps 4 --num-eval-ep 1 --hidden-dim 1000")
    done = subprocess.run(
        [str(word) for word in (*program, *args)], env=ENVIRON, capture_output=True, text=True
    )
    assert done.stdout.endswith(" nothing lost\n"), done.stderr


def test_two_signals_at_the_same_moment_end_a_run_without_a_word():
    program = """
import os, signal, cleanmarl
cleanmarl.SIGNALS[:] = [signal.SIGINT, signal.SIGTERM]
cleanmarl.on_signals(cleanmarl.stop)
signal.pthread_sigmask(signal.SIG_BLOCK, cleanmarl.SIGNALS)
for number in cleanmarl.SIGNALS:
    os.kill(os.getpid(), number)
try:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, cleanmarl.SIGNALS)
finally:
    print("saved")  # here Python looks at the second one
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "saved\n", "")


def test_a_signal_that_an_environment_holds_back_can_be_sent_again(tmp_path, monkeypatch):
    class HoldsBack(Clock):
        """SIGTERM comes in episodes 4 and 6 of an environment, long after the check."""

        episodes = 0
        held_back = 0

        def reset(self, seed=None, options=None):
            self.episodes += 1
            return super().reset(seed, options)

        def step(self, actions):
            if self.episodes in (4, 6) and self.t == 2:
                try:
                    signal.raise_signal(signal.SIGTERM)
                except:  # noqa: E722 (as people write it)
                    HoldsBack.held_back += 1
            return super().step(actions)

    monkeypatch.setattr(clock, "parallel_env", HoldsBack)
    args = (*CLOCK, *words("--total-timesteps 40 --num-eval-ep 1"))
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert HoldsBack.held_back >= 2


@pytest.mark.slow
def test_a_terminal_that_closes_ends_a_run_with_129(tmp_path):
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    terminal, its_end = pty.openpty()

    def open_terminal():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may have started the tests

    args = (*CLOCK, *words("--batch-size 2 --eval-steps 5 --num-eval-ep 1"))
    process = subprocess.Popen(
        command("qmix", *args),
        cwd=tmp_path,
        env=ENVIRON,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        start_new_session=True,
        preexec_fn=open_terminal,
    )
    os.close(its_end)
    seen = b""
    while b"step " not in seen:
        seen += os.read(terminal, 1000)
    os.close(terminal)
    assert process.wait(timeout=60) == 129
    assert (run_dir(tmp_path) / "model.pt").exists()


@pytest.mark.slow
def test_ctrl_c_while_the_simulator_compiles_is_no_traceback(tmp_path):
    process = subprocess.Popen(
        command("qmix"),
        cwd=tmp_path,
        env={**ENVIRON, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert "compiling" in process.stderr.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert err == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_run_needs_neither_stdout_nor_stderr(tmp_path):
    words_ = command("qmix_lstm", *CLOCK, "--total-timesteps", 40, "--num-eval-ep", 1)
    line = f"exec {shlex.join(words_)} >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=ENVIRON)
    assert done.returncode == 0
    assert (run_dir(tmp_path) / "model.pt").exists()
    assert scalars(tmp_path)["eval/ep_reward"]


@pytest.mark.slow
@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs", "qmix_lstm"])
def test_sigterm_saves_closes_and_exits_with_143(script, tmp_path):
    args = (*LBF, *words("--batch-size 2 --log-every 1 --eval-steps 5 --num-eval-ep 1"))
    log = tmp_path / "log.txt"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            command(script, *args), cwd=tmp_path, env=ENVIRON, stdout=file, stderr=file
        )
    while log.read_text().count("\nstep") < 2:
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    saved = torch.load(run_dir(tmp_path) / "model.pt", weights_only=True)
    assert saved["script"] == script
    assert scalars(tmp_path)["eval/ep_reward"]
    assert "Traceback" not in log.read_text()


def test_a_log_in_a_file_has_whole_lines(tmp_path, monkeypatch, capfdbinary):
    monkeypatch.setattr(sys, "stderr", sys.stdout)  # a file of both, as pytest keeps them in files
    args = (*CLOCK, *words("--batch-size 4 --eval-steps 10 --total-timesteps 100"))
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    text = capfdbinary.readouterr().out.decode()
    evaluations = scalars(tmp_path)["eval/ep_reward"]
    assert len(evaluations) == 3
    assert "\r" not in text
    assert len(re.findall(r"^step", text, re.M)) == len(evaluations)
    steps = [int(step.replace(",", "")) for step in re.findall(r"^step +([\d,]+)  ", text, re.M)]
    assert steps == [step for step, _ in evaluations]


@pytest.mark.parametrize(
    ("steps", "last", "best", "flag"),
    [
        (80, 10, 30, " --best"),  # the seasons pay more and then less
        (64, 30, 30, ""),  # the last evaluation is as good as the best
    ],
)
def test_the_last_line_plays_the_better_team(steps, last, best, flag, tmp_path, monkeypatch, capfd):
    args = (
        *PZ,
        "seasons",
        *words("--batch-size 2 --eval-steps 4 --num-eval-ep 1 --total-timesteps"),
        steps,
    )
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    *_, scores, play = capfd.readouterr().out.splitlines()
    assert scores == f"eval/ep_reward {last:.2f} in the last evaluation, {best:.2f} in the best"
    command = f"the better team: python -m cleanmarl.evaluate {run_dir(tmp_path)}{flag}"
    assert play == f"{command} --env-family tests.envs --env-name seasons"


@pytest.mark.parametrize("case", ["copy", "own environment", "map with a space"])
def test_the_last_line_is_a_command_that_works(case, tmp_path, monkeypatch, capfd):
    args = words("--total-timesteps 300 --batch-size 1 --num-eval-ep 1")
    if case == "copy":
        shutil.copy(REPO / "cleanmarl" / "qmix.py", tmp_path / "my_qmix.py")
        args += LBF
    elif case == "own environment":
        args += CLOCK
    else:
        shutil.copy(REPO / "tests" / "maps" / "skirmish.json", tmp_path / "my map.json")
        args += ("--env-name", "my map.json")
    if case == "copy":
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["my_qmix.py", *map(str, args)])
        runpy.run_path("my_qmix.py", run_name="__main__")
    else:
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    last_line = capfd.readouterr().out.splitlines()[-1]
    python, _, module, *given = shlex.split(last_line.removeprefix("the better team: "))
    assert (python, module) == ("python", "cleanmarl.evaluate")
    with pytest.raises(SystemExit) as stop:
        run_here("evaluate", *given, "--episodes", 1, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code == 0, capfd.readouterr().err


@pytest.mark.parametrize(
    ("eval_steps", "flag"),
    [
        (1, " --best"),  # it has gone on learning since the last evaluation
        (50, ""),  # there was no evaluation yet
    ],
)
def test_an_interrupted_run_points_to_a_model(eval_steps, flag, tmp_path, monkeypatch, capfd):
    args = (*PZ, "interrupting", "--eval-steps", eval_steps)
    args += words("--batch-size 1 --num-eval-ep 5")
    with pytest.raises(SystemExit):
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    last_line = capfd.readouterr().out.splitlines()[-1]
    command = f"the better team: python -m cleanmarl.evaluate {run_dir(tmp_path)}{flag}"
    assert last_line == f"{command} --env-family tests.envs --env-name interrupting"


def test_the_last_line_names_no_model_that_was_not_saved(tmp_path, monkeypatch, capfd):
    args = (*CLOCK, *words("--total-timesteps 20 --batch-size 2 --no-save-model"))
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    last_line = capfd.readouterr().out.splitlines()[-1]
    assert last_line == "eval/ep_reward 10.00 in the last evaluation, 10.00 in the best"


# Weights of another run


@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_a_loaded_run_starts_with_the_weights_of_the_other(script, tmp_path, monkeypatch):
    args = (*WEATHER, *words("--total-timesteps 40 --batch-size 2"))
    trained = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    folder = run_dir(tmp_path)
    for path in (folder, folder / "model.pt"):
        # No update: the buffer never holds a batch.
        args = (*WEATHER, *words(f"--total-timesteps 8 --seed 2 --load-model {path}"))
        loaded = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
        for name in ("parameters", "target_parameters"):
            for ours, theirs in zip(loaded[name], trained["parameters"], strict=True):
                assert torch.equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs", "qmix_lstm"])
def test_the_first_evaluation_of_a_loaded_run_is_that_of_evaluate(
    script, tmp_path, monkeypatch, capfd
):
    for folder in ("trained", "loaded"):
        (tmp_path / folder).mkdir()
    args = (*LBF, *words("--total-timesteps 600 --batch-size 4"))
    run_here(script, *args, cwd=tmp_path / "trained", monkeypatch=monkeypatch)
    model = run_dir(tmp_path / "trained")
    args = (*LBF, *words(f"--total-timesteps 60 --num-eval-ep 1 --load-model {model}"))
    run_here(script, *args, cwd=tmp_path / "loaded", monkeypatch=monkeypatch)
    first = scalars(tmp_path / "loaded")["eval/ep_reward"][0][1]
    seed = 1 + 4 if script == "qmix_multienvs" else 1 + 1  # of the evaluation environment
    capfd.readouterr()
    args = (model, *words(f"--json --episodes 1 --seed {seed}"))
    with pytest.raises(SystemExit) as stop:
        run_here("evaluate", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code == 0
    assert json.loads(capfd.readouterr().out)["return"]["mean"] == pytest.approx(first)


@pytest.mark.slow
def test_a_loaded_run_goes_on_with_another_map_of_the_same_sizes(tmp_path, monkeypatch):
    for folder in ("trained", "loaded"):
        (tmp_path / folder).mkdir()
    args = words("--total-timesteps 300 --batch-size 2 --env-type lbf --env-name")
    trained = (*args, "Foraging-5x5-2p-1f-v3")
    run_here("qmix", *trained, cwd=tmp_path / "trained", monkeypatch=monkeypatch)
    loaded = (*args, "Foraging-6x6-2p-1f-v3", "--load-model", run_dir(tmp_path / "trained"))
    run_here("qmix", *loaded, cwd=tmp_path / "loaded", monkeypatch=monkeypatch)
    assert scalars(tmp_path / "loaded")["train/num_updates"][-1][1] > 0


@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_weights_of_other_sizes_are_refused_in_one_line(script, tmp_path, monkeypatch, capfd):
    args = (*CLOCK, *words("--total-timesteps 8"))
    run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    folder = run_dir(tmp_path)
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        args = (*CLOCK, *words(f"--hidden-dim 32 --load-model {folder}"))
        run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    err = capfd.readouterr().err
    assert stop.value.code == 2
    assert err.count("\n") == 1, err
    assert "--load-model" in err
    # The layer and both sizes
    assert "head.weight" in err
    assert "[3, 64]" in err
    assert "[3, 32]" in err
    assert list((tmp_path / "runs").iterdir()) == [folder]


def test_weights_of_0_2_are_refused_in_one_line(tmp_path, monkeypatch, capfd):
    # Their mixers read another state, and fit.
    run_here("qmix", *CLOCK, "--total-timesteps", 8, cwd=tmp_path, monkeypatch=monkeypatch)
    path = run_dir(tmp_path) / "model.pt"
    saved = torch.load(path, weights_only=True)
    torch.save(saved | {"version": "0.2.0"}, path)
    capfd.readouterr()
    with pytest.raises(SystemExit):
        run_here("qmix", *CLOCK, "--load-model", path, cwd=tmp_path, monkeypatch=monkeypatch)
    assert "version 0.2.0" in capfd.readouterr().err


def test_a_file_with_code_is_refused_without_torchs_advice(tmp_path, monkeypatch, capfd):
    torch.save({"q_network": Path}, tmp_path / "code.pt")
    with pytest.raises(SystemExit):
        args = (*CLOCK, "--load-model", "code.pt")
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert "holds code, none of which has been run" in capfd.readouterr().err


def test_weights_that_are_not_finite_are_refused_in_one_line(tmp_path, monkeypatch, capfd):
    run_here("qmix", *CLOCK, "--total-timesteps", 8, cwd=tmp_path, monkeypatch=monkeypatch)
    path = run_dir(tmp_path) / "model.pt"
    saved = torch.load(path, weights_only=True)
    saved["mixer"]["hyper_b1.bias"][0] = float("nan")
    torch.save(saved, path)
    capfd.readouterr()
    with pytest.raises(SystemExit) as stop:
        run_here("qmix", *CLOCK, "--load-model", path, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code == 2
    err = capfd.readouterr().err
    assert "--load-model" in err
    assert "nan" in err


@pytest.mark.parametrize("path", ["nothing_here", "pyproject.toml"])
def test_what_holds_no_weights_is_refused_in_one_line(path, tmp_path, monkeypatch, capfd):
    with pytest.raises(SystemExit) as stop:
        args = (*CLOCK, "--load-model", REPO / path)
        run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    err = capfd.readouterr().err
    assert stop.value.code == 2
    assert err.count("\n") == 1, err
    assert "--load-model" in err
    assert not list(tmp_path.iterdir())


# A run that is killed and resumed, by the hacking guide's patch


@pytest.mark.slow
@pytest.mark.parametrize("env", [SPREAD, SMACLITE])
def test_a_killed_run_that_is_resumed_equals_one_that_was_not(env, tmp_path):
    script = tmp_path / "my_resume.py"
    shutil.copy(REPO / "cleanmarl" / "qmix.py", script)
    patch = REPO / "docs" / "patches" / "resume.patch"
    subprocess.run(["patch", "--quiet", str(script), str(patch)], check=True)
    if env == SPREAD:  # as on a GPU
        script.write_text(script.read_text().replace('device.type != "cpu"', "True"))
    args = (*env, *words("--total-timesteps 1200 --checkpoint-every 10 --batch-size 4"))
    args = (*args, *words("--log-every 3 --eval-steps 7 --num-eval-ep 2"))
    program = [sys.executable, str(script)]
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    subprocess.run([*program, *args], cwd=folders[0], env=ENVIRON, check=True)

    process = subprocess.Popen(
        [*program, *args], cwd=folders[1], env=ENVIRON, stdout=subprocess.PIPE, text=True
    )
    # Kill it at the second evaluation, after 14 episodes: there are checkpoints after 10 and 20.
    evaluations = (line for line in process.stdout if line.startswith("step "))
    assert next(evaluations)
    assert next(evaluations)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert list(folders[1].glob("runs/*/checkpoint.pt"))
    killed_at = scalars(folders[1])["rollout/num_episodes"][-1][1]
    resume = ["--resume", str(run_dir(folders[1]).relative_to(folders[1]))]
    subprocess.run([*program, *resume], cwd=folders[1], env=ENVIRON, check=True)

    whole, resumed = (
        {tag: events for tag, events in scalars(folder).items() if not tag.startswith("time/")}
        for folder in folders
    )
    assert killed_at < whole["rollout/num_episodes"][-1][1]
    assert resumed == whole
    assert Path(run_dir(folders[1]), "model.pt").is_file()
