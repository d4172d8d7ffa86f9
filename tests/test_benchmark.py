"""The benchmark's tools as programs: the smoke suite, its tables, failures, and interrupts."""

import contextlib
import csv
import fcntl
import importlib
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest

from cleanmarl.env_wrappers import make_env
from tests.helpers import CLOCK, PZ, REPO, SCRIPTS, run_dir
from tests.helpers import run as train

KEY = ["environment", "label", "seed"]
SPREAD = ("--env-type", "pz", "--env-name", "simple_spread_v3")
RESULTS = REPO / "benchmark" / "results"
PROGRAMS = REPO / "tests" / "programs"
NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc"
)


def start(program, *args, env=None, repo=REPO, **options):
    command = [sys.executable, str(repo / "benchmark" / f"{program}.py"), *map(str, args)]
    environ = dict(os.environ)
    environ.pop("RAY_ADDRESS", None)
    environ |= env or {}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=repo, env=environ, **pipes, **options)


def run(program, *args, **options):
    """A finished program: its exit code and all it has printed."""
    process = start(program, *args, **options)
    output, errors = process.communicate()
    return process.returncode, output + errors


@pytest.fixture
def plot(monkeypatch, capfd):
    """A function that runs benchmark/plot.py in this process and returns what it has printed."""

    def run_plot(*args):
        monkeypatch.syspath_prepend(str(REPO / "benchmark"))
        monkeypatch.setattr(sys, "argv", ["plot.py", *map(str, args)])
        runpy.run_path(str(REPO / "benchmark" / "plot.py"), run_name="__main__")
        return capfd.readouterr().out

    return run_plot


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports a module of the benchmark."""
    monkeypatch.syspath_prepend(str(REPO / "benchmark"))
    return importlib.import_module


def processes_in(folder):
    """The processes that work in a folder or below, that is the runs, their workers and guards."""
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
            stat = (entry / "stat").read_text()
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def trainings_in(folder):
    """The runs among the processes of a folder, with their workers but without their guards."""
    found = []
    for pid in processes_in(folder):
        with contextlib.suppress(OSError):  # it has just ended
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if len(words) > 1 and Path(words[1]).parent.name == "cleanmarl":
                found.append(pid)
    return found


def wait_for(condition, seconds=60):
    deadline = time.time() + seconds
    value = condition()
    while not value and time.time() < deadline:
        time.sleep(0.1)
        value = condition()
    return value


def statuses(root):
    """What the runs of the smoke suite have as status, by names like qmix/seed1."""
    found = {}
    for path in root.glob("smoke/two_step_game/*/seed*/status.json"):
        found[f"{path.parts[-3]}/{path.parts[-2]}"] = json.loads(path.read_text())
    return found


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def make_smoke(folder):
    """Run the smoke suite: first runs of which two fail, then all, then tables and figures."""
    where = ("smoke", "--runs-dir", folder / "runs")
    qmix = folder / "runs" / "smoke" / "two_step_game" / "qmix"
    process = start("run", *where, "--scripts", "qmix", "--seeds", 2, -1, 1, "--jobs", 2)
    (killed,) = wait_for(lambda: trainings_in(qmix / "seed2"))
    os.kill(killed, signal.SIGKILL)
    output, errors = process.communicate()
    failing = {
        "code": process.returncode,
        "output": output + errors,
        "statuses": statuses(folder / "runs"),
    }
    (qmix / "seed2" / "remains").touch()
    shutil.rmtree(qmix / "seed-1")
    code, output = run("run", *where, "--progress", 2)
    whole = {"code": code, "output": output, "statuses": statuses(folder / "runs")}
    code, output = run("plot", *where, "--results-dir", folder / "results")
    return {"failing": failing, "whole": whole, "plot": {"code": code, "output": output}}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The folder of `make_smoke`, and what it returns. Made once for all workers of pytest."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the workers have it in common
    folder = base / "smoke_suite"
    made = folder / "made.json"
    with open(base / "smoke_suite.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # the remains of a worker that failed
            folder.mkdir()
            made.write_text(json.dumps(make_smoke(folder)))
    return SimpleNamespace(folder=folder, **json.loads(made.read_text()))


@pytest.mark.slow
@NEEDS_PROC
def test_runs_that_fail_are_reported(smoke):
    output = smoke.failing["output"]
    assert smoke.failing["code"] == 1, output
    assert "seed 2: FAILED (exit code 137, SIGKILL), the end of" in output
    assert "seed -1: FAILED (exit code 2), the end of" in output
    assert "    qmix.py: --seed -1 is out of range" in output  # the end of its log
    assert "seed 1: finished" in output
    assert "1 run finished, 2 failed" in output
    exit_codes = {name: run["exit_code"] for name, run in smoke.failing["statuses"].items()}
    assert exit_codes == {"qmix/seed2": 137, "qmix/seed-1": 2, "qmix/seed1": 0}


@pytest.mark.slow
@NEEDS_PROC
def test_only_what_is_unfinished_runs_again(smoke):
    output = smoke.whole["output"]
    assert smoke.whole["code"] == 0, output
    assert output.count("skipped") == 1
    assert "qmix  seed 1: skipped, it is finished" in output
    qmix = smoke.folder / "runs" / "smoke" / "two_step_game" / "qmix"
    assert not (qmix / "seed2" / "remains").exists()
    before = smoke.failing["statuses"]["qmix/seed1"]
    assert smoke.whole["statuses"]["qmix/seed1"] == before


@pytest.mark.slow
@NEEDS_PROC
def test_what_is_kept_of_a_run(smoke):
    done = smoke.whole["statuses"]
    assert set(done) == {f"{script}/seed{seed}" for script in SCRIPTS for seed in (1, 2)}
    for name, status in done.items():
        script, seed = name.split("/seed")
        assert status["exit_code"] == 0
        assert status["seconds"] > 0
        assert status["machine"]
        assert status["packages"]["torch"]
        assert re.fullmatch(r"unknown|[0-9a-f]{12}(\+dirty)?", status["commit"])
        assert status["command"].startswith(f"python cleanmarl/{script}.py --env-type pz ")
        assert status["command"].endswith(f"--seed {seed}")
        folder = smoke.folder / "runs" / "smoke" / "two_step_game" / script / f"seed{seed}"
        assert "eval/ep_reward" in (folder / "log.txt").read_text()
        assert list(folder.glob(f"runs/{script}__pz__two_step_game__{seed}__*/events.out.*"))


@pytest.mark.slow
@NEEDS_PROC
def test_progress_is_reported(smoke):
    output = smoke.whole["output"]
    for name, status in smoke.whole["statuses"].items():
        if name != "qmix/seed1":
            script, seed = name.split("/seed")
            assert status["command"] in output
            assert f"{script}  seed {seed}: finished" in output
    assert "steps/s, " in output
    assert " left" in output
    assert "evaluation: return " in output


@pytest.mark.slow
@NEEDS_PROC
def test_of_a_finished_suite_nothing_runs(smoke):
    code, output = run("run", "smoke", "--runs-dir", smoke.folder / "runs")
    assert code == 0, output
    assert output.count("skipped, it is finished") == 8
    assert "0 runs finished" in output
    assert statuses(smoke.folder / "runs") == smoke.whole["statuses"]


@pytest.mark.slow
@NEEDS_PROC
def test_curves_and_runs_of_a_suite(smoke):
    assert smoke.plot["code"] == 0, smoke.plot["output"]
    results = smoke.folder / "results"
    assert (results / "smoke.png").read_bytes().startswith(b"\x89PNG")
    curves = pd.read_csv(results / "smoke.csv")
    assert list(curves) == [*KEY, "step", "seconds", "return", "battle_won", "rollout_return"]
    assert len(curves) > 8 * 80
    assert curves.step.max() == 2000
    assert curves["return"].between(0, 8).all()
    runs = pd.read_csv(results / "smoke_runs.csv")
    assert set(runs.command) == {run["command"] for run in smoke.whole["statuses"].values()}
    assert (runs.last_return == 8).all()
    assert (runs.steps == 2000).all()


@pytest.mark.slow
@NEEDS_PROC
def test_the_table_of_a_suite(smoke):
    table = (smoke.folder / "results" / "smoke.md").read_text()
    figures = "8.00 [8.00, 8.00] | 8.00 [8.00, 8.00] | 8.00 / 8.00 | 2 of 2 seeds (8) |"
    assert f"| two_step_game | qmix_lstm | 2 | 2,000 | {figures}" in table
    assert "All of the suite was run." in table


@pytest.mark.slow
@NEEDS_PROC
def test_data_for_marl_eval(smoke):
    data = json.loads((smoke.folder / "results" / "smoke.json").read_text())
    data = data["smoke"]["two_step_game"]
    assert set(data) == set(SCRIPTS)
    for algorithm in data.values():
        assert set(algorithm) == {"run_1", "run_2"}
        for steps in algorithm.values():
            assert steps["step_99"] == {"step_count": 2000, "return": [8.0]}
            assert steps["absolute_metrics"] == {"return": [8.0]}
            assert len(steps) == 101


def assert_same_results(results, others):
    for name in ("smoke.csv", "smoke_runs.csv", "smoke.md", "smoke.json"):
        assert (results / name).read_bytes() == (others / name).read_bytes(), name


def copy_csv(results, folder):
    for name in ("smoke.csv", "smoke_runs.csv"):  # all else follows from these
        shutil.copy(results / name, folder)


@pytest.mark.slow
@NEEDS_PROC
def test_the_csv_files_are_enough(smoke, tmp_path, plot):
    copy_csv(smoke.folder / "results", tmp_path)
    plot("smoke", "--from-csv", "--results-dir", tmp_path)
    assert_same_results(smoke.folder / "results", tmp_path)


@pytest.fixture
def one_run(smoke, tmp_path):
    """The runs of a clone that has only one of them."""
    one = Path("smoke", "two_step_game", "qmix", "seed1")
    shutil.copytree(smoke.folder / "runs" / one, tmp_path / "runs" / one)
    return tmp_path / "runs"


@pytest.mark.slow
@NEEDS_PROC
def test_runs_that_are_elsewhere_are_kept(smoke, one_run, tmp_path, plot):
    copy_csv(smoke.folder / "results", tmp_path)
    output = plot("smoke", "--runs-dir", one_run, "--results-dir", tmp_path)
    assert "1 runs in" in output
    assert "7 others in" in output
    assert_same_results(smoke.folder / "results", tmp_path)


@pytest.mark.slow
@NEEDS_PROC
def test_the_table_of_one_seed(one_run, tmp_path, plot):
    plot("smoke", "--runs-dir", one_run, "--results-dir", tmp_path)
    table = (tmp_path / "smoke.md").read_text()
    assert "| two_step_game | qmix | 1 | 2,000 | 8.00 | 8.00 |" in table
    missing = [
        "- two_step_game, qmix: seeds 2\n",
        "- two_step_game, qmix_memefficient: seeds 1 2\n",
    ]
    assert "".join(missing) in table


@pytest.mark.parametrize(
    "suite", [path.name.removesuffix("_runs.csv") for path in RESULTS.glob("*_runs.csv")]
)
def test_published_results_follow_from_their_csv(suite, tmp_path, plot):
    for name in (f"{suite}.csv", f"{suite}_runs.csv"):
        shutil.copy(RESULTS / name, tmp_path)
    plot(suite, "--from-csv", "--results-dir", tmp_path)
    for name in (f"{suite}.md", f"{suite}.json"):
        assert (RESULTS / name).read_bytes() == (tmp_path / name).read_bytes(), name
    runs = pd.read_csv(RESULTS / f"{suite}_runs.csv")
    assert not runs.commit.str.contains("dirty|unknown").any()


TABLES = """
speed_environments speed_simulator speed_scripts speed_updates speed_replay speed_calls
speed_threads h200_threads h200_devices loops sight random initial_values agreement
"""


@pytest.mark.parametrize("name", TABLES.split())
def test_published_tables_have_no_row_twice(name):
    """A command that is given twice adds its rows twice."""
    table = pd.read_csv(RESULTS / f"{name}.csv")
    key = table.select_dtypes(exclude="number")  # what was measured
    if "seed" in table:
        key = key.assign(seed=table.seed)
    assert len(table) > 2
    assert not key.duplicated().any()


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end(benchmark):
    report = benchmark("report")
    scores = np.array([[9.0, 0, 1, 2, 3, -5, 8, 1], [1.0, 1, 1, 1, 1, 1, 1, 1]])
    assert report.interquartile_mean(scores, axis=1).tolist() == [1.75, 1]  # of 1, 1, 2 and 3
    assert report.interquartile_mean(scores.T, axis=0).tolist() == [1.75, 1]
    assert report.interquartile_mean(np.array([3.0, 1, 8]), axis=0) == 4  # of three, all


def test_marl_eval_compares_the_last_part_of_each_run(benchmark):
    run = {}
    for k in range(100):
        run[f"step_{k}"] = {"step_count": k, "return": [k], "battle_won": [0.5]}
    run["absolute_metrics"] = {"return": [500], "battle_won": [1]}
    profile = benchmark("marl_eval_profile")
    profile.compare_last_part(run)
    assert run["step_3"] == {"step_count": 3, "return": [3]}
    assert run["absolute_metrics"] == {"return": [97]}  # the mean of 95 to 99
    tasks = {
        "both": {"default": {"run_1": run}, "recommended": {"run_1": run}},
        "one": {"default": {"run_1": run}},
    }
    assert list(profile.complete_tasks(tasks, {"default", "recommended"})) == ["both"]


@pytest.fixture
def kill_what_is_left(tmp_path):
    """A test that fails leaves processes behind."""
    yield
    for pid in processes_in(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


LAST_WORDS = "interrupted: all runs are ended; the same command goes on with the unfinished ones"


@pytest.mark.slow
@NEEDS_PROC
@pytest.mark.parametrize(
    ("program", "how"),
    [
        ("run", "ctrl-c"),
        ("run", "SIGTERM"),
        ("run", "SIGKILL"),
        ("run_on_ray", "ctrl-c"),
        ("run_on_ray", "SIGKILL"),
    ],
)
def test_no_process_outlives_the_driver(program, how, tmp_path, kill_what_is_left):
    args = ("smoke", "--scripts", "qmix_multienvs", "--seeds", 1, "--runs-dir", tmp_path)
    # With Ray a run is in a temporary folder. Ray's own must be short, for its sockets.
    env = {"RAY_ADDRESS": "local", "TMPDIR": str(tmp_path), "RAY_TMPDIR": "/tmp"}
    process = start(program, *args, env=env, start_new_session=True)
    # The run, its four workers, train.py and the guard.
    assert wait_for(lambda: len(processes_in(tmp_path)) >= 7)
    pids = [*descendants(process.pid), *processes_in(tmp_path)]
    for training in trainings_in(tmp_path):  # the run and its workers
        os.kill(training, signal.SIGSTOP)  # it would end by itself
    if how == "ctrl-c":
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    elif how == "SIGTERM":
        process.terminate()
    else:
        process.kill()
    output, errors = process.communicate(timeout=60)
    if how != "SIGKILL":
        assert process.returncode == 130, output + errors
        assert LAST_WORDS in output
        assert "Traceback" not in errors
    assert wait_for(lambda: not processes_in(tmp_path))
    if program == "run" or how != "SIGKILL":
        assert wait_for(lambda: not any(map(is_running, pids)))
    # Else Ray has had no chance to end its own processes: two of its agents take their time.
    assert [status["exit_code"] for status in statuses(tmp_path).values()] == [None]


@pytest.mark.parametrize(
    ("code", "error", "said"), [(0, "node lost", "node lost"), (255, "", "exit code 255")]
)
def test_a_run_that_ended_oddly_has_failed(code, error, said, tmp_path, benchmark, capsys):
    """Its script has ended well but its files are lost; its exit code looks like a signal's."""
    suites = benchmark("suites")
    line = suites.SUITES["smoke"][0]
    run = benchmark("run").Run(line, 1, tmp_path, 60)
    run.begin()
    assert not run.finish({"exit_code": code, "seconds": 1}, "", error)
    assert f"FAILED ({said})" in capsys.readouterr().out
    assert not suites.is_finished(line, run.folder, 1)


