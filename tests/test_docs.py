"""The patches, examples and commands of the pages in docs do what these say."""

import importlib.util
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro
import yaml
from pettingzoo.test import parallel_api_test

from cleanmarl import plain_arguments
from cleanmarl.env_wrappers import make_env
from tests import helpers
from tests.helpers import (
    CLOCK,
    REPO,
    batch_of,
    module,
    networks_of,
    random_trajectory,
    run_dir,
    scalars,
)

FOLDER = REPO / "docs" / "patches"
# The file that each patch changes.
PATCHES = {path.stem: path.read_text().split()[1] for path in sorted(FOLDER.glob("*.patch"))}
OF_THE_GUIDE = ("annealing", "vdn", "clipped_double_q", "time")  # it says that they go together
EXAMPLES = REPO / "docs" / "examples"
GUIDE = REPO / "docs" / "hacking.md"
SMALL = (*CLOCK, "--total-timesteps", 200, "--batch-size", 2)

# Commands of the pages that are not run, by their first words, and why.
NOT_RUN = {
    "git clone": "network",
    "cd ": "the copy is the clone",
    "python -m venv": "the environment is the test's",
    "source ": "the environment is the test's",
    "pip install": "network",
    "wandb ": "an account",
    "tensorboard ": "a server, does not end",
    "export RAY_AUTH": "a cluster",
    "ray ": "a cluster",
    "RAY_ADDRESS=": "a cluster",
    "python docs/examples/sweep_optuna.py": "has a test of its own",
    "python benchmark/run.py smoke": "tests/test_benchmark.py runs it",
    "python benchmark/plot.py smoke": "tests/test_benchmark.py runs it",
}
# Commands that are run shorter than they are written: what is appended.
SHORTER = {
    r"(WANDB_MODE=offline |for seed in 1; do )?python (cleanmarl/qmix|my_)\w*\.py ": (
        "--total-timesteps 300 --batch-size 2"
    ),
    r"python benchmark/run\.py ": "--seeds 1 --jobs 1",
}


def patch(name, source):
    """What the patch makes of a file's text. Each hunk must fit in exactly one place."""
    _, *hunks = re.split(r"^@@.*\n", Path(FOLDER, f"{name}.patch").read_text(), flags=re.M)
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        assert source.count(old) == 1, f"docs/patches/{name}.patch does not fit:\n{hunk}"
        source = source.replace(old, new)
    return source


def patched(name, folder):
    """A copy of the script with this patch, as a file."""
    path = Path(folder, f"my_{name}.py")
    path.write_text(patch(name, (REPO / PATCHES[name]).read_text()))
    return path


