"""benchmark/run_on_ray.py on a cluster of two nodes, both of them on this machine."""

import json
import re

import pytest
from ray.cluster_utils import Cluster

from tests.helpers import scalars
from tests.test_benchmark import run, start

pytestmark = pytest.mark.slow
SUITE = ("smoke", "--scripts", "qmix", "qmix_lstm", "--seeds", 1, 2)


@pytest.fixture
def nodes(monkeypatch):
    """A cluster's address, and a function that kills its second node. Each has one core."""
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")  # a long one is too long for sockets
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    yield cluster.address, lambda: cluster.remove_node(second, allow_graceful=False)
    cluster.shutdown()


def statuses(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("status.json"))]


def test_both_nodes_run_a_suite_with_the_results_of_one_machine(nodes, tmp_path):
    address, _ = nodes
    there = tmp_path / "there"
    here = tmp_path / "here"
    code, output = run("run_on_ray", *SUITE, "--runs-dir", there, env={"RAY_ADDRESS": address})
    assert code == 0, output
    assert len(statuses(there)) == 4
    assert len({status["node"] for status in statuses(there)}) == 2
    code, output = run("run", *SUITE[:-1], "--runs-dir", here)
    assert code == 0, output
    for folder in here.glob("smoke/two_step_game/*/seed1"):
        expected = scalars(folder)
        expected.pop("time/sps")
        found = scalars(there / folder.relative_to(here))
        found.pop("time/sps")
        assert found == expected


def test_a_node_that_dies_takes_its_run_along_and_no_other(nodes, tmp_path):
    address, kill_second_node = nodes
    arguments = (*SUITE[:2], "qmix_lstm", "--seeds", 1, 2, "--runs-dir", tmp_path)
    env = {"RAY_ADDRESS": address}
    process = start("run_on_ray", *arguments, "--progress", 1, env=env)
    said = ""
    while len(set(re.findall(r"seed (\d): [\d,]+/", said))) < 2:  # both runs go on
        said += process.stdout.readline()
    kill_second_node()
    output, errors = process.communicate(timeout=120)
    output = said + output
    assert process.returncode == 1, output + errors
    assert len(re.findall(r"seed \d: finished after", output)) == 1
    assert len(re.findall(r"seed \d: FAILED \(.*node", output)) == 1, output
    assert "1 run finished, 1 failed:" in output
    assert "Traceback" not in output + errors

    code, output = run("run_on_ray", *arguments, env=env)
    assert code == 0, output
    assert output.count("skipped, it is finished") == 1
    assert output.count("finished after") == 1