def test_a_run_whose_status_finds_no_room_on_the_disk_has_failed(tmp_path, benchmark, capsys):
    suites = benchmark("suites")
    line = suites.SUITES["smoke"][0]
    run = benchmark("run").Run(line, 1, tmp_path, 60)
    run.begin()
    run.write_status = lambda: Path("/dev/full").write_text("{}" * 10_000)
    assert not run.finish({"exit_code": 0, "seconds": 1}, "")
    assert "FAILED ([Errno 28] No space left on device)" in capsys.readouterr().out
    assert not suites.is_finished(line, run.folder, 1)


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_ends_one_run(tmp_path):
    (tmp_path / "smoke" / "two_step_game").mkdir(parents=True)
    (tmp_path / "smoke" / "two_step_game" / "qmix").write_text("a file, and no folder")
    args = ("smoke", "--scripts", "qmix", "qmix_lstm", "--seeds", -1, "--runs-dir", tmp_path)
    code, output = run("run", *args)
    assert code == 1
    assert re.search(r"  qmix  seed -1: FAILED \(\[Errno \d+\].*/qmix/seed-1'\)\n", output)
    assert "  qmix_lstm  seed -1: FAILED (exit code 2)" in output
    assert "0 runs finished, 2 failed" in output
    assert "Traceback" not in output


