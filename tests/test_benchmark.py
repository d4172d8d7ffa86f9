"""The benchmark's tools as programs: the smoke suite, its tables, failures, and interrupts."""

import contextlib
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
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import torch
from rliable import metrics
from torch.utils.tensorboard import SummaryWriter

import smaclite_jit
from cleanmarl import UsageError
from cleanmarl.env_wrappers import make_env
from tests.helpers import CLOCK, ENVIRON, PZ, REPO, SCRIPTS, run_dir, run_here

KEY = ["environment", "label", "seed"]
SPREAD = ("--env-type", "pz", "--env-name", "simple_spread_v3")
RESULTS = REPO / "benchmark" / "results"
SMOKE = ("qmix", "qmix_multienvs")  # the scripts of the smoke suite
NEEDS_PROC = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="looks for processes in /proc"
)


def start(program, *args, env=None, repo=REPO, **options):
    command = [sys.executable, str(repo / "benchmark" / f"{program}.py"), *map(str, args)]
    # Without the address and the secret of a cluster that the user has.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
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
    monkeypatch.syspath_prepend(str(REPO / "benchmark" / "studies"))
    monkeypatch.syspath_prepend(str(REPO / "benchmark"))
    return importlib.import_module


def processes_in(folder):
    """The processes that work in a folder or below, that is the runs and their workers."""
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
    """The runs among the processes of a folder, with their workers but without train.py."""
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
    assert "seed 2: FAILED (exit code 137), the end of" in output
    assert "seed -1: FAILED (exit code 2), the end of" in output
    assert "    qmix.py: --seed -1 is out of range" in output  # the end of its log
    assert "seed 1: finished" in output
    assert "1 finished, 2 failed" in output
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
    assert "qmix  seed 2: finished after" in output
    assert re.search(r"seed \d: step .* reward .* steps/s, \d:\d\d:\d\d left", output)


@pytest.mark.slow
@NEEDS_PROC
def test_what_is_kept_of_a_run(smoke):
    done = smoke.whole["statuses"]
    assert set(done) == {f"{script}/seed{seed}" for script in SMOKE for seed in (1, 2)}
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
def test_curves_and_runs_of_a_suite(smoke):
    assert smoke.plot["code"] == 0, smoke.plot["output"]
    results = smoke.folder / "results"
    assert (results / "smoke.png").read_bytes().startswith(b"\x89PNG")
    curves = pd.read_csv(results / "smoke.csv")
    assert list(curves) == [*KEY, "step", "seconds", "return", "battle_won", "rollout_return"]
    assert len(curves) > 4 * 80
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
    assert f"| two_step_game | qmix_multienvs | 2 | 2,000 | {figures}" in table
    assert "All of the suite was run." in table


@pytest.mark.slow
@NEEDS_PROC
def test_data_for_marl_eval(smoke):
    data = json.loads((smoke.folder / "results" / "smoke.json").read_text())
    data = data["smoke"]["two_step_game"]
    assert set(data) == set(SMOKE)
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
    assert "3 others in" in output
    assert_same_results(smoke.folder / "results", tmp_path)


@pytest.mark.slow
@NEEDS_PROC
def test_the_table_of_one_seed(one_run, tmp_path, plot):
    plot("smoke", "--runs-dir", one_run, "--results-dir", tmp_path)
    table = (tmp_path / "smoke.md").read_text()
    assert "| two_step_game | qmix | 1 | 2,000 | 8.00 | 8.00 |" in table
    missing = [
        "- two_step_game, qmix: seeds 2\n",
        "- two_step_game, qmix_multienvs: seeds 1 2\n",
    ]
    assert "".join(missing) in table


@pytest.mark.parametrize(
    "suite", [path.name.removesuffix("_runs.csv") for path in RESULTS.glob("*_runs.csv")]
)
def test_published_results_follow_from_their_csv(suite, tmp_path, plot, benchmark, monkeypatch):
    benchmark("own_runs")  # it keeps the `draw` that it finds when it is imported
    monkeypatch.setattr(benchmark("figures"), "draw", lambda summaries, path: None)  # it takes long
    for name in (f"{suite}.csv", f"{suite}_runs.csv"):
        shutil.copy(RESULTS / name, tmp_path)
    output = plot(suite, "--from-csv", "--results-dir", tmp_path)
    assert output.endswith(f"/{suite}.png, and in {tmp_path} {suite}.md, {suite}.json\n")
    for name in (f"{suite}.md", f"{suite}.json"):
        assert (RESULTS / name).read_bytes() == (tmp_path / name).read_bytes(), name
    runs = pd.read_csv(RESULTS / f"{suite}_runs.csv")
    assert not runs.commit.str.contains("dirty|unknown").any()


