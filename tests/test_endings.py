"""How runs start and end: memory, signals, logs in files, weights of another run, a resumed run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from tests.helpers import (
    CLOCK,
    ENVIRON,
    PZ,
    REPO,
    SCRIPTS,
    WEATHER,
    command,
    module,
    run_dir,
    run_here,
    scalars,
    words,
)

LBF = words("--env-type lbf --env-name Foraging-5x5-2p-1f-v3")
SPREAD = words("--env-type pz --env-name simple_spread_v3")
SMACLITE = words("--env-type smaclite --env-name 3m")


# Memory


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_memory_of_the_buffer_is_said_before_training(script, tmp_path, monkeypatch, capfd):
    args = (*CLOCK, *words("--total-timesteps 80 --max-episode-steps 4"))
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    (line,) = re.findall(r"^replay buffer: .*$", capfd.readouterr().err, re.M)
    said = int(re.match(r"replay buffer: ([\d,]+) bytes a step, ", line)[1].replace(",", ""))
    episodes = program["buffer"].episodes
    stored = sum(value.nbytes for episode in episodes for value in episode.values())
    steps = sum(len(episode["reward"]) for episode in episodes)
    if script == "qmix_memefficient":  # the last observation and state of each episode
        last = 4 * (program["n_agents"] * program["obs_dim"] + program["state_dim"])
        stored -= last * len(episodes)
    assert said == stored / steps


@pytest.mark.parametrize(("buffer_size", "steps"), [(5000, 1_000_000), (100, 400)])
def test_the_buffer_holds_no_more_than_the_run_or_its_episodes(
    buffer_size, steps, tmp_path, monkeypatch, capfd
):
    # The clock is cut off after 4 steps; it does not say so.
    args = (*CLOCK, *words(f"--buffer-size {buffer_size} --max-episode-steps 4"))
    args = (*args, *words("--total-timesteps 40"))
    program = run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    (line,) = re.findall(r"^replay buffer: .*$", capfd.readouterr().err, re.M)
    largest = min(steps, 40) * program["step_bytes"]
    assert line.endswith(f"up to {largest / 1e6:,.0f} MB")


@pytest.mark.parametrize("script", SCRIPTS)
def test_too_little_memory_is_a_warning(script, tmp_path, monkeypatch, capfd):
    memory = psutil.virtual_memory()._replace(available=100)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    args = (*CLOCK, *words("--total-timesteps 40"))
    run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    (line,) = re.findall(r"^warning: .*memory.*$", capfd.readouterr().err, re.M)
    assert "--buffer-size" in line
    assert "qmix_memefficient.py" in line


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.filterwarnings("ignore:.*Worker")
def test_running_out_of_memory_is_one_line_and_keeps_the_models(script, tmp_path, monkeypatch):
    args = (*PZ, "hungry", *words("--eval-steps 1 --num-eval-ep 1"))
    with pytest.raises(SystemExit) as stop:
        run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert stop.value.code.startswith(f"{script}.py: out of memory")
    assert "--buffer-size" in stop.value.code
    torch.load(run_dir(tmp_path) / "best_model.pt", weights_only=True)
    torch.load(run_dir(tmp_path) / "model.pt", weights_only=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_torch_raises_without_memory_is_known(script):
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**60, dtype=torch.uint8)
    assert module(script).is_out_of_memory(error.value)
    assert not module(script).is_out_of_memory(RuntimeError("another bug"))


# Signals and logs


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
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


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_log_in_a_file_has_whole_lines(script, tmp_path, monkeypatch, capfdbinary):
    monkeypatch.setattr(sys, "stderr", sys.stdout)  # a file of both, as pytest keeps them in files
    args = (*LBF, *words("--batch-size 4 --eval-steps 10 --total-timesteps 1000"))
    run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    text = capfdbinary.readouterr().out.decode()
    evaluations = scalars(tmp_path)["eval/ep_reward"]
    assert "\r" not in text
    assert len(re.findall(r"^step", text, re.M)) == len(evaluations)
    steps = [int(step.replace(",", "")) for step in re.findall(r"^step +([\d,]+)  ", text, re.M)]
    assert steps == [step for step, _ in evaluations]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_last_line_plays_the_better_team(script, tmp_path, monkeypatch, capfd):
    # The seasons pay more and then less: the best evaluation is not the last.
    args = (*PZ, "seasons", *words("--total-timesteps 160 --eval-steps 4 --num-eval-ep 1"))
    run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    last_line = capfd.readouterr().out.splitlines()[-1]
    rewards = [reward for _, reward in scalars(tmp_path)["eval/ep_reward"]]
    assert max(rewards) > rewards[-1]
    assert last_line.startswith(f"last evaluation {rewards[-1]:.2f}, best {max(rewards):.2f}")
    line = re.search(r"python -m cleanmarl.evaluate (\S+) --best$", last_line)
    assert (tmp_path / line[1]).is_dir()


def test_the_last_line_names_no_model_that_was_not_saved(tmp_path, monkeypatch, capfd):
    args = (*CLOCK, *words("--total-timesteps 20 --no-save-model"))
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert capfd.readouterr().out.splitlines()[-1] == "last evaluation 10.00, best 10.00"


# Weights of another run


@pytest.mark.parametrize("script", SCRIPTS)
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
@pytest.mark.parametrize("script", SCRIPTS)
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


@pytest.mark.parametrize("script", SCRIPTS)
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
    assert "64" in err
    assert "32" in err
    assert list((tmp_path / "runs").iterdir()) == [folder]


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("path", ["nothing_here", "pyproject.toml"])
def test_what_holds_no_weights_is_refused_in_one_line(script, path, tmp_path, monkeypatch, capfd):
    with pytest.raises(SystemExit) as stop:
        args = (*CLOCK, "--load-model", REPO / path)
        run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    err = capfd.readouterr().err
    assert stop.value.code == 2
    assert err.count("\n") == 1, err
    assert "--load-model" in err
    assert not list(tmp_path.iterdir())


# A run that is killed and resumed, by the hacking guide's patch


@pytest.mark.slow
@pytest.mark.parametrize("env", [LBF, SPREAD, SMACLITE])
def test_a_killed_run_that_is_resumed_equals_one_that_was_not(env, tmp_path):
    script = tmp_path / "my_resume.py"
    shutil.copy(REPO / "cleanmarl" / "qmix.py", script)
    patch = REPO / "docs" / "patches" / "resume.patch"
    subprocess.run(["patch", "--quiet", str(script), str(patch)], check=True)
    args = (*env, *words("--total-timesteps 2500 --checkpoint-every 10 --batch-size 4"))
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
    evaluations = (line for line in process.stdout if "eval/ep_reward" in line)
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