class FakeProcess:
    """A run that says how many MB its replay buffer can take, and ends when its time is over."""

    ends_after = 3  # looks at it
    started = []

    def __init__(self, command, repo, folder):
        self.name = folder.name
        self.megabytes = SIZES[self.name]
        self.looks = 0
        FakeProcess.started.append(self.name)

    def has_ended(self):
        self.looks += 1
        return self.looks > self.ends_after

    def end(self):
        pass

    def outcome(self):
        return {"exit_code": 0, "seconds": 1}

    def end_of_log(self):
        if self.megabytes is None:  # somebody's own script says nothing
            return ""
        return f"replay buffer: 7 bytes a step, up to {self.megabytes:,d} MB\n"


SIZES = {"seed1": 6_000, "seed2": 5_000, "seed3": 20_000, "seed4": None, "seed5": 1_000}


@pytest.mark.parametrize(
    ("seeds", "started", "postponed"),
    [
        ((1, 5), ["seed1", "seed5"], []),
        ((1, 4, 5), ["seed1", "seed4", "seed5"], []),
        # 6 + 5 GB do not fit: the second begins again when the first has ended.
        ((1, 2), ["seed1", "seed2", "seed2"], ["2"]),
        # More than there is: it runs when no other does.
        ((3, 5), ["seed3", "seed5", "seed3"], ["3"]),
        # It is ended once, and waits for the ends of both others.
        ((1, 3, 5), ["seed1", "seed3", "seed5", "seed3"], ["3"]),
    ],
)
def test_runs_wait_where_their_replay_buffers_do_not_fit_together(
    seeds, started, postponed, tmp_path, benchmark, monkeypatch, capsys
):
    program = benchmark("run")
    monkeypatch.setattr(program, "Process", FakeProcess)
    monkeypatch.setattr(FakeProcess, "started", [])
    line = benchmark("suites").SUITES["smoke"][0]
    runs = [program.Run(line, seed, tmp_path, 60) for seed in seeds]
    args = program.Args("smoke", jobs=8, memory=10)
    assert program.execute(runs, args) == []
    output = capsys.readouterr().out
    assert FakeProcess.started == started
    assert re.findall(r"seed (\d): waits, its replay buffer can take", output) == postponed
    assert re.findall(r"10\.0 GB \(--memory\)", output) == ["10.0 GB (--memory)"] * len(postponed)


