"""The benchmark's tools as programs: the smoke suite through run.py and plot.py, failures, and interrupts."""

import contextlib
import importlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import CLOCK, REPO, SCRIPTS, run_dir
from tests.helpers import run as train

KEY = ["environment", "label", "seed"]
SPREAD = ("--env-type", "pz", "--env-name", "simple_spread_v3")

RESULTS = REPO / "benchmark" / "results"
NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc"
)


def start(program, *args, **options):
    command = [sys.executable, str(REPO / "benchmark" / f"{program}.py"), *map(str, args)]
    environ = {
        key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"
    } | options.pop("env", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=REPO, env=environ, **pipes, **options)


def run(program, *args, **options):
    """A finished program: its exit code and all it has printed."""
    process = start(program, *args, **options)
    output, errors = process.communicate()
    return process.returncode, output + errors


def processes_in(folder):
    """The processes that work in a folder or below, that is the runs, their guards and workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if (entry / "cwd").readlink().is_relative_to(folder):
                found.append(int(entry.name))
    return found


def descendants(pid):
    """The processes that a process has started, and they, and so on."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(entry.name)] = int(
                (entry / "stat").read_text().rpartition(")")[2].split()[1]
            )
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def trainings_in(folder):
    """The runs among the processes of a folder, without what they have started."""
    pids = processes_in(folder)
    return [
        pid
        for pid in pids
        if b"cleanmarl" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[1]
    ]


def wait_for(condition, seconds=60):
    deadline = time.time() + seconds
    while not (value := condition()) and time.time() < deadline:
        time.sleep(0.1)
    return value


def statuses(root):
    paths = root.glob("smoke/two_step_game/*/seed*/status.json")
    return {f"{path.parts[-3]}/{path.parts[-2]}": json.loads(path.read_text()) for path in paths}


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@NEEDS_PROC
def test_smoke_suite(tmp_path):
    """From runs that fail, through the whole suite, to tables and figures, and to these from the CSV files alone."""
    where = ("smoke", "--runs-dir", tmp_path / "runs")
    qmix = tmp_path / "runs" / "smoke" / "two_step_game" / "qmix"
    process = start("run", *where, "--scripts", "qmix", "--seeds", 2, -1, 1, "--jobs", 2)
    (killed,) = wait_for(lambda: trainings_in(qmix / "seed2"))
    os.kill(killed, signal.SIGKILL)
    output, errors = process.communicate()
    assert process.returncode == 1, output + errors
    assert "seed 2: FAILED (exit code 137, SIGKILL), the end of" in output
    assert "seed -1: FAILED (exit code 2), the end of" in output
    assert "    qmix.py: --seed -1 is out of range" in output  # the end of its log
    assert "seed 1: finished" in output and "1 run finished, 2 failed" in output
    exit_codes = {name: status["exit_code"] for name, status in statuses(tmp_path / "runs").items()}
    assert exit_codes == {"qmix/seed2": 137, "qmix/seed-1": 2, "qmix/seed1": 0}
    (qmix / "seed2" / "remains").touch()
    shutil.rmtree(qmix / "seed-1")

    code, output = run("run", *where, "--progress", 2)
    assert code == 0, output
    assert output.count("skipped") == 1 and "qmix  seed 1: skipped, it is finished" in output
    assert not (qmix / "seed2" / "remains").exists()
    done = statuses(tmp_path / "runs")
    assert set(done) == {f"{script}/seed{seed}" for script in SCRIPTS for seed in (1, 2)}
    for name, status in done.items():
        script, seed = name.split("/seed")
        assert (
            status["exit_code"] == 0
            and status["seconds"] > 0
            and status["machine"]
            and status["packages"]["torch"]
        )
        assert status["command"].startswith(f"python cleanmarl/{script}.py --env-type pz ")
        assert status["command"].endswith(f"--seed {seed}")
        folder = qmix.parent / script / f"seed{seed}"
        assert "eval/ep_reward" in (folder / "log.txt").read_text()
        assert list(folder.glob(f"runs/{script}__pz__two_step_game__{seed}__*/events.out.*"))
        assert name == "qmix/seed1" or (
            status["command"] in output and f"{script}  seed {seed}: finished" in output
        )
    assert "steps/s, " in output and " left" in output and "evaluation: return " in output

    code, output = run("run", *where)  # nothing is left to do
    assert (
        code == 0 and output.count("skipped, it is finished") == 8 and "0 runs finished" in output
    )
    assert statuses(tmp_path / "runs") == done

    results, again = tmp_path / "results", tmp_path / "again"
    code, output = run("plot", *where, "--results-dir", results)
    assert code == 0, output
    assert (results / "smoke.png").read_bytes().startswith(b"\x89PNG")
    curves = pd.read_csv(results / "smoke.csv")
    assert list(curves) == [*KEY, "step", "seconds", "return", "battle_won", "rollout_return"]
    assert (
        len(curves) > 8 * 80 and curves.step.max() == 2000 and curves["return"].between(0, 8).all()
    )
    runs = pd.read_csv(results / "smoke_runs.csv")
    assert set(runs.command) == {status["command"] for status in done.values()}
    assert (runs.last_return == 8).all() and (runs.steps == 2000).all()
    table = (results / "smoke.md").read_text()
    assert (
        "| two_step_game | qmix_lstm | 2 | 2,000 | 8.00 [8.00, 8.00] |" in table
        and "All of the suite" in table
    )
    data = json.loads((results / "smoke.json").read_text())["smoke"]["two_step_game"]
    assert set(data) == set(SCRIPTS)
    for algorithm in data.values():
        assert set(algorithm) == {"run_1", "run_2"}
        for steps in algorithm.values():
            assert steps["step_99"] == {"step_count": 2000, "return": [8.0]}
            assert steps["absolute_metrics"] == {"return": [8.0]} and len(steps) == 101

    again.mkdir()
    for name in ("smoke.csv", "smoke_runs.csv"):  # all else follows from these
        shutil.copy(results / name, again)
    code, output = run("plot", "smoke", "--from-csv", "--results-dir", again)
    assert code == 0, output
    for name in ("smoke.csv", "smoke_runs.csv", "smoke.md", "smoke.json"):
        assert (results / name).read_bytes() == (again / name).read_bytes(), name

    # A clone with only some of the runs: the CSV files keep the others, and nothing changes.
    for script in SCRIPTS[1:]:
        shutil.rmtree(qmix.parent / script)
    shutil.rmtree(qmix / "seed2")
    code, output = run("plot", *where, "--results-dir", again)
    assert code == 0 and "1 runs in" in output and "7 others in" in output
    for name in ("smoke.csv", "smoke_runs.csv", "smoke.md", "smoke.json"):
        assert (results / name).read_bytes() == (again / name).read_bytes(), name
    code, output = run("plot", *where, "--results-dir", tmp_path / "one")  # one seed of one line
    assert code == 0, output
    table = (tmp_path / "one" / "smoke.md").read_text()
    assert "| two_step_game | qmix | 1 | 2,000 | 8.00 | 8.00 |" in table
    assert (
        "- two_step_game, qmix: seeds 2\n- two_step_game, qmix_memefficient: seeds 1 2\n" in table
    )