def import_file(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    imported = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = imported  # dataclasses look themselves up there
    spec.loader.exec_module(imported)
    return imported


def run_file(path, *args, cwd, monkeypatch):
    """Run a program in this process and return its globals."""
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", [path.name, *map(str, args)])
    return runpy.run_path(str(path), run_name="__main__")


def check_style(source, name):
    for command in (["check"], ["format", "--diff"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", name, "-"]
        done = subprocess.run(ruff, input=source, cwd=REPO, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_fits_and_is_small(name):
    check_style(patch(name, (REPO / PATCHES[name]).read_text()), PATCHES[name])
    lines = Path(FOLDER, f"{name}.patch").read_text().splitlines()[2:]
    # To resume a run takes all that it holds, and the paper's agents differ in many places.
    longest = {"resume": 70, "paper": 40}.get(name, 30)
    assert sum(line[0] == "+" for line in lines) <= longest
    assert sum(line[0] == "-" for line in lines) <= 41  # VDN takes a whole mixer out


@pytest.fixture
def patches_of_a_copy(tmp_path):
    """docs/patches/make.py in a copy of what it works on: a function that runs it, and its root."""
    for folder in ("cleanmarl", "docs/patches"):
        ignore = shutil.ignore_patterns("__pycache__", "runs", "results")
        shutil.copytree(REPO / folder, tmp_path / folder, ignore=ignore)

    def make(*args):
        command = [sys.executable, "docs/patches/make.py", *args]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return make, tmp_path


def texts(root):
    return {path.stem: path.read_text() for path in root.glob("docs/patches/*.patch")}


def test_the_patches_are_as_their_tool_makes_them(patches_of_a_copy):
    make, root = patches_of_a_copy
    assert make().returncode == 0
    assert texts(root) == texts(REPO)


def test_the_tool_makes_patches_fit_a_changed_script(patches_of_a_copy):
    make, root = patches_of_a_copy
    script = root / "cleanmarl" / "qmix.py"
    changed = script.read_text().replace("a class of torch.optim", "an optimizer")
    script.write_text("# a new first line\n" + changed)
    before = texts(root)["annealing"]
    assert make().returncode == 0
    after = texts(root)["annealing"]
    assert "an optimizer" not in before
    assert "an optimizer" in after
    assert [line for line in after.splitlines() if line[0] in "+-"] == [
        line for line in before.splitlines() if line[0] in "+-"
    ]


def test_the_tool_names_a_patch_that_fits_nowhere_and_takes_it_from_a_copy(patches_of_a_copy):
    make, root = patches_of_a_copy
    script = root / "cleanmarl" / "qmix.py"
    script.write_text(script.read_text().replace("batch", "sample"))
    before = texts(root)
    done = make()
    assert done.returncode == 1
    assert "scale_only" in done.stderr
    assert texts(root)["scale_only"] == before["scale_only"]
    Path(root, "my_copy.py").write_text(
        script.read_text().replace("maxlen=buffer_size", "maxlen=7")
    )
    assert make("scale_only", "my_copy.py").returncode == 0
    assert "maxlen=7" in texts(root)["scale_only"]
    assert texts(root)["scale_only"].startswith("--- cleanmarl/qmix.py\n+++ my_scale.py\n")


def test_a_script_can_have_all_patches():
    source = (REPO / "cleanmarl/qmix.py").read_text()
    for name in OF_THE_GUIDE:
        source = patch(name, source)
    check_style(source, "cleanmarl/qmix.py")


@pytest.mark.parametrize("name", PATCHES)
def test_a_patched_script_trains(name, tmp_path, monkeypatch):
    path = patched(name, tmp_path)
    extra = {
        "annealing": ("--end-lr", 0.1),
        "clipped_double_q": ("--clipped-double-q",),
        "time": ("--time-limit", 4),
    }
    run_file(path, *SMALL, *extra.get(name, ()), cwd=tmp_path, monkeypatch=monkeypatch)
    assert run_dir(tmp_path).name.startswith(f"my_{name}__pz__clock__1__")
    saved = torch.load(run_dir(tmp_path) / "model.pt", weights_only=True)
    assert saved["script"] == f"my_{name}"
    # There are 50 episodes, and two in the first batch.
    assert scalars(tmp_path)["train/num_updates"][-1][1] == 49


def test_a_metric_of_ones_own_is_logged_with_the_others(tmp_path, monkeypatch):
    guide = GUIDE.read_text()
    (of_updates,) = re.findall(r"`(train_metrics\[.train/my_metric.*?\))`", guide)
    (of_rollouts,) = re.findall(r"`(writer.add_scalar\(.rollout/my_metric.*?\))`", guide)
    source = (REPO / "cleanmarl" / "qmix.py").read_text()
    for before, line in (
        ('train_metrics["train/loss"].append(loss)\n', of_updates),
        ('writer.add_scalar("train/num_updates", num_updates, global_step)\n', of_rollouts),
    ):
        (indent,) = re.findall(f"^( +){re.escape(before)}", source, flags=re.M)
        source = source.replace(before, f"{before}{indent}{line}\n")
    path = tmp_path / "my_metric.py"
    path.write_text(source.replace("my_value", "42"))
    args = (*SMALL, *"--log-every 4 --eval-steps 1000000".split())
    run_file(path, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    logged = scalars(tmp_path)
    for tag, other in (("train/my_metric", "train/loss"), ("rollout/my_metric", "time/sps")):
        assert logged[tag] == [(step, 42) for step, _ in logged[other]]


def test_annealing_is_linear_and_off_by_default(tmp_path, monkeypatch):
    path = patched("annealing", tmp_path)
    for end, expected in ((0.5, [0.0009, 0.0008, 0.0007, 0.0006, 0.0005]), (1, [0.001] * 5)):
        cwd = tmp_path / str(end)
        cwd.mkdir()
        args = (*SMALL, "--log-every", 10, "--learning-rate", 0.001, "--end-lr", end)
        program = run_file(path, *args, cwd=cwd, monkeypatch=monkeypatch)
        assert [value for _, value in scalars(cwd)["train/learning_rate"]] == pytest.approx(
            expected
        )
        assert program["optimizer"].param_groups[0]["lr"] == pytest.approx(expected[-1])


def test_vdn_is_a_sum(tmp_path):
    mixer = import_file(patched("vdn", tmp_path)).Mixer()
    q_values = torch.randn(7, 5, 3)
    states = torch.randn(7, 5, 4)
    expected = q_values[..., 0] + q_values[..., 1] + q_values[..., 2]
    assert torch.allclose(mixer(q_values, states), expected)
    assert not list(mixer.parameters())


def test_clipping_only_lowers_targets(tmp_path):
    clipped = import_file(patched("clipped_double_q", tmp_path))
    script = module("qmix")
    q_network, target_q_network, _, target_mixer = networks_of("qmix")
    rng = np.random.default_rng(1)
    batch = batch_of("qmix", [random_trajectory(rng, length) for length in (5, 9, 6)])

    def target(of, **options):
        return of.compute_td_target(
            q_network, target_q_network, target_mixer, batch, gamma=0.99, **options
        )

    for double_q in (False, True):
        theirs = target(script, double_q=double_q)
        unclipped = target(clipped, double_q=double_q, clipped_double_q=False)
        assert torch.equal(unclipped, theirs)
        ours = target(clipped, double_q=double_q, clipped_double_q=True)
        assert (ours <= theirs).all()
        assert (ours < theirs).any()


def test_the_state_knows_the_time(tmp_path, monkeypatch):
    # Every episode of the clock takes 4 steps.
    path = patched("time", tmp_path)
    program = run_file(path, *SMALL, "--time-limit", 4, cwd=tmp_path, monkeypatch=monkeypatch)
    env = make_env("pz", "clock", "tests.envs")
    (state_dim,) = env.observation_space["state"].shape
    for episode in program["buffer"].episodes:
        assert episode["states"].shape == episode["next_states"].shape == (4, state_dim + 1)
        assert episode["states"].dtype == torch.float32
        assert episode["states"][:, -1].tolist() == [0, 0.25, 0.5, 0.75]
        assert episode["next_states"][:, -1].tolist() == [0.25, 0.5, 0.75, 1]
        assert torch.equal(episode["states"][1:], episode["next_states"][:-1])


def test_the_papers_agents_see_their_last_actions(tmp_path, monkeypatch):
    # Every episode of the clock takes 4 steps.
    path = patched("paper", tmp_path)
    calls = []

    def keep(module, inputs):
        if type(module).__name__ == "QNetwork":
            calls.append(inputs[1][0])  # (time, n_agents)

    hook = torch.nn.modules.module.register_module_forward_pre_hook(keep)
    args = (*SMALL, "--total-timesteps", 60, "--eval-steps", 1000, "--num-eval-ep", 1)
    try:
        program = run_file(path, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    finally:
        hook.remove()
    expected = []
    for episode in program["buffer"].episodes:
        expected += [[-1, -1, -1], *episode["actions"][:-1].tolist()]
    acting = [call[0].tolist() for call in calls if len(call) == 1]
    assert acting[:60] == expected
    assert [-1 in actions for actions in acting[60:]] == [True, False, False, False]
    # The learner values the situations of whole episodes, and of those after their steps.
    learning = [call[:, 0].tolist() for call in calls if len(call) > 1]
    assert {len(actions) for actions in learning} == {4, 5}
    assert {actions[0] for actions in learning} == {-1}
    batch = program["buffer"].sample(2, np.random.default_rng(1))
    assert torch.equal(batch["last_actions"][:, 1:], batch["actions"][:, :-1])
    # There are 15 episodes, and two in the first batch.
    assert scalars(tmp_path)["train/num_updates"][-1][1] == 14


def test_the_papers_target_is_the_value_of_the_next_step(tmp_path):
    paper = import_file(patched("paper", tmp_path))
    rng = np.random.default_rng(1)
    buffer = paper.ReplayBuffer(2, False, torch.device("cpu"))
    for _ in range(2):
        buffer.add(helpers.episode("qmix_lstm", random_trajectory(rng, 6)))
    batch = buffer.sample(2, rng)
    batch["next_avail_actions"] = torch.ones_like(batch["next_avail_actions"])
    q_network = paper.QNetwork(4, 3, 16, 1)
    mixer = paper.Mixer(3, 5, 16)
    target = paper.compute_td_target(q_network, q_network, mixer, batch, 1.0, False)
    q_values, _ = q_network(batch["obs"], batch["last_actions"])
    expected = batch["reward"][:, :-1] + mixer(q_values.amax(dim=-1), batch["states"])[:, 1:]
    assert torch.allclose(target[:, :-1], expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "best"), [("qmix", 8), ("vdn", 7)])
def test_two_step_game(name, best, tmp_path, monkeypatch):
    """QMIX goes where the 8 is; VDN takes that for worth 6.5 and settles for 7."""
    suites = import_file(REPO / "benchmark" / "suites.py")
    path = patched("vdn", tmp_path) if name == "vdn" else REPO / "cleanmarl" / "qmix.py"
    args = (*suites.TWO_STEP_GAME.split(), "--env-name", "two_step_game")
    run_file(path, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert scalars(tmp_path)["eval/ep_reward"][-1] == (2000, best)
    program = str(EXAMPLES / "two_step_values.py")
    command = [sys.executable, program, str(path), str(run_dir(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = []
    for line in done.stdout.splitlines()[1:]:
        rows.append([float(number) for number in line.split(",")[2:]])
    expected = {"qmix": [[0, 1], [1, 8]], "vdn": [[-1.5, 2.5], [2.5, 6.5]]}[name]
    np.testing.assert_allclose(rows[4:], expected, atol=0.1 if name == "qmix" else 0.8)


@pytest.mark.parametrize("file", ["docs/examples/lift.py", "tests/envs/two_step_game.py"])
def test_an_example_passes_the_test_of_pettingzoo(file):
    example = import_file(REPO / file)
    parallel_api_test(example.parallel_env(), num_cycles=100)


def test_lift_pays_for_lifting_together_and_has_a_time_limit():
    lift = import_file(EXAMPLES / "lift.py")
    env = lift.parallel_env()
    env.reset(seed=1)
    for first, second, paid in ((0, 6, True), (6, 0, True), (0, 5, False), (6, 6, False)):
        env.reset()
        env.positions[:] = first, second
        _, rewards, terminations, truncations, _ = env.step(
            {"agent_1": lift.LIFT, "agent_2": lift.LIFT}
        )
        assert sum(rewards.values()) == paid
        assert set(terminations.values()) == {paid}
        assert set(truncations.values()) == {False}
    env.reset()
    for t in range(lift.TIME_LIMIT):
        *_, terminations, truncations, _ = env.step({"agent_1": lift.LEFT, "agent_2": lift.LEFT})
        assert set(truncations.values()) == {t == lift.TIME_LIMIT - 1}
        assert not any(terminations.values())


@pytest.mark.slow
def test_lift_is_learnt(tmp_path, monkeypatch):
    (tmp_path / "my_envs").mkdir()
    shutil.copy(EXAMPLES / "lift.py", tmp_path / "my_envs")
    args = "--env-type pz --env-family my_envs --env-name lift"
    args += " --total-timesteps 10000 --exploration-fraction 0.5"
    path = REPO / "cleanmarl" / "qmix.py"
    run_file(path, *args.split(), "--gamma", 0.9, cwd=tmp_path, monkeypatch=monkeypatch)
    assert scalars(tmp_path)["eval/ep_reward"][-1][1] >= 0.8


def test_the_wandb_sweep_gives_arguments_that_exist():
    sweep = yaml.safe_load((EXAMPLES / "sweep.yaml").read_text())
    flags = [word for word in sweep["command"] if word.startswith("--")]
    # The first value of each parameter, then the last: a later flag counts.
    for end, bound in ((0, "min"), (-1, "max")):
        for name, parameter in sweep["parameters"].items():
            only = parameter.get("value", parameter.get(bound))
            values = parameter.get("values", [only])
            flags.append(f"--{name}={values[end]}")
    assert "--double_q=True" in flags
    assert "--double_q=False" in flags
    args = tyro.cli(module("qmix").Args, args=plain_arguments(flags))
    module("qmix").check_args(args)
    assert args.use_wnb
    assert not args.double_q
    assert sweep["metric"]["name"] == "eval/ep_reward"


def test_without_optuna_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit, match="pip install optuna"):
        runpy.run_path(str(EXAMPLES / "sweep_optuna.py"), run_name="__main__")


DIVERGES_IN_TRIAL_1 = """
import os, runpy, sys
if "trial1" in os.getcwd():
    sys.exit("my_qmix.py: loss is not finite")
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.mark.slow
def test_optuna(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PYTHONPATH", str(REPO), prepend=os.pathsep)
    Path(tmp_path, "my_qmix.py").write_text(DIVERGES_IN_TRIAL_1)
    args = ("my_qmix.py", REPO / "cleanmarl" / "qmix.py", *CLOCK)
    args += ("--total-timesteps", 80, "--eval-steps", 5)
    best = []
    for trials in (2, 0):  # then the study that is kept
        words = ("my_sweep", trials, *args)
        run_file(EXAMPLES / "sweep_optuna.py", *words, cwd=tmp_path, monkeypatch=monkeypatch)
        best.append(capfd.readouterr().out.splitlines()[-1])
    assert best[0].startswith("best: 10.000 with {'learning_rate': ")
    assert best[1] == best[0]
    runs = tmp_path.glob("sweeps/my_sweep/trial0/seed*/runs/qmix__pz__clock__*/model.pt")
    assert len(list(runs)) == 3
    with pytest.raises(SystemExit, match="another script or arguments"):
        words = ("my_sweep", 1, *args, "--double-q")
        run_file(EXAMPLES / "sweep_optuna.py", *words, cwd=tmp_path, monkeypatch=monkeypatch)


def test_the_actions_of_the_scoreboard_win(monkeypatch, capsys):
    page = (REPO / "docs" / "scoreboard.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S)
    monkeypatch.chdir(REPO)
    exec(compile(block, "docs/scoreboard.md", "exec"), {})
    lines = ["2m_vs_1z 38 steps", "3s_vs_4z 99 steps", "3s_vs_5z 217 steps"]
    assert capsys.readouterr().out.splitlines() == [f"{line}, 10 of 10 won" for line in lines]


def commands_of(page):
    """The commands in a page's bash blocks: lines joined at a backslash, and parted at &&."""
    text = (REPO / "docs" / page).read_text()
    commands = []
    for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            commands += [command.strip() for command in line.split(" && ")]
    return [command for command in commands if command]


@pytest.fixture
def clone(tmp_path):
    """What a page needs of a clone; the simulator is the installed one, compiled already."""
    root = tmp_path / "clone"
    ignore = shutil.ignore_patterns("__pycache__", "runs", "results", "_build")
    for folder in ("cleanmarl", "benchmark", "docs/patches", "docs/examples", "tests/envs"):
        shutil.copytree(REPO / folder, root / folder, ignore=ignore)
    for file in ("README.md", "pyproject.toml", "tests/__init__.py"):
        shutil.copy(REPO / file, root / file)
    (root / "benchmark" / "results").mkdir()
    for path in (REPO / "benchmark" / "results").glob("short*.csv"):  # a published suite
        shutil.copy(path, root / "benchmark" / "results")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("page", ["quickstart.md", "hacking.md", "benchmark.md"])
def test_the_commands_of_a_page(page, clone):
    assert shutil.which("patch"), "this test needs the program patch"
    environ = os.environ | {"WANDB_MODE": "offline"}
    environ.pop("RAY_ADDRESS", None)
    # `python` is this one.
    environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environ["PATH"]])
    commands = commands_of(page)
    assert len(commands) > 5
    for command in commands:
        if command.startswith(tuple(NOT_RUN)):
            continue
        if "<run>" in command:
            newest = max((clone / "runs").iterdir(), key=lambda path: path.stat().st_mtime)
            command = command.replace("<run>", newest.name)
        command = command.replace("for seed in 1 2 3;", "for seed in 1;")
        shorter = [words for pattern, words in SHORTER.items() if re.match(pattern, command)]
        end = "; done" if command.endswith("; done") else ""
        command = " ".join([command.removesuffix(end), *shorter]) + end
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=clone,
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