@pytest.mark.parametrize(("code", "status"), [(0, None), (2, 2), (-signal.SIGKILL, 137)])
def test_a_run_is_a_training_and_100_episodes_with_each_model(
    code, status, tmp_path, benchmark, monkeypatch
):
    train_py = benchmark("train")
    (tmp_path / "runs" / "the_run").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    ended = SimpleNamespace(returncode=code)
    monkeypatch.setattr(train_py.subprocess, "run", lambda command, check: ended)
    saved = {"args": {"env_family": "tests.envs", "env_name": "clock"}}
    monkeypatch.setattr("cleanmarl.evaluate.load_run", lambda run, best: (run, saved))
    played = []

    def play(args):
        played.append(args)
        return {"return": {"mean": 2 if args.best else 1}, "battles_won": {"mean": 0.5}}, False

    monkeypatch.setattr("cleanmarl.evaluate.run", play)
    if code != 0:
        with pytest.raises(SystemExit) as end:
            train_py.main("my_qmix.py")
        assert end.value.code == status
        assert not (tmp_path / "evaluation.json").exists()
        return
    train_py.main("my_qmix.py", "--seed", "1")
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {
        "final": {"return": 1, "battle_won": 0.5},
        "best": {"return": 2, "battle_won": 0.5},
    }
    for args in played:
        assert args.run == "runs/the_run"
        assert args.episodes == 100
        assert (args.script, args.env_family, args.env_name) == (
            "my_qmix.py",
            "tests.envs",
            "clock",
        )