@pytest.mark.parametrize(
    "suite", [path.name.removesuffix("_runs.csv") for path in RESULTS.glob("*_runs.csv")]
)
def test_published_results_follow_from_their_csv(suite, tmp_path):
    for name in (f"{suite}.csv", f"{suite}_runs.csv"):
        shutil.copy(RESULTS / name, tmp_path)
    code, output = run("plot", suite, "--from-csv", "--results-dir", tmp_path)
    assert code == 0, output
    for name in (f"{suite}.md", f"{suite}.json"):
        assert (RESULTS / name).read_bytes() == (tmp_path / name).read_bytes(), name
    runs = pd.read_csv(RESULTS / f"{suite}_runs.csv")
    assert not runs.commit.str.contains("dirty|unknown").any()


@pytest.mark.slow
@NEEDS_PROC
@pytest.mark.parametrize("how", ["ctrl-c", "SIGKILL"])
def test_no_process_outlives_the_driver(how, tmp_path):
    args = ("smoke", "--scripts", "qmix_multienvs", "--seeds", 1, "--runs-dir", tmp_path)
    process = start("run", *args, start_new_session=True)
    assert wait_for(
        lambda: len(processes_in(tmp_path)) >= 7
    )  # the run, its four workers and its two guards
    pids = [*descendants(process.pid), *processes_in(tmp_path)]
    if how == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    else:
        process.kill()
    output, errors = process.communicate(timeout=60)
    if how != "SIGKILL":
        assert process.returncode == 130, output + errors
        assert "interrupted" in output and "Traceback" not in errors
    assert wait_for(lambda: not processes_in(tmp_path))
    # Killed without a chance to say anything to Ray, it leaves two of Ray's agents, which take their time.
    assert how == "SIGKILL" or wait_for(lambda: not any(map(is_running, pids)))
    assert all(status["exit_code"] is None for status in statuses(tmp_path).values())