def test_the_scoreboard_follows_from_the_csv_files(tmp_path, benchmark):
    board = benchmark("scoreboard")
    board.main(board.Args(results_dir=tmp_path))
    assert (tmp_path / "scoreboard.png").exists()
    page = (tmp_path / "scoreboard.md").read_text()
    assert page == (RESULTS / "scoreboard.md").read_text()
    counted = {}  # runs of each map with the recommended arguments
    for suite in ("tasks", "maps"):
        if (RESULTS / f"{suite}_runs.csv").exists():
            runs = pd.read_csv(RESULTS / f"{suite}_runs.csv", dtype={"version": str})
            runs = runs[(runs.label == "recommended") & runs.version.isin(board.VERSIONS)]
            counted |= dict(runs.groupby("environment").size())
    for name in smaclite_jit.MAPS:
        seeds = re.findall(rf"^\| {name} \|.*\| \d of (\d) \|", page, re.MULTILINE)
        assert list(map(int, seeds)) == ([3] if counted.get(name) == 3 else [])


def test_a_line_that_lacks_a_seed_is_not_on_the_scoreboard(benchmark, monkeypatch):
    board = benchmark("scoreboard")
    load = board.curves.load

    def load_without_a_seed(*args):
        results = load(*args)
        return {key: found for key, found in results.items() if (key[0].environment, key[1]) != one}

    one = ("3m", 2)
    everything = board.read_summaries("recommended")
    monkeypatch.setattr(board.curves, "load", load_without_a_seed)
    assert set(everything) - set(board.read_summaries("recommended")) == {"3m"}