def test_a_seed_that_is_given_twice_runs_once(benchmark):
    program = benchmark("run")
    chosen = program.select(program.Args("smoke", scripts=("qmix",), seeds=(3, 1, 3)))
    assert [seed for _, seed in chosen] == [3, 1]


@pytest.mark.slow
def test_the_files_of_a_run_come_from_its_node(tmp_path, benchmark, monkeypatch):
    """What a Ray worker does: the run is in a temporary folder there, and nothing is left of it."""
    monkeypatch.chdir(REPO)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    context = SimpleNamespace(get_node_id=lambda: "a node")
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    command = f"python cleanmarl/qmix.py {' '.join(CLOCK)} --total-timesteps 80"
    *_, last = benchmark("run_on_ray").train(command, 60)
    assert last["outcome"]["exit_code"] == 0
    assert last["outcome"]["node"] == "a node"
    assert "eval/ep_reward" in last["log"]
    assert b"eval/ep_reward" in last["files"]["log.txt"]
    assert any("/events.out." in name for name in last["files"])
    assert not list(tmp_path.iterdir())


# An episode of the clock goes through four states, and is cut off. In simple_spread, which is cut
# off too, the landmarks' distances change at every step. The two-step game ends by itself.
@pytest.mark.slow
@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_loops_are_counted(script, tmp_path):
    runs = []
    for env in (CLOCK, SPREAD, (*PZ, "two_step_game")):
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        train(script, *env, "--total-timesteps", 80, "--batch-size", 2, cwd=folder)
        runs.append(run_dir(folder))
    path = tmp_path / "loops.csv"
    command = ["loops", *runs, "--episodes", 3, "--csv", path]
    code, output = run(*command, env={"PYTHONPATH": str(REPO)})
    assert code == 0, output
    table = pd.read_csv(path)
    assert list(table.environment) == ["clock", "simple_spread_v3", "two_step_game"]
    assert set(table.script) == {script}
    assert set(table.model) == {"model.pt"}
    assert table.arguments[0] == "--total-timesteps 80 --batch-size 2"
    assert list(table.steps) == [4, 25, 2]
    assert list(table["cut off %"]) == [100, 100, 0]
    assert list(table["in a loop, % of these"])[:2] == [100, 0]
    assert list(table["last Q_tot of these"].isna()) == [False, False, True]
    assert list(table["in a loop, % of these"].isna()) == [False, False, True]


def test_loops_of_a_run_that_is_not_there_are_one_line_and_no_row(tmp_path):
    path = tmp_path / "loops.csv"
    code, output = run("loops", tmp_path / "nowhere", "--csv", path)
    assert code == 2
    assert output.startswith("loops.py: ")
    assert output.count("\n") == 1
    assert not path.exists()


@pytest.mark.parametrize(
    "positions, seen, seen_by_enough, enough_beside",
    [
        ([[(0, 0), (2, 3), (9, 9)]], False, False, False),  # three rows away from the food
        ([[(0, 0), (3, 3), (9, 9)]], True, False, False),
        ([[(0, 0), (3, 3), (9, 9)], [(0, 0), (9, 9), (7, 7)]], True, True, False),  # in turn
        ([[(0, 0), (4, 4), (6, 6)]], True, True, False),  # diagonal is not beside
        ([[(5, 4), (9, 9), (0, 0)], [(9, 9), (5, 6), (0, 0)]], True, True, False),
        ([[(5, 4), (5, 6), (0, 0)]], True, True, True),
        ([[(5, 4), (0, 0), (0, 0)]], True, False, False),
    ],
)
def test_who_sees_food(positions, seen, seen_by_enough, enough_beside, benchmark):
    players = [SimpleNamespace(level=level) for level in (1, 2, 2)]
    field = np.zeros((10, 10))
    field[5, 5] = 3
    foraging = SimpleNamespace(field=field, players=players, sight=2)
    answers = benchmark("sight").look(foraging, np.array(positions))
    assert answers.tolist() == [seen, seen_by_enough, enough_beside]
    field[:] = 0
    assert not benchmark("sight").look(foraging, np.array(positions)).any()


def test_agents_at_two_foods_are_not_added_up(benchmark):
    players = [SimpleNamespace(level=2)] * 2
    field = np.zeros((10, 10))
    field[0, 0] = field[9, 9] = 3
    foraging = SimpleNamespace(field=field, players=players, sight=2)
    answers = benchmark("sight").look(foraging, np.array([[(0, 1), (9, 8)]]))
    assert answers.tolist() == [True, False, False]
    field[9, 9] = 2
    answers = benchmark("sight").look(foraging, np.array([[(0, 1), (9, 8)]]))
    assert answers.tolist() == [True, True, True]