@pytest.mark.parametrize(
    ("code", "error", "said"), [(0, "node lost", "node lost"), (255, None, "exit code 255")]
)
def test_a_run_that_ended_oddly_has_failed(code, error, said, tmp_path, monkeypatch, capsys):
    """One whose files are lost although its script has ended well; an exit code that looks like a signal's."""
    monkeypatch.syspath_prepend(str(REPO / "benchmark"))
    program, suites = importlib.import_module("run"), importlib.import_module("suites")
    line = suites.SUITES["smoke"][0]
    run = program.Run(line, 1, tmp_path, 60)
    run.folder.mkdir(parents=True)
    run.status = {"command": run.command, "exit_code": code}
    assert not run.finish(error)
    assert f"FAILED ({said})" in capsys.readouterr().out
    assert not suites.is_finished(line, run.folder, 1)


def test_a_seed_that_is_given_twice_runs_once(monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "benchmark"))
    program = importlib.import_module("run")
    chosen = program.select(program.Args("smoke", scripts=("qmix",), seeds=(3, 1, 3)))
    assert [seed for _, seed in chosen] == [3, 1]


@pytest.mark.slow
def test_a_node_without_the_drivers_disk_sends_the_files(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPO / "benchmark"))
    train = importlib.import_module("run").train
    command = f"python cleanmarl/qmix.py {' '.join(CLOCK)} --total-timesteps 80"
    *_, status, last = train(command, str(REPO), str(tmp_path / "elsewhere"), "{}", 60)
    assert status["exit_code"] == 0
    with tarfile.open(fileobj=io.BytesIO(last["files"])) as tar:
        names = tar.getnames()
    assert "./log.txt" in names and any("/events.out." in name for name in names)
    assert not list(tmp_path.iterdir())


# An episode of the clock goes through four states. In simple_spread the landmarks' distances change at every step.
@pytest.mark.slow
@pytest.mark.parametrize(("env", "steps", "stuck"), [(CLOCK, 4, 100), (SPREAD, 25, 0)])
@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_loops_are_counted(script, env, steps, stuck, tmp_path):
    train(script, *env, "--total-timesteps", 80, "--batch-size", 2, cwd=tmp_path)
    code, output = run("loops", run_dir(tmp_path), "--episodes", 3, env={"PYTHONPATH": str(REPO)})
    assert code == 0, output
    assert f"{steps}.0 steps" in output
    assert "cut off by the time limit: 100%" in output
    assert f"last 20 steps: {stuck}%" in output


@pytest.mark.slow
def test_speed_has_every_table():
    few = (
        "--steps",
        200,
        "--rounds",
        1,
        "--seconds",
        0.01,
        "--num-envs",
        2,
        "--maps",
        "3m",
        "--replay-maps",
        "3m",
    )
    code, output = run(
        "speed", *few, "--tasks", "lbf:Foraging-5x5-2p-1f-v3", "--scripts", "qmix", "qmix_lstm"
    )
    assert code == 0, output
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in output.splitlines()
        if line[:2] == "| "
    ]
    names = "environment lbf:Foraging-5x5-2p-1f-v3 map 3m script qmix qmix_lstm script qmix qmix_lstm map 3m"
    assert [row[0] for row in rows] == names.split()
    shares = [int(share) for share in re.findall(r"(\d+)%", rows[5][-1])]
    assert 97 <= sum(shares) <= 103
    # A step of 3m: observations (3, 33), state (48,), both again, available actions (3, 9), actions, reward, done.
    assert rows[-1][1] == f"{4 * 2 * (3 * 33 + 48) + 3 * 9 + 3 * 8 + 4 + 1:,d}"


def test_what_cannot_work_is_one_line(tmp_path):
    assert run("speed", "--maps", "4m")[1].startswith(
        "speed.py: --maps: there is no 4m; choose from "
    )
    assert run("speed", "--tasks", "3m")[0] == 2
    for program in ("run", "plot"):
        assert run(program, "smok") == (
            2,
            f"{program}.py: there is no suite smok: take one of smaclite, lbf, mpe, smoke\n",
        )
    code, output = run("run", "smaclite", "--envs", "4m")
    assert (
        code == 2
        and "--envs 4m" in output
        and "3m, MMM, 2s3z" in output
        and output.count("\n") == 1
    )
    code, output = run("plot", "smoke", "--runs-dir", tmp_path, "--results-dir", tmp_path)
    assert code == 2 and "python benchmark/run.py smoke" in output


@pytest.mark.parametrize(("program", "package"), [("run", "ray"), ("plot", "rliable")])
def test_a_missing_extra(program, package, tmp_path):
    (tmp_path / f"{package}.py").write_text(
        f"raise ModuleNotFoundError('No module named {package}', name='{package}')"
    )
    code, output = run(program, "smoke", env={"PYTHONPATH": str(tmp_path)})
    assert code == 2 and output.count("\n") == 1 and 'pip install -e ".[benchmark]"' in output