TABLES = """
speed_environments speed_simulator speed_scripts speed_updates
speed_threads h200_threads h200_gpu loops left sight random initial_values agreement
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
    curves = benchmark("curves")
    scores = np.array([[9.0, 0, 1, 2, 3, -5, 8, 1], [1.0, 1, 1, 1, 1, 1, 1, 1]])
    assert curves.interquartile_mean(scores, axis=1).tolist() == [1.75, 1]  # of 1, 1, 2 and 3
    assert curves.interquartile_mean(scores.T, axis=0).tolist() == [1.75, 1]
    assert curves.interquartile_mean(np.array([3.0, 1, 8]), axis=0) == 4  # of three, all


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
    # The run, its four workers, train.py and what it has forked.
    assert wait_for(lambda: len(processes_in(tmp_path)) >= 7)
    pids = [*descendants(process.pid), *processes_in(tmp_path)]
    os.kill(min(trainings_in(tmp_path)), signal.SIGSTOP)  # the run would end by itself
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
    program = benchmark("run")
    line = program.SUITES["smoke"][0]
    run = program.Run(line, 1, tmp_path)
    run.begin()
    assert not run.finish({"exit_code": code, "seconds": 1}, "", error)
    assert f"FAILED ({said})" in capsys.readouterr().out
    assert not program.is_finished(line, run.folder, 1)


def test_a_run_whose_status_finds_no_room_on_the_disk_has_failed(tmp_path, benchmark, capsys):
    program = benchmark("run")
    line = program.SUITES["smoke"][0]
    run = program.Run(line, 1, tmp_path)
    run.begin()
    run.write_status = lambda: Path("/dev/full").write_text("{}" * 10_000)
    assert not run.finish({"exit_code": 0, "seconds": 1}, "")
    assert "FAILED ([Errno 28] No space left on device)" in capsys.readouterr().out
    assert not program.is_finished(line, run.folder, 1)


def test_a_run_counts_for_the_text_of_its_script(tmp_path, benchmark):
    program = benchmark("run")
    script = tmp_path / "my qmix.py"
    script.write_text("print(1)")
    (line,) = benchmark("suites").lines(["3m"], [str(script)], "--env-type smaclite", seeds=(1,))
    assert line.label == "my qmix"
    run = program.Run(line, 1, tmp_path)
    run.begin()
    assert run.finish({"exit_code": 0, "seconds": 1}, "")
    assert program.is_finished(line, run.folder, 1)
    script.write_text("print(2)")
    assert not program.is_finished(line, run.folder, 1)
    script.unlink()  # nobody knows
    assert program.is_finished(line, run.folder, 1)
    script.write_text("print(2)")
    status = program.read_status(run.folder)
    assert status["commit"] == "unknown" or status["commit"].endswith("(my qmix.py in no commit)")
    del status["script_hash"]  # a run from before there was one
    (run.folder / "status.json").write_text(json.dumps(status))
    assert program.is_finished(line, run.folder, 1)


@pytest.mark.parametrize(
    ("commit", "script_hash", "counts"),
    [
        ("0123456789ab", "another", True),  # the text can be had
        ("0123456789ab+dirty", "another", False),
        ("0123456789ab (my_qmix.py in no commit)", "another", False),
        ("0123456789ab (my_qmix.py in no commit)", None, True),
        ("unknown", float("nan"), True),
    ],
)
def test_results_of_another_text_count_if_it_is_in_a_commit(commit, script_hash, counts, benchmark):
    row = pd.Series({"commit": commit, "script_hash": script_hash})
    line = benchmark("suites").SUITES["smoke"][0]
    assert benchmark("curves").is_known(row, line) == counts
    row["script_hash"] = benchmark("run").script_hash(line.path)
    assert benchmark("curves").is_known(row, line)


def test_the_commit_of_a_run_says_what_it_lacks(tmp_path, benchmark, monkeypatch):
    def git(*words):
        who = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, check=True)
        return done.stdout.decode().strip()

    program = benchmark("run")
    monkeypatch.setattr(program, "REPO", tmp_path)
    git("init")
    (tmp_path / "mine.py").write_text("1")
    (tmp_path / "cleanmarl").mkdir()
    (tmp_path / "cleanmarl" / "qmix.py").write_text("1")
    git("add", "cleanmarl")
    git("commit", "-m", "one")
    head = git("rev-parse", "--short=12", "HEAD")
    assert program.commit("cleanmarl/qmix.py") == head
    assert program.commit("mine.py") == f"{head} (mine.py in no commit)"
    assert program.commit("/mine.py") == f"{head} (mine.py in no commit)"
    git("add", "mine.py")
    assert program.commit("cleanmarl/qmix.py") == head
    assert program.commit("mine.py") == f"{head}+dirty"
    (tmp_path / "cleanmarl" / "qmix.py").write_text("2")
    assert program.commit("cleanmarl/qmix.py") == f"{head}+dirty"


def test_suites_of_ones_own(tmp_path, benchmark, capsys):
    program = benchmark("run")
    path = tmp_path / "my_suites.py"
    path.write_text("from suites import lines\nSUITES = {'mine': lines(['3m'], ['my.py'], '--a')}")
    ((line, seed),) = program.select(program.Args("mine", suites=path, seeds=(7,)))
    assert line.command(seed) == "python my.py --a --env-name 3m --seed 7"
    for name, text in (("smoke", path.read_text()), ("mine", "suites = {}"), ("mine", None)):
        path.write_text(text) if text else path.unlink()
        with pytest.raises(SystemExit, match="2"):
            program.select(program.Args(name, suites=path))
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert ("there is no suite smoke; there are mine" in error) == (name == "smoke")


def write_run(folder, returns, name="qmix", seed=1, source="", **arguments):
    """The event file of a run that is evaluated every 100 steps."""
    folder = folder / f"{name}__lbf__task__{seed}__{time.time_ns()}"
    writer = SummaryWriter(str(folder))
    arguments = {"env_name": "Foraging-5x5-2p-1f-v3", "seed": seed, "gamma": 0.99} | arguments
    rows = "\n".join(f"|{name}|{value}|" for name, value in arguments.items())
    writer.add_text("arguments", f"|argument|value|\n|-|-|\n{rows}")
    for i, value in enumerate(returns):
        writer.add_scalar("eval/ep_reward", value, 100 * (i + 1))
    writer.close()
    if source:
        (folder / f"{name}.py").write_text(source)
    return folder


@pytest.fixture
def few_samples(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark("curves"), "REPS", 200)


def test_runs_of_ones_own_are_drawn_over_their_seeds(tmp_path, plot, few_samples):
    runs = tmp_path / "runs"
    for seed in (1, 2, 3):
        write_run(runs, [0] * 18 + [seed, seed], "a_b", seed)
    write_run(runs, [7] * 10, "other", double_q=True)
    for seed in (1, 2):
        write_run(runs, [8] * 20, "third", seed)
    write_run(runs, [7], "other", env_name="A task")
    (runs / "nothing__1").mkdir()
    (runs / "nothing__1" / "events.out.tfevents.1").touch()
    arguments = ["--beside", "Foraging-5x5-2p-1f-v3", "--label", "other", "50 %"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "aggregate.tex").touch()  # of other runs
    output = plot(runs, *arguments, "--results-dir", tmp_path / "mine")
    assert "nothing__1 is left out" in output
    few = "a_b: 20 of 100 parts have an evaluation; a smaller --eval-steps in training makes more"
    assert f"Foraging-5x5-2p-1f-v3, {few}\n" in output
    assert not (tmp_path / "mine" / "aggregate.tex").exists()
    table = (tmp_path / "mine" / "results.md").read_text()
    hint = "Published lines have parts of 2,000 steps."  # more than a run here has
    warning = f"\nLines of Foraging-5x5-2p-1f-v3 have different steps. {hint}\n"
    assert warning in output
    assert warning in table
    assert table.index("| A task |") < table.index("| Foraging-5x5-2p-1f-v3 |")
    task = "| Foraging-5x5-2p-1f-v3 |"
    assert f"{task} a_b | 3 | 2,000 | return | 2.00 [1.00, 3.00] | 2.00 [1.00, 3.00] |" in table
    assert f"{task} 50 % | 1 | 1,000 | return | 7.00 | 7.00 |" in table
    assert f"{task} published: qmix | 3 | 200,000 | return | 0.89 [" in table
    assert table.count("| a_b | third | 1 | 0.00 [0.00, 0.00] |\n") == 1
    assert "| a_b | 50 % |" not in table  # one seed
    assert "| a_b | published" not in table  # other steps
    latex = (tmp_path / "mine" / "results.tex").read_text()
    assert "\\toprule" in latex
    assert "& a\\_b & 3 & 2,000 &" in latex
    assert (tmp_path / "mine" / "curves.png").read_bytes().startswith(b"\x89PNG")
    curves = pd.read_csv(tmp_path / "mine" / "curves.csv")
    assert list(curves)[:4] == ["task", "line", "seed", "step"]
    assert len(curves) == 10 * 100
    assert curves[curves.line == "a_b"].groupby("seed")["return"].max().tolist() == [1, 2, 3]


def test_labels_have_what_differs_in_a_task(tmp_path, benchmark, capsys):
    own_runs = benchmark("own_runs")
    for keywords in (
        {"name": "qmix", "seed": 1},
        {"name": "qmix", "seed": 2, "wnb_project": "x"},
        {"name": "qmix", "gamma": 0.9, "double_q": True},
        {"name": "qmix", "env_name": "another", "gamma": 0.5},
        {"name": "old", "exp_name": "mine", "source": "1"},
        {"name": "mine", "source": "1", "seed": 2},
        {"name": "mine", "source": "2"},
        {"name": "mine", "source": "2"},
    ):
        write_run(tmp_path, [1], **{"double_q": False, **keywords})
    (event_file,) = write_run(tmp_path, [1], double_q=False, seed=5).iterdir()
    folders = own_runs.find_runs([event_file, tmp_path, tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="2"):
        own_runs.find_runs([tmp_path / "empty"])
    assert "empty: there is no event file of a run\n" in capsys.readouterr().err
    runs = [own_runs.read_run(folder) for folder in folders]
    runs.sort(key=lambda run: run.events.wall_time.min())
    own_runs.give_labels(runs)
    pools = own_runs.pool(runs)
    output = capsys.readouterr().out
    assert {label: list(of_seed) for (_, label), of_seed in pools.items()} == {
        "qmix (gamma 0.99)": [1, 2, 5],
        "qmix (gamma 0.9, double_q)": [1],
        "qmix (gamma 0.5)": [1],
        "mine (version 1)": [1, 2],
        "mine (version 2)": [1],
    }
    for i, run in ((1, runs[4]), (2, runs[6])):
        assert f"mine: version {i} is the script in {run.folder}\n" in output
    assert pools["another", "qmix (gamma 0.5)"]
    assert pools["Foraging-5x5-2p-1f-v3", "mine (version 2)"][1] is runs[-2]  # the later one
    assert output.count("a later run has its label and seed") == 1


def test_a_line_ends_where_the_first_of_its_seeds_does(tmp_path, benchmark, capsys):
    own_runs = benchmark("own_runs")
    folders = [write_run(tmp_path, [1, 2, 3, 4], seed=1), write_run(tmp_path, [5, 6], seed=2)]
    (event_file,) = folders[1].iterdir()
    event_file.write_bytes(event_file.read_bytes()[:-3])  # killed while it wrote
    of_seed = {run.seed: run for run in map(own_runs.read_run, folders)}
    summary = own_runs.summarise("task", "label", of_seed, np.inf)
    assert summary.steps[-1] == 100
    assert summary.scores[:, -1].tolist() == [1, 5]
    assert "label: the line ends at step 100, where seed 2 does" in capsys.readouterr().out
    del of_seed[2]
    summary = own_runs.summarise("task", "label", of_seed, until=250)
    assert summary.steps[-1] == 250
    assert summary.scores[0, [39, 40, 79, 80, 99]].tolist() == [1, 1, 2, 2, 2]
    assert np.isnan(summary.scores[0, :39]).all()
    with pytest.raises(SystemExit, match="2"):
        own_runs.summarise("task", "label", of_seed, until=99)


def test_a_published_line_is_cut_off_in_its_own_parts(benchmark, capsys):
    own_runs = benchmark("own_runs")
    (whole,) = own_runs.summarise_published("Foraging-5x5-2p-1f-v3", np.inf)
    (part,) = own_runs.summarise_published("Foraging-5x5-2p-1f-v3", 58_999)
    assert part.steps == pytest.approx(whole.steps[:29])
    assert part.scores.tolist() == whole.scores[:, :29].tolist()
    assert part.last_part().tolist() == whole.scores[:, 28].tolist()
    ours = SimpleNamespace(line=part.line, steps=np.array([60_100]))
    (warning,) = own_runs.different_steps([ours], [part])
    assert warning.endswith("--until 58000 (or another multiple) meets them exactly.")
    ours.steps[-1] = 58_100
    assert not own_runs.different_steps([ours], [part])
    for task, until in (("Foraging-5x5-2p-1f-v3", 1999), ("4m", 10_000)):
        with pytest.raises(SystemExit, match="2"):
            own_runs.summarise_published(task, until)
    errors = capsys.readouterr().err
    assert "the published runs of Foraging-5x5-2p-1f-v3 have parts of 2,000 steps" in errors
    assert "no published lines of 4m, but of MMM, 2s3z" in errors


def test_a_figure_begins_where_all_seeds_were_evaluated(benchmark, few_samples, monkeypatch):
    figures = benchmark("figures")
    drawn = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    for late, steps, marker in ((np.nan, [30], "o"), (2, [20, 30], "None")):
        scores = np.array([[np.nan, 1, 2], [np.nan, late, 3]])
        line = SimpleNamespace(environment="task", label="label")
        summary = SimpleNamespace(line=line, scores=scores, steps=np.array([10, 20, 30]))
        summary.metric = "return"
        figures.draw([summary], Path("figure.png"))
        (curve,) = drawn[-1].axes[0].lines
        assert curve.get_xdata().tolist() == steps
        assert curve.get_marker() == marker  # a line of one point is not seen


def test_a_seed_that_tells_of_no_victory_has_won_nothing(benchmark):
    told = pd.DataFrame({"step": [10, 20], "battle_won": [np.nan, 1]})
    silent = pd.DataFrame({"step": [10, 20], "battle_won": [np.nan, np.nan]})
    results = {}
    line = benchmark("suites").Line("task", "label", "qmix", "", (1, 2))
    for seed, curve in enumerate((silent, told)):
        others = {"return": 5.0, "rollout_return": 5.0, "seconds": 1.0}
        run = {"final_model_return": 5.0, "final_model_battle_won": None if seed == 0 else 1.0}
        results[line, seed] = (run, curve.assign(**others))
    summary = benchmark("curves").Summary(line, results, bins=2)
    assert summary.metric == "battle_won"
    assert summary.scores.tolist() == [[0, 0], [0, 1]]
    assert summary.model_scores("final").tolist() == [0, 1]
    assert np.isnan(summary.model_scores("best")).all()  # of before there were 100 episodes


def test_probability_of_improvement_is_that_of_rliable(benchmark):
    scores, others = np.random.default_rng(1).integers(4, size=(2, 5, 3))
    ours = benchmark("curves").probability_of_improvement(scores, others[:4])
    assert ours == pytest.approx(metrics.probability_of_improvement(scores, others[:4]))


def test_aggregates_are_over_the_tasks_of_all_lines(benchmark, few_samples):
    own_runs = benchmark("own_runs")
    summaries = []
    for task, label, metric, last in (
        ("a", "x", "return", [10.0, 20.0]),
        ("a", "y", "return", [30.0, 30.0, 30.0]),
        ("b", "x", "battle_won", [0.5, 0.5]),
        ("b", "y", "battle_won", [0.2, 0.2]),
        ("c", "x", "return", [7.0]),
        ("d", "x", "return", [1.0, 1.0]),
        ("d", "y", "return", [1.0, 1.0]),
    ):
        summary = SimpleNamespace(metric=metric, last_part=partial(np.array, last))
        summary.line = SimpleNamespace(environment=task, label=label)
        summaries.append(summary)
    tasks, rows = own_runs.aggregates_of(summaries)
    assert tasks == ["a", "b"]
    assert [row["line"] for row in rows] == ["x", "y"]
    assert rows[0]["mean"].startswith("0.38 [")  # of 0 and 0.5, and of 0.5 and 0.5
    assert rows[1]["mean"] == "0.60 [0.60, 0.60]"  # of 1 and 0.2
    assert own_runs.aggregates_of(summaries[::2])[1] == []  # there is nothing to compare with


def test_all_parts_of_a_curve_have_the_same_samples_of_seeds(benchmark, few_samples):
    curves = benchmark("curves")
    scores = np.random.default_rng(1).random((5, 1)).repeat(30, axis=1)
    for ends in curves.estimate(scores, np.mean)[1:]:
        assert len(set(ends)) == 1


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_ends_one_run(tmp_path):
    (tmp_path / "smoke" / "two_step_game").mkdir(parents=True)
    (tmp_path / "smoke" / "two_step_game" / "qmix").write_text("a file, and no folder")
    args = ("smoke", "--scripts", *SMOKE, "--seeds", -1, "--runs-dir", tmp_path)
    code, output = run("run", *args)
    assert code == 1
    assert re.search(r"  qmix  seed -1: FAILED \(\[Errno \d+\].*/qmix/seed-1'\)\n", output)
    assert "  qmix_multienvs  seed -1: FAILED (exit code 2)" in output
    assert "0 finished, 2 failed" in output
    assert "Traceback" not in output


class FakeProcess:
    """A run that says how many MB its replay buffer can take, and ends when its time is over."""

    ends_after = 3  # looks at it
    error = ""
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

    def read_log(self):
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
    runs = [program.Run(line, seed, tmp_path) for seed in seeds]
    args = program.Args("smoke", jobs=8, memory=10)
    assert program.execute_here(runs, args) == []
    output = capsys.readouterr().out
    assert FakeProcess.started == started
    assert re.findall(r"seed (\d): waits, its replay buffer can take", output) == postponed
    assert re.findall(r"10\.0 GB \(--memory\)", output) == ["10.0 GB (--memory)"] * len(postponed)


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
    *_, last = benchmark("run_on_ray").train(command)
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
def test_loops_are_counted(script, tmp_path, monkeypatch):
    runs = []
    for env in (CLOCK, SPREAD, (*PZ, "two_step_game")):
        folder = tmp_path / str(len(runs))
        folder.mkdir()
        few = ("--total-timesteps", 80, "--batch-size", 2)
        run_here(script, *env, *few, cwd=folder, monkeypatch=monkeypatch)
        runs.append(run_dir(folder))
    path = tmp_path / "loops.csv"
    command = ["studies/loops", *runs, "--episodes", 3, "--csv", path]
    code, output = run(*command, env=ENVIRON)
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


def test_an_episode_that_ends_in_its_last_step_is_not_cut_off(benchmark):
    obs = {"state": None, "avail_actions": None}
    endings = iter([(False, True), (True, True), (True, False)])
    env = SimpleNamespace(reset=lambda seed: (obs, {}))
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


def test_studies_play_with_the_limit_of_the_run(benchmark, tmp_path, monkeypatch):
    args = (*CLOCK, "--total-timesteps", 8, "--max-episode-steps", 3)
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    row = benchmark("loops").play(run_dir(tmp_path), SimpleNamespace(script="", episodes=2, last=2))
    assert (row["steps"], row["cut off %"]) == ("3.0", "100")


@pytest.mark.slow
def test_sight_is_counted_in_the_episodes_that_loops_counts(tmp_path, monkeypatch):
    foraging = ("--env-type", "lbf", "--env-name", "Foraging-2s-10x10-4p-2f-v3")
    run_here("qmix", *foraging, "--total-timesteps", 60, cwd=tmp_path, monkeypatch=monkeypatch)
    one = run_dir(tmp_path)
    rows = {}
    for program in ("studies/sight", "studies/loops"):
        path = tmp_path / f"{Path(program).name}.csv"
        command = [program, one, "--episodes", 10, "--csv", path]
        code, output = run(*command, env=ENVIRON)
        assert code == 0, output
        (rows[program],) = pd.read_csv(path).to_dict("records")
    same = ["environment", "script", "seed", "model", "episodes", "cut off %"]
    assert [rows["studies/sight"][key] for key in same] == [
        rows["studies/loops"][key] for key in same
    ]
    for frames in (4, 0):
        figure = tmp_path / f"mixer{frames}.png"
        code, output = run(
            "studies/mixer", one, "--frames", frames, "--figure", figure, env=ENVIRON
        )
        assert code == 0, output
        assert "Q_tot" in output
        assert figure.exists()


@pytest.mark.parametrize(
    "action, cut_off, lost, agents", [(1, "0", "100", "0.0"), (5, "100", "0", "3.0")]
)
def test_what_is_left_of_a_battle(action, cut_off, lost, agents, benchmark, monkeypatch):
    """Agents that stand still are killed; in the west nobody finds them until the time is up."""
    study = benchmark("left")
    env = study.BattleRecorder(make_env("smaclite", "3m"))

    def evaluate(env, q_network, num_episodes):
        obs, _ = env.reset()
        ended = False
        while not ended:
            actions = np.where(
                obs["avail_actions"][:, action], action, obs["avail_actions"].argmax(1)
            )
            obs, _, terminated, truncated, _ = env.step(actions)
            ended = terminated or truncated

    team = (SimpleNamespace(evaluate=evaluate), env, None, None, {})
    monkeypatch.setattr(study, "load_team", lambda *args: team)
    row = study.play("", SimpleNamespace(episodes=2))
    assert [row["won %"], row["cut off %"], row["lost %"]] == ["0", cut_off, lost]
    assert row["return"] == "0.00"
    assert (float(row["steps"]) == 60) == (cut_off == "100")
    left = [row["agents left"], row["enemies left"], row["their health"]]
    assert left == [agents, "3.0 marine", "135"]


def test_a_study_of_one_family_refuses_others(benchmark):
    with pytest.raises(UsageError, match="--env-type smaclite"):
        benchmark("left").BattleRecorder(make_env("lbf", "Foraging-5x5-2p-1f-v3"))
    with pytest.raises(UsageError, match="--env-type lbf"):
        benchmark("sight").FieldRecorder(make_env("smaclite", "3m"))


def test_the_mixers_derivatives_are_those_of_the_agents(benchmark):
    study = benchmark("mixer")
    q_values = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    states = torch.tensor([[1.0, 0.5], [2.0, 3.0]])
    # Any mixer: here a weighted sum, whose weights are the state.
    q_total, derivatives = study.mix(lambda q, s: (q * s).sum(dim=-1), q_values, states)
    assert q_total.tolist() == [2, 3]
    assert derivatives.tolist() == states.tolist()
    assert study.discounted([0, 1, 4], gamma=0.5).tolist() == [1.5, 3, 4]
    frame = np.arange(48).reshape(4, 4, 3)
    assert study.middle(frame, 1).tolist() == frame.tolist()
    assert study.middle(frame, 2).tolist() == frame[1:3, 1:3].tolist()


def test_initial_values_are_small_because_the_last_layer_is(tmp_path):
    path = tmp_path / "initial_values.csv"
    source = (REPO / "cleanmarl" / "qmix.py").read_text()
    large = tmp_path / "my_large.py"
    large.write_text(source.replace("scale_init(self.head, 0.01", "scale_init(self.head, 1"))
    few = ("--tasks", "pz:simple_spread_v3", "--seeds", 1, 2, "--steps", 30, "--csv", path)
    for script in (REPO / "cleanmarl" / "qmix.py", large):
        code, output = run("studies/initial_values", script, *few, env=ENVIRON)
        assert code == 0, output
    table = pd.read_csv(path)
    assert list(table.script) == ["qmix.py", "my_large.py"]
    assert (table.least <= table["mean"]).all()
    assert (table["mean"] <= table.greatest).all()
    assert 0.01 < table["mean"][0] < 0.1
    assert table["mean"][1] > 3 * table["mean"][0]


def test_a_random_policy_has_a_return_and_its_interval(tmp_path):
    path = tmp_path / "random.csv"
    code, output = run(
        "studies/random_policy", *PZ, "two_step_game", "--episodes", 400, "--csv", path, env=ENVIRON
    )
    assert code == 0, output
    (row,) = pd.read_csv(path).to_dict("records")
    # Half of the episodes pay 7, the others 0, 1, 1 or 8: (7 + 2.5) / 2 on average.
    assert row["mean return"] == pytest.approx(4.75, abs=0.5)
    assert row["95 % interval, +-"] == pytest.approx(0.31, abs=0.03)
    assert row["episodes"] == 400


def test_a_suite_whose_script_is_missing_is_one_line(benchmark, tmp_path, monkeypatch, capsys):
    program = benchmark("run")
    monkeypatch.setattr(program, "REPO", tmp_path)
    with pytest.raises(SystemExit, match="2"):
        program.run_suite(program.Args("smoke", runs_dir=tmp_path), execute_runs=None)
    error = capsys.readouterr().err
    assert error.endswith(": there is no cleanmarl/qmix.py: put your script there first\n")
    assert not list(tmp_path.iterdir())


def test_a_csv_file_keeps_its_rows_and_its_columns(benchmark, tmp_path, capsys):
    add_row = benchmark("common").add_row
    path = tmp_path / "rates.csv"
    add_row({"map": "3m", "rate": 1234, "ratio": "0.50"}, path)
    add_row({"map": "MMM", "rate": 5, "ratio": ""}, path)
    assert path.read_text() == "map,rate,ratio\n3m,1234,0.50\nMMM,5,\n"
    assert "map: 3m  rate: 1234  ratio: 0.50\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        add_row({"map": "3m", "rate": 5}, path)
    assert "has other columns: delete it or give another name" in capsys.readouterr().err
    assert path.read_text().count("\n") == 3


def test_random_actions_are_available_and_equally_likely(benchmark):
    rng = np.random.default_rng(1)
    avail_actions = np.broadcast_to([[1, 0, 1, 1], [0, 1, 0, 0]], (3000, 2, 4))
    actions = benchmark("common").random_actions(avail_actions, rng)
    assert (actions[:, 1] == 1).all()
    assert np.bincount(actions[:, 0], minlength=4) / 3000 == pytest.approx(
        [1 / 3, 0, 1 / 3, 1 / 3], abs=0.04
    )


@pytest.mark.slow
def test_speed_has_every_table(tmp_path):
    words = "--steps 700 --rounds 1 --seconds 0.01 --num-envs 2 --maps 3m --scripts qmix"
    words += " --tasks lbf:Foraging-5x5-2p-1f-v3 --devices cpu cpu --num-threads 1 2"
    parts = ("environments", "simulator", "scripts", "updates", "threads", "devices")
    code, output = run("speed", *words.split(), "--parts", *parts, "--csv", tmp_path / "small")
    assert code == 0, output
    (row,) = pd.read_csv(tmp_path / "small_simulator.csv").to_dict("records")
    assert row["2 battles in one call"] / row["one battle"] == pytest.approx(row["to one"], abs=0.1)
    (row,) = pd.read_csv(tmp_path / "small_threads.csv").to_dict("records")
    # The tests have one thread (tests/__init__.py).
    assert {"steps/s, 1 thread", "ms an update, 2 threads"} <= set(row)
    assert row["the script takes"] == 1
    for part in parts:
        published = RESULTS / f"speed_{'scripts' if part == 'devices' else part}.csv"
        columns = list(pd.read_csv(published).columns)
        made = pd.read_csv(tmp_path / f"small_{part}.csv")
        assert len(made) == 1
        assert made.columns[0] == columns[0]
        if part in ("scripts", "devices"):
            assert list(made.columns)[-8:] == columns[-8:]
            assert 97 <= made.iloc[0, -8:].sum() <= 103


@pytest.mark.parametrize("script", SCRIPTS)
def test_speed_knows_what_the_lines_of_a_loop_are_for(script, benchmark):
    speed = benchmark("speed")
    source = speed.with_laps((REPO / "cleanmarl" / f"{script}.py").read_text())
    for line, purpose in (
        (r".*\.step\(actions\)", "environment"),
        ("global_step \\+=", "other"),
        ("batch = buffer.sample", "sampling"),
        ("td_target = compute_td_target", "learning"),
    ):
        assert re.search(rf"lap\('{purpose}'\)\n +{line}", source), line
    purposes = re.findall(r"lap\('(\w+)'\)", source)
    assert set(purposes) == set(speed.PURPOSES)
    assert purposes[0] == "acting"


def test_speed_keeps_its_other_tables_when_one_fails():
    few = "--rounds 1 --seconds 0.01 --num-envs 2 --maps 3m --steps 100 --scripts qmix"
    code, output = run("speed", *few.split(), "--parts", "scripts", "simulator")
    assert code == 1
    assert "speed.py: failed: scripts\n" in output
    assert "qmix.py has no update in 100 steps of smaclite:3m: raise --steps" in output
    assert re.search(r"^map: 3m  original: 126  one battle: \d+", output, re.MULTILINE)


def test_what_cannot_work_is_said_and_ends_with_2(tmp_path, plot, capfd):
    suites = "tasks, maps, lstm, smaclite, lbf, paper, short, smoke"
    nowhere = ("--runs-dir", tmp_path, "--results-dir", tmp_path)
    of_own = "--beside, --label, --until and --statistic"
    for arguments, error in (
        (("smok",), f"smok is no folder, no file, and no suite: {suites}"),
        ((), f"give the folders of runs, or a suite: {suites}"),
        (("smoke", "--beside", "3m"), f"{of_own} are for runs of your own: "),
        (("smoke", "--statistic", "mean"), f"{of_own} are for runs of your own: "),
        (("smoke", *nowhere), "no results yet: python benchmark/run.py smoke"),
    ):
        with pytest.raises(SystemExit, match="2"):
            plot(*arguments)
        assert capfd.readouterr().err.startswith(f"plot.py: {error}")
    code, output = run("run", "smok")
    assert code == 2
    assert output == f"run.py: there is no suite smok; there are {suites}\n"
    code, output = run("run", "tasks", "--envs", "4m")
    assert code == 2
    assert output.startswith("run.py: environment 4m is not among what is left of tasks: MMM, 2s3z")
    code, output = run("run_on_ray", "smoke")
    assert code == 2
    assert output.startswith("run_on_ray.py: RAY_ADDRESS is not set")
    assert output.count("\n") == 1
    path = tmp_path / "loops.csv"
    code, output = run("studies/loops", tmp_path / "nowhere", "--csv", path, env=ENVIRON)
    assert code == 2
    assert output.startswith("loops.py: ")
    assert output.count("\n") == 1
    assert not path.exists()