def test_the_last_steps_of_episodes_that_are_cut_off_are_looked_at(benchmark, monkeypatch):
    """Three episodes of four steps: an agent stands beside food in the first, or the last step."""
    sight = benchmark("sight")
    field = np.zeros((10, 10))
    field[5, 5] = 1
    env = SimpleNamespace(foraging=SimpleNamespace(field=field, players=[], sight=2))
    env.foraging.players.append(SimpleNamespace(level=1))
    far, beside = (0, 0), (5, 4)
    episodes = iter([(beside, far, True), (far, beside, True), (far, beside, False)])

    def evaluate(env, q_network, num_episodes, device):
        first, last, env.cut_off = next(episodes)
        env.positions = [[first], [far], [far], [last]]

    team = (SimpleNamespace(evaluate=evaluate), env, None, None, ["cell"])
    monkeypatch.setattr(sight, "load_team", lambda run, args, recorder: team)
    cells, answers = sight.play("a run", SimpleNamespace(episodes=3, last=3))
    assert cells == ["cell"]
    assert answers.tolist() == [[False] * 3, [True] * 3]


def test_an_episode_that_ends_in_its_last_step_is_not_cut_off(benchmark):
    obs = {"state": None, "avail_actions": None}
    endings = iter([(False, True), (True, True), (True, False)])
    env = SimpleNamespace(reset=lambda: (obs, {}))
    env.step = lambda actions: (obs, 0.5, *next(endings), {})
    recorder = benchmark("loops").Recorder(gym.Env())
    recorder.env = env
    cut_off = []
    for _ in range(3):
        recorder.reset()
        recorder.step(None)
        cut_off.append(recorder.cut_off)
    assert cut_off == [True, False, False]
    assert recorder.total == 0.5


def test_food_in_sight_is_what_the_agents_observe(benchmark):
    env = benchmark("sight").FieldRecorder(make_env("lbf", "Foraging-2s-10x10-4p-2f-v3", seed=3))
    rng = np.random.default_rng(3)
    answers = set()
    for _ in range(20):
        obs, _ = env.reset()
        for _ in range(20):
            positions = np.array([[player.position for player in env.foraging.players]])
            seen, _, _ = benchmark("sight").look(env.foraging, positions)
            assert seen == (obs["obs"][:, [2, 5]] > 0).any()  # the levels of the two foods
            answers.add(bool(seen))
            values = rng.random(obs["avail_actions"].shape)
            actions = np.where(obs["avail_actions"], values, -1).argmax(axis=-1)
            obs, _, terminated, _, _ = env.step(actions)
            assert np.array_equal(env.positions[-1], positions[0])
            if terminated:
                break
    assert answers == {False, True}


@pytest.mark.slow
def test_sight_is_counted_on_foraging_only(tmp_path):
    foraging = ("--env-type", "lbf", "--env-name", "Foraging-2s-10x10-4p-2f-v3")
    runs = []
    for env in (foraging, CLOCK):
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        train("qmix", *env, "--total-timesteps", 60, cwd=folder)
        runs.append(run_dir(folder))
    rows = {}
    for program in ("sight", "loops"):
        path = tmp_path / f"{program}.csv"
        command = [program, runs[0], "--episodes", 10, "--csv", path]
        code, output = run(*command, env={"PYTHONPATH": str(REPO)})
        assert code == 0, output
        (rows[program],) = pd.read_csv(path).to_dict("records")
    same = ["environment", "script", "seed", "model", "episodes", "cut off %"]
    assert [rows["sight"][key] for key in same] == [rows["loops"][key] for key in same]
    code, output = run("sight", runs[1], env={"PYTHONPATH": str(REPO)})
    assert code == 2
    assert output == "sight.py: this is for runs on Level-Based Foraging, --env-type lbf\n"


def test_initial_values_are_small_because_the_last_layer_is(tmp_path):
    path = tmp_path / "initial_values.csv"
    source = (REPO / "cleanmarl" / "qmix.py").read_text()
    large = tmp_path / "my_large.py"
    large.write_text(source.replace("scale_init(self.head, 0.01", "scale_init(self.head, 1"))
    few = ("--tasks", "pz:simple_spread_v3", "--seeds", 1, 2, "--steps", 30, "--csv", path)
    for script in (REPO / "cleanmarl" / "qmix.py", large):
        code, output = run("initial_values", script, *few)
        assert code == 0, output
    table = pd.read_csv(path)
    assert list(table.script) == ["qmix.py", "my_large.py"]
    assert (table.least <= table["mean"]).all()
    assert (table["mean"] <= table.greatest).all()
    assert 0.01 < table["mean"][0] < 0.1
    assert table["mean"][1] > 3 * table["mean"][0]


def test_a_random_policy_has_a_return_and_its_interval(tmp_path):
    path = tmp_path / "random.csv"
    code, output = run("random_policy", *PZ, "two_step_game", "--episodes", 400, "--csv", path)
    assert code == 0, output
    (row,) = pd.read_csv(path).to_dict("records")
    # Half of the episodes pay 7, the others 0, 1, 1 or 8: (7 + 2.5) / 2 on average.
    assert row["mean return"] == pytest.approx(4.75, abs=0.5)
    assert row["95 % interval, +-"] == pytest.approx(0.31, abs=0.03)
    assert row["episodes"] == 400


