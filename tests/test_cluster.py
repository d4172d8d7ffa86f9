"""benchmark/run_on_ray.py on a cluster of two nodes, both of them on this machine."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from tests.helpers import REPO, scalars
from tests.test_benchmark import NEEDS_PROC, SMOKE, run, smoke, start, trainings_in, wait_for

pytestmark = [pytest.mark.slow, NEEDS_PROC]
__all__ = ["smoke"]  # a fixture: the suite, run without Ray


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A cluster's address, and a function that kills its second node. Each has one core."""
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)  # of a cluster that the user has
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where runs on a node have their folder
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # a long path is too long for sockets
    cluster = Cluster()
    try:
        cluster.add_node(num_cpus=1)
        second = cluster.add_node(num_cpus=1)
        yield cluster.address, lambda: cluster.remove_node(second, allow_graceful=False)
    finally:
        cluster.shutdown()


def statuses(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("status.json"))]


def without_time(logged):
    return {tag: events for tag, events in logged.items() if not tag.startswith("time/")}


@pytest.fixture
def clone(tmp_path):
    """A clone whose smoke suite plays an environment of the user's, which .gitignore lists."""
    root = tmp_path / "clone"
    ignore = shutil.ignore_patterns("__pycache__", "runs", "results")
    for folder in ("cleanmarl", "benchmark"):
        shutil.copytree(REPO / folder, root / folder, ignore=ignore)
    shutil.copy(REPO / ".gitignore", root)
    shutil.copytree(REPO / "tests" / "envs", root / "my_envs", ignore=ignore)
    suites = root / "benchmark" / "suites.py"
    suites.write_text(suites.read_text().replace("--env-family tests.envs", "--env-family my_envs"))
    return root


def test_both_nodes_run_a_suite_with_the_results_of_one_machine(smoke, clone, nodes, tmp_path):
    address, _ = nodes
    suite = ("smoke", "--scripts", *SMOKE, "--seeds", 1, -1, "--runs-dir", tmp_path)
    ray = {"RAY_ADDRESS": address}
    code, output = run("run_on_ray", *suite, "--progress", 1, env=ray, repo=clone)
    assert code == 1, output
    assert "2 finished, 2 failed" in output
    assert re.search(r"steps/s, \d:\d\d:\d\d left", output)  # a progress line
    assert len({status["node"] for status in statuses(tmp_path)}) == 2
    for script in SMOKE:
        assert f"  {script}  seed 1: finished" in output
        assert f"  {script}  seed -1: FAILED (exit code 2), the end of" in output
        assert f"    {script}.py: --seed -1 is out of range" in output
        folder = Path("smoke", "two_step_game", script, "seed1")
        there = scalars(tmp_path / folder)
        here = scalars(smoke.folder / "runs" / folder)
        assert without_time(there) == without_time(here)
        assert list((tmp_path / folder).glob(f"runs/{script}__pz__two_step_game__1__*/model.pt"))
        assert "eval/ep_reward" in (tmp_path / folder / "log.txt").read_text()


def test_a_node_that_dies_takes_its_run_along_and_no_other(nodes, tmp_path):
    address, kill_second_node = nodes
    suite = ("smoke", "--scripts", "qmix", "--seeds", 1, 2, "--runs-dir", tmp_path / "runs")
    driver = start("run_on_ray", *suite, env={"RAY_ADDRESS": address})
    try:
        assert wait_for(lambda: len(trainings_in(tmp_path)) == 2)
        for training in trainings_in(tmp_path):
            os.kill(training, signal.SIGSTOP)  # it would end by itself
        kill_second_node()
        assert wait_for(lambda: len(trainings_in(tmp_path)) == 1)
        (left,) = trainings_in(tmp_path)
        os.kill(left, signal.SIGCONT)
        output, errors = driver.communicate(timeout=120)
    finally:
        driver.kill()
    assert driver.returncode == 1, output + errors
    assert len(re.findall(r"seed \d: finished after", output)) == 1
    assert len(re.findall(r"seed \d: FAILED \(.*node", output)) == 1, output
    assert "1 finished, 1 failed" in output
    assert "Traceback" not in output + errors

    code, output = run("run_on_ray", *suite, env={"RAY_ADDRESS": address})
    assert code == 0, output
    assert output.count("skipped, it is finished") == 1
    assert output.count("finished after") == 1