def test_a_csv_file_keeps_its_rows_and_its_columns(benchmark, tmp_path, capsys):
    path = tmp_path / "rates.csv"
    table = benchmark("table").Table
    for row in (["3m", 1234, "0.50"], ["MMM", 5, ""]):
        table(["map", "rate", "ratio"], path).add(*row)
    assert path.read_text() == "map,rate,ratio\n3m,1234,0.50\nMMM,5,\n"
    assert "| 3m | 1,234 | 0.50 |\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        table(["map", "rate"], path)
    assert "has other columns: delete it or give another name" in capsys.readouterr().err
    for wrong in (tmp_path / "nowhere" / "rates.csv", tmp_path):
        with pytest.raises(SystemExit, match="2"):
            table(["map"], wrong)
        assert f"{wrong} cannot be a file: give another name" in capsys.readouterr().err
    assert path.read_text().count("\n") == 3


@pytest.mark.slow
def test_speed_has_every_table(tmp_path):
    few = "--steps 200 --rounds 1 --seconds 0.01 --num-envs 2 --maps 3m --replay-maps 3m".split()
    chosen = "--tasks lbf:Foraging-5x5-2p-1f-v3 --scripts qmix_lstm".split()
    parts = "--parts environments simulator scripts updates replay devices".split()  # the fast ones
    files = ("--csv", tmp_path / "small")
    code, output = run("speed", *few, *chosen, *parts, "--devices", "cpu", "cpu", *files)
    assert code == 0, output
    rows = []
    for line in output.splitlines():
        if line.startswith("| "):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    names = "environment lbf:Foraging-5x5-2p-1f-v3 map 3m script qmix_lstm script qmix_lstm map 3m"
    assert [row[0] for row in rows] == [*names.split(), "script", "qmix_lstm"]
    assert 97 <= sum(map(int, rows[5][-8:])) <= 103
    # A step of 3m: observations (3, 33), state (48,), both again, available actions (3, 9),
    # actions, reward, done.
    assert rows[-3][1] == f"{4 * 2 * (3 * 33 + 48) + 3 * 9 + 3 * 8 + 4 + 1:,d}"
    ratio = int(rows[-1][3].replace(",", "")) / int(rows[-1][2].replace(",", ""))
    assert float(rows[-1][4]) == pytest.approx(ratio, abs=0.02)
    for k, part in enumerate(parts[1:]):
        header_and_row = []
        for row in rows[2 * k : 2 * k + 2]:
            header_and_row.append([re.sub(r"(?<=\d),(?=\d)", "", cell) for cell in row])
        with open(tmp_path / f"small_{part}.csv", newline="") as file:
            assert list(csv.reader(file)) == header_and_row


def test_speed_counts_the_calls_of_a_small_update():
    code, output = run("speed", "--parts", "calls", "--scripts", "qmix")
    assert code == 0, output
    rows = re.findall(r"^\| qmix \| ([\w ]+) \| (\d+) \| ([\d.]+) \|$", output, re.MULTILINE)
    assert [name for name, _, _ in rows] == [
        "TD target",
        "loss",
        "backward",
        "gradient norm",
        "optimizer",
        "target networks",
        "in all",
    ]
    calls = [int(count) for _, count, _ in rows]
    assert min(calls) > 0
    assert sum(calls[:-1]) == calls[-1]


@pytest.mark.slow
def test_speed_compares_one_thread_with_all():
    chosen = "--scripts qmix --thread-tasks smaclite:3m --rounds 1 --steps 1000".split()
    code, output = run("speed", "--parts", "threads", *chosen, "--num-threads", 0, 2)
    assert code == 0, output
    assert "| steps/s, 1 thread | steps/s, 2 threads |" in output
    # The tests have one thread (tests/__init__.py).
    row = r"^\| qmix \| smaclite:3m \| 1,\d\d\d( \| [\d.,]+){6} \| 1 \|$"
    assert re.search(row, output, re.MULTILINE), output


def test_speed_says_that_there_was_no_update():
    chosen = "--scripts qmix --thread-tasks smaclite:3m --rounds 1 --steps 100".split()
    code, output = run("speed", "--parts", "threads", *chosen)
    assert code == 1
    assert "qmix.py has no update in 100 steps of smaclite:3m: raise --steps" in output


@pytest.mark.slow
def test_speed_keeps_its_other_tables_when_one_fails():
    few = "--rounds 1 --seconds 0.01 --num-envs 2 --maps 3m --tasks pz:no_such_env".split()
    code, output = run("speed", *few, "--parts", "environments", "simulator")
    assert code == 1
    assert "speed.py: failed: environments\n" in output
    assert "no_such_env" in output
    assert re.search(r"^\| 3m \| 126 \| [\d,]+ \| [\d,]+ \| [\d.]+ \|$", output, re.MULTILINE)


@pytest.fixture
def sampler(benchmark, monkeypatch):
    """The sampler of speed.py, with a clock on which 2.5 s pass until its first signal."""
    speed = benchmark("speed")
    clock = SimpleNamespace(perf_counter=iter([1.0, 3.5]).__next__)
    monkeypatch.setattr(speed, "time", clock)
    return speed.sampler


def test_the_sampler_bears_a_frame_without_a_line(sampler):
    path = REPO / "cleanmarl" / "qmix.py"
    counts = Counter()
    code = SimpleNamespace(co_filename=str(path), co_name="<module>")
    frame = SimpleNamespace(f_code=code, f_lineno=None, f_back=None)
    sampler(path, counts)(signal.SIGALRM, frame)
    assert counts == {"other": 2.5}


def test_the_sampler_counts_for_the_line_of_the_main_program(sampler):
    path = REPO / "cleanmarl" / "qmix.py"
    lines = path.read_text().splitlines()
    number = 1 + next(i for i, line in enumerate(lines) if "loss = td_loss(" in line)
    counts = Counter()
    main = SimpleNamespace(co_filename=str(path), co_name="<module>")
    caller = SimpleNamespace(f_code=main, f_lineno=number, f_back=None)
    function = SimpleNamespace(co_filename=str(path), co_name="td_loss")
    frame = SimpleNamespace(f_code=function, f_lineno=1, f_back=caller)
    sampler(path, counts)(signal.SIGALRM, frame)
    assert counts == {"learning": 2.5}


# Words of lines in the main loop of every script, and what speed.py must take the lines for.
PURPOSES = {
    "while global_step": "other",
    "epsilon = np.interp(": "acting",
    "actions = select_actions(": "acting",
    ".step(actions)": "environment",
    'episode["obs"].append(': "collecting",
    "buffer.add(episode)": "collecting",
    "batch = buffer.sample(": "sampling",
    "= compute_td_target(": "learning",
    "td_loss(": "learning",
    "gradient_step(": "learning",
    "soft_update(": "learning",
    'writer.add_scalar("rollout/': "logging",
    'writer.add_scalar("time/': "logging",
    "metrics = evaluate(": "evaluation",
    'save("best_model.pt")': "evaluation",
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_speed_knows_what_the_lines_of_a_loop_are_for(script, benchmark):
    source = (REPO / "cleanmarl" / f"{script}.py").read_text()
    purposes = benchmark("speed").purposes_of_lines(source)
    found = {}
    for number, purpose in purposes.items():
        for words in PURPOSES:
            if words in source.splitlines()[number - 1]:
                found.setdefault(words, set()).add(purpose)
    assert found == {words: {purpose} for words, purpose in PURPOSES.items()}


def test_a_suite_whose_script_is_missing_is_one_line(benchmark, tmp_path, monkeypatch, capsys):
    program = benchmark("run")
    monkeypatch.setattr(program, "REPO", tmp_path)
    with pytest.raises(SystemExit, match="2"):
        program.run_suite(program.Args("smoke", runs_dir=tmp_path), execute_runs=None)
    error = capsys.readouterr().err
    assert error.endswith(": there is no cleanmarl/qmix.py: put your script there first\n")
    assert not list(tmp_path.iterdir())


def test_what_cannot_work_is_one_line(tmp_path):
    code, output = run("speed", "--maps", "4m")
    assert output.startswith("speed.py: --maps: there is no 4m; choose from ")
    assert output.count("\n") == 1
    assert run("speed", "--tasks", "3m")[0] == 2
    error = "--devices abacus is not available here: leave it out"
    assert run("speed", "--parts", "devices", "--devices", "abacus") == (2, f"speed.py: {error}\n")
    for program in ("run", "plot"):
        suites = "tasks, choice, lstm, smaclite, lbf, short, smoke"
        error = f"there is no suite smok: take one of {suites}"
        assert run(program, "smok") == (2, f"{program}.py: {error}\n")
    code, output = run("run", "tasks", "--envs", "4m")
    assert code == 2
    assert "--envs 4m" in output
    assert "MMM, 2s3z, 3m" in output
    assert output.count("\n") == 1
    code, output = run("plot", "smoke", "--runs-dir", tmp_path, "--results-dir", tmp_path)
    assert code == 2
    assert "python benchmark/run.py smoke" in output
    code, output = run("run_on_ray", "smoke")
    assert code == 2
    assert output.startswith("run_on_ray.py: RAY_ADDRESS is not set")
    assert output.count("\n") == 1


@pytest.mark.parametrize(
    ("program", "package", "extra"),
    [("run_on_ray", "ray", "cluster"), ("plot", "rliable", "benchmark")],
)
def test_a_missing_extra(program, package, extra, tmp_path):
    shutil.copy(PROGRAMS / "missing_package.py", tmp_path / f"{package}.py")
    env = {"PYTHONPATH": str(tmp_path), "RAY_ADDRESS": "local"}
    folders = ("--runs-dir", tmp_path)
    code, output = run(program, "smoke", *folders, env=env)
    assert code == 2
    assert output.count("\n") == 1
    assert f'pip install -e ".[{extra}]"' in output


def test_one_machine_needs_no_ray(tmp_path):
    shutil.copy(PROGRAMS / "missing_package.py", tmp_path / "ray.py")
    seeds = ("--scripts", "qmix", "--seeds", -1)
    env = {"PYTHONPATH": str(tmp_path)}
    code, output = run("run", "smoke", *seeds, "--runs-dir", tmp_path / "runs", env=env)
    assert code == 1
    assert "    qmix.py: --seed -1 is out of range" in output
