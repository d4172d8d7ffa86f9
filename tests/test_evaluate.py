"""Trained models are loaded, evaluated and filmed, and what cannot work ends with one line."""

import json
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cleanmarl import UsageError, __version__
from cleanmarl.env_wrappers import TeamEnv, make_env
from cleanmarl.evaluate import Args, describe, describe_wins, over_runs, run_several
from cleanmarl.rendering.video import Video
from tests.envs import clock, foreign
from tests.helpers import ENVIRON, REPO, SCRIPTS, command, module, run_dir, run_here

PROGRAMS = REPO / "tests" / "programs"
LBF = ("lbf", "Foraging-5x5-2p-1f-v3")
SPREAD = ("pz", "simple_spread_v3")
SMACLITE = ("smaclite", "3m")
CLOCK = ("pz", "clock", "tests.envs")
SEED = 1000000


def save(folder, env=LBF, script="qmix", name="model.pt", **changes):
    """The folder of a run whose networks are random; `changes` are to what is saved."""
    m = module(script)
    team = make_env(*env)
    env_type, env_name, env_family = (*env, "mpe")[:3]
    args = m.Args(env_type=env_type, env_name=env_name, env_family=env_family, hidden_dim=16)
    n_agents, obs_dim = team.observation_space["obs"].shape
    n_actions = int(team.action_space.nvec[0])
    torch.manual_seed(1)
    q_network = m.QNetwork(obs_dim, n_actions, 16, 1)
    for parameter in q_network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    mixer = m.Mixer(n_agents, team.observation_space["state"].shape[0], args.hyper_dim)
    saved = {
        "script": script,
        "version": __version__,
        "args": vars(args),
        "q_network": q_network.state_dict(),
        "mixer": mixer.state_dict(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(saved | changes, folder / name)
    return folder


def change(run, **changes):
    """Change what is saved of a run."""
    saved = torch.load(run / "model.pt", weights_only=True)
    torch.save(saved | changes, run / "model.pt")


def assert_one_line(result):
    """evaluate.py ended with one line on stderr, which is returned, and the exit code 2."""
    code, out, err = result
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("evaluate.py: ")
    return err


@pytest.fixture
def evaluate(tmp_path, monkeypatch, capfd):
    """Call evaluate.py in this process. Returns the exit code, stdout and stderr."""

    def call(*args):
        monkeypatch.setattr(sys, "path", list(sys.path))
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            run_here("evaluate", *args, cwd=tmp_path, monkeypatch=monkeypatch)
        return stop.value.code, *capfd.readouterr()

    return call


@pytest.fixture
def figures(evaluate):
    def call(*args):
        code, out, err = evaluate(*args, "--json")
        assert code == 0, err
        assert out.count("\n") == 1
        return json.loads(out)

    return call


def greedy_rollout(path, env, episodes):
    """Returns, lengths and battles won, independently of evaluate.py and of the scripts' loops."""
    saved = torch.load(path, weights_only=True)
    weights = saved["q_network"]
    obs_dim = next(iter(weights.values())).shape[1]
    n_actions = len(weights["head.bias"])
    hidden_dim = saved["args"]["hidden_dim"]
    num_layers = saved["args"]["num_layers"]
    q_network = module(saved["script"]).QNetwork(obs_dim, n_actions, hidden_dim, num_layers)
    q_network.load_state_dict(weights)
    team = make_env(*env)
    returns = []
    lengths = []
    won = []
    for i in range(episodes):
        obs, _ = team.reset(seed=SEED + i)
        history = []
        total = 0
        over = False
        while not over:
            history.append(torch.as_tensor(obs["obs"]))
            with torch.no_grad():
                if saved["script"] == "qmix_lstm":  # the whole history, in one sequence
                    values = q_network(torch.stack(history)[None])[0][0, -1]
                else:
                    values = q_network(history[-1])
            values[~torch.as_tensor(obs["avail_actions"])] = -torch.inf
            obs, reward, terminated, truncated, info = team.step(values.argmax(dim=1).numpy())
            total += reward
            over = terminated or truncated
        returns.append(total)
        lengths.append(len(history))
        won.append(info.get("battle_won"))
    return returns, lengths, won


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("env", [LBF, SPREAD, SMACLITE])
def test_figures_are_those_of_an_independent_rollout(script, env, figures, tmp_path, monkeypatch):
    small = ("--hidden-dim", 16, "--hyper-dim", 8, "--batch-size", 4, "--train-freq", 4)
    small += ("--eval-steps", 30, "--num-eval-ep", 1)
    args = ("--env-type", env[0], "--env-name", env[1], "--total-timesteps", 1500, *small)
    run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    for best, name in (((), "model.pt"), (("--best",), "best_model.pt")):
        found = figures(run_dir(tmp_path), "--episodes", 4, *best)
        returns, lengths, won = greedy_rollout(run_dir(tmp_path) / name, env, 4)
        assert found["return"]["episodes"] == pytest.approx(returns)
        assert found["return"]["mean"] == pytest.approx(np.mean(returns))
        assert found["return"]["std"] == pytest.approx(np.std(returns))
        assert found["length"]["episodes"] == lengths
        assert found.get("battles_won", {"episodes": [None] * 4})["episodes"] == won
        assert found["script"] == script
        assert found["num_episodes"] == 4
        assert found["seed"] == SEED


@pytest.mark.parametrize("script", SCRIPTS)
def test_figures_of_random_networks(script, figures, tmp_path):
    found = figures(save(tmp_path / "run", script=script), "--episodes", 5)
    returns, lengths, _ = greedy_rollout(tmp_path / "run" / "model.pt", LBF, 5)
    assert found["return"]["episodes"] == pytest.approx(returns)
    assert found["length"]["episodes"] == lengths
    assert "battles_won" not in found


def test_the_table_has_the_same_figures(evaluate, figures, tmp_path):
    run = save(tmp_path / "run", env=SMACLITE)
    found = figures(run, "--episodes", 6)
    code, out, err = evaluate(run, "--episodes", 6)
    assert code == 0
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == f"{run}/model.pt, trained by qmix, on smaclite 3m"
    assert lines[1] == "6 greedy episodes, seeds 1000000 to 1000005"
    for name, line in zip(("return", "length", "battles_won"), lines[3:], strict=True):
        row = found[name]
        numbers = [row["mean"], *([row["std"]] if "std" in row else []), *row["interval"]]
        words = line.removeprefix(name.replace("_", " ")).split()
        assert [word for word in words if word != "to"] == [f"{number:.3f}" for number in numbers]


def test_the_table_over_runs(evaluate, figures, tmp_path):
    runs = []
    for seed in (1, 2, 3):
        runs.append(save(tmp_path / f"run{seed}"))
        args = torch.load(runs[-1] / "model.pt", weights_only=True)["args"]
        change(runs[-1], args=args | {"seed": seed, "log_every": seed})
    weights = torch.load(runs[0] / "model.pt", weights_only=True)["q_network"]
    change(runs[0], q_network={name: -tensor for name, tensor in weights.items()})
    found = figures(*runs, "--episodes", 2)
    assert found["num_runs"] == 3
    assert found["runs"][1] == figures(runs[1], "--episodes", 2)
    for name in ("return", "length"):
        means = [of_run[name]["mean"] for of_run in found["runs"]]
        assert found[name]["runs"] == means
        assert found[name]["mean"] == pytest.approx(np.mean(means))
        assert found[name]["std"] == pytest.approx(np.std(means, ddof=1))
        half_width = 4.3027 * found[name]["std"] / 3**0.5  # t of 2 degrees of freedom
        assert found[name]["interval"][1] - found[name]["mean"] == pytest.approx(half_width, 1e-4)
    code, out, _ = evaluate(*runs, "--episodes", 2)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "3 runs, trained by qmix, on lbf Foraging-5x5-2p-1f-v3"
    assert lines[1] == "2 greedy episodes each, seeds 1000000 to 1000001"
    cells = [f"{found[name]['runs'][2]:.3f}" for name in ("return", "length")]
    assert lines[5].split() == [*cells, f"{runs[2]}/model.pt"]
    cells = [f"{found[name]['mean']:.3f}" for name in ("return", "length")]
    assert lines[6].split() == ["mean", *cells]
    for run, text in zip(runs[1:], ("one", "other")):
        (run / "qmix.py").write_text(text)
    err = assert_one_line(evaluate(*runs))
    assert f"{runs[2]}/qmix.py differs from {runs[1]}/qmix.py: give runs of one version" in err
    change(runs[2], args=args | {"gamma": 0.9})
    err = assert_one_line(evaluate(*runs))
    assert f"'gamma' is 0.99 in {runs[0]}/model.pt and 0.9 in {runs[2]}/model.pt" in err


def test_any_episode_can_be_played_again(figures, tmp_path):
    run = save(tmp_path / "run", env=SPREAD)
    found = figures(run, "--episodes", 5)
    assert found == figures(run, "--episodes", 5)
    assert len(set(found["return"]["episodes"])) == 5
    for i in (0, 3):
        alone = figures(run, "--episodes", 1, "--seed", SEED + i)
        assert alone["return"]["episodes"] == [found["return"]["episodes"][i]]


def test_intervals():
    wins = describe_wins([1.0] * 8 + [0.0] * 2)
    assert wins["mean"] == 0.8
    assert wins["interval"] == pytest.approx([0.4902, 0.9433], abs=1e-4)  # Wilson's
    assert describe_wins([0.0] * 5)["interval"] == [0, pytest.approx(0.4345, abs=1e-4)]
    assert describe_wins([1.0] * 5)["interval"] == [pytest.approx(0.5655, abs=1e-4), 1]
    half_width = 2.7764 * (2.5 / 5) ** 0.5  # t of 4 degrees of freedom, times the standard error
    expected = [3 - half_width, 3 + half_width]
    assert describe([1, 2, 3, 4, 5])["interval"] == pytest.approx(expected, abs=1e-4)
    assert describe([3.0] * 5)["interval"] == [3, 3]
    assert describe([3.0] * 4)["interval"] is None
    assert describe_wins([1.0] * 4)["interval"] is None


def test_which_model_of_a_run(evaluate, figures, tmp_path):
    run = save(tmp_path / "run")
    save(run, name="best_model.pt", env=LBF)
    assert figures(run, "--episodes", 1)["model"].endswith("run/model.pt")
    assert figures(run, "--episodes", 1, "--best")["model"].endswith("run/best_model.pt")
    assert figures(run / "best_model.pt", "--episodes", 1)["model"].endswith("run/best_model.pt")
    (run / "model.pt").unlink()
    assert "--best" in assert_one_line(evaluate(run))


def test_another_environment_of_the_same_sizes(evaluate, figures, tmp_path):
    found = figures(save(tmp_path / "run"), "--episodes", 2, "--env-name", "Foraging-6x6-2p-1f-v3")
    assert found["env_name"] == "Foraging-6x6-2p-1f-v3"
    err = assert_one_line(evaluate(tmp_path / "run", "--env-name", "Foraging-5x5-3p-1f-v3"))
    assert "--env-name: the model does not fit" in err
    assert "15 observations and 6 actions" in err
    assert "body.0.weight" in err
    assert "[16, 11]" in err
    assert "[16, 15]" in err


# Scripts and environments of the user's own


@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_a_copy_of_a_script(script, evaluate, figures, tmp_path):
    shutil.copy(REPO / "cleanmarl" / f"{script}.py", tmp_path / "my_copy.py")
    run = save(tmp_path / "run", script=script)
    for name in (script, "my_copy"):  # what lies beside a model is not run
        (run / f"{name}.py").write_text("raise SystemExit('it was run')")
    expected = figures(run, "--episodes", 3)["return"]
    change(run, script="my_copy")
    assert figures(run, "--episodes", 3, "--script", "my_copy.py")["return"] == expected
    err = assert_one_line(evaluate(run))
    assert "'my_copy'" in err
    assert "--script" in err


def test_a_model_of_other_layers(evaluate, tmp_path):
    run = save(tmp_path / "run")
    weights = torch.load(run / "model.pt", weights_only=True)["q_network"]
    change(run, q_network={f"\033[2J{name}": tensor for name, tensor in weights.items()})
    err = assert_one_line(evaluate(run))
    assert "--script" in err
    assert "head.bias" in err
    assert "\033" not in err
    assert "version" not in err
    change(run, version="0.2.0")
    assert f"the model of version '0.2.0' (this is {__version__})" in assert_one_line(evaluate(run))


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (REPO / "cleanmarl" / "qmix_lstm.py", "body.0.weight"),
        (PROGRAMS / "more_arguments_script.py", "'width'"),
        (PROGRAMS / "wider_script.py", "[6, 32]"),
        (REPO / "cleanmarl" / "env_wrappers.py", "QNetwork"),
    ],
)
def test_a_script_that_does_not_fit(own, words, evaluate, tmp_path):
    err = assert_one_line(evaluate(save(tmp_path / "run"), "--script", own))
    assert "--script" in err
    assert words in err


def test_a_return_that_is_no_number_is_null_in_json(evaluate, tmp_path):
    own = PROGRAMS / "nan_script.py"
    _, out, _ = evaluate(save(tmp_path / "run"), "--script", own, "--episodes", 2, "--json")
    assert json.loads(out, parse_constant=pytest.fail)["return"]["episodes"] == [None, None]


def test_an_environment_of_ones_own_has_to_be_named(evaluate, figures, tmp_path):
    run = save(tmp_path / "run", env=CLOCK)
    for some in ((), ("--env-family", "tests.envs"), ("--env-name", "clock")):
        err = assert_one_line(evaluate(run, *some))
        for word in ("clock", "tests.envs", "--env-family", "--env-name"):
            assert word in err
    found = figures(run, "--episodes", 2, "--env-family", "tests.envs", "--env-name", "clock")
    assert found["return"]["episodes"] == [10, 10]


CLOCK_NAMED = ("--env-family", "tests.envs", "--env-name", "clock", "--episodes", 2)


@pytest.mark.parametrize(("limit", "length"), [(3, 3), (10000, 4)])
def test_episodes_have_the_limit_of_the_run(limit, length, figures, tmp_path):
    run = save(tmp_path / "run", CLOCK)
    args = torch.load(run / "model.pt", weights_only=True)["args"]
    change(run, args=args | {"max_episode_steps": limit})
    assert figures(run, *CLOCK_NAMED)["length"]["episodes"] == [length, length]


def test_an_episode_that_does_not_tell_is_not_won(figures, tmp_path, monkeypatch):
    run = save(tmp_path / "run", CLOCK)
    monkeypatch.setattr(clock, "parallel_env", foreign.TellsOnlySuccess)
    found = figures(run, *CLOCK_NAMED)["battles_won"]
    assert sorted(found["episodes"]) == [False, True]
    env = make_env("pz", "clock", "tests.envs")
    q_network = module("qmix").QNetwork(8, 3, 16, 1)
    assert module("qmix").evaluate(env, q_network, 4)["eval/battle_won"] == 0.5


def test_a_run_that_never_tells_has_won_nothing():
    row = {"mean": 10.0}
    silent = dict.fromkeys(("script", "env_type", "env_name", "seed", "num_episodes"), "")
    silent |= {"return": row, "length": row}
    winner = silent | {"battles_won": {"mean": 1.0}}
    for played in ([silent, winner], [winner, silent]):
        assert sorted(over_runs(played)["battles_won"]["runs"]) == [0, 1]
    assert "battles_won" not in over_runs([silent, silent])


def test_environments_that_want_a_seed(figures, tmp_path, monkeypatch):
    run = save(tmp_path / "run", CLOCK)
    monkeypatch.setattr(clock, "parallel_env", foreign.WantsSeed)
    assert figures(run, *CLOCK_NAMED)["num_episodes"] == 2


def test_an_environment_that_ends_the_program(evaluate, tmp_path, monkeypatch):
    run = save(tmp_path / "run", CLOCK)
    monkeypatch.setattr(clock, "parallel_env", foreign.Exits)
    monkeypatch.setattr(foreign.Exits, "where", "step")
    with pytest.raises(RuntimeError, match=r"called sys\.exit\(\)"):
        evaluate(run, *CLOCK_NAMED)


def test_handlers_of_the_environment_are_replaced(figures, tmp_path, monkeypatch):
    handlers = []

    class Deaf(clock.Clock):
        def __init__(self):
            super().__init__()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

        def step(self, actions):
            handlers.append(signal.getsignal(signal.SIGTERM))
            return super().step(actions)

    run = save(tmp_path / "run", CLOCK)
    monkeypatch.setattr(clock, "parallel_env", Deaf)
    figures(run, *CLOCK_NAMED)
    assert set(handlers) == {signal.default_int_handler}


def test_booleans_as_sweep_tools_write_them(evaluate, tmp_path):
    run = save(tmp_path / "run", CLOCK)
    code, out, err = evaluate(run, *CLOCK_NAMED, "--json=True", "--best=False")
    assert code == 0, err
    assert json.loads(out)["num_episodes"] == 2


@pytest.mark.parametrize("error", [OSError("cannot close"), SystemExit(0)])
def test_an_error_of_close_hides_nothing(error, evaluate, figures, tmp_path, monkeypatch):
    def close(self):
        raise error

    monkeypatch.setattr(TeamEnv, "close", close)
    run = save(tmp_path / "run")
    video = ("--video", "film.gif", "--video-episodes", 1)
    assert figures(run, "--episodes", 2, *video)["num_episodes"] == 2
    err = assert_one_line(evaluate(run, "--env-name", "Foraging-5x5-3p-1f-v3"))
    assert "does not fit" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.gif", "run"]


def test_ctrl_c_keeps_the_figures(evaluate, tmp_path):
    run = save(tmp_path / "run")
    code, out, err = evaluate(run, "--script", PROGRAMS / "interrupting_script.py", "--json")
    assert code == 130
    assert json.loads(out)["num_episodes"] == 3
    assert err.count("this goes to stderr") == 4
    assert "stopped after 3 of 100 episodes" in err


def test_ctrl_c_keeps_the_runs_that_are_whole(tmp_path, monkeypatch):
    names = [str(save(tmp_path / name)) for name in "abc"]
    rows = {"return": describe([1, 2]), "length": describe([3, 4])}
    words = dict.fromkeys(("script", "env_type", "env_name", "seed"), "")
    played = [{**words, **rows, "num_episodes": number} for number in (2, 1)]
    monkeypatch.setattr("cleanmarl.evaluate.run", lambda args: played.pop(0))
    figures = run_several(Args(tuple(names), episodes=2))
    assert figures["num_runs"] == 1
    assert figures["length"]["runs"] == [3.5]
    assert not played


@pytest.mark.parametrize(("episodes", "is_whole"), [(4, False), (3, True)])
def test_ctrl_c_throws_a_video_away_unless_it_is_whole(episodes, is_whole, evaluate, tmp_path):
    own = ("--script", PROGRAMS / "interrupting_script.py")
    video = ("--video", "film.gif", "--video-episodes", episodes)
    code, out, err = evaluate(save(tmp_path / "run"), *own, *video)
    assert code == 130
    assert "3 greedy episodes" in out
    assert ("thrown away" in err) == (not is_whole)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == (["film.gif", "run"] if is_whole else ["run"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_from_the_terminal(kind, tmp_path):
    own = ("--script", PROGRAMS / "interrupting_script.py")
    video = ("--video", "film.mp4", "--video-episodes", 10**6)
    args = (save(tmp_path / "run"), *own, *video, "--episodes", 10**6)
    process = subprocess.Popen(
        command("evaluate", *args),
        cwd=tmp_path,
        env=ENVIRON | {"STOP_AT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    filming = False
    while not filming:
        assert process.poll() is None
        is_playing = "this goes" in process.stderr.readline()
        filming = is_playing and list(tmp_path.glob(".video-*/film.mp4"))
    os.killpg(process.pid, kind)  # ffmpeg gets it too, as in a terminal
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "greedy episodes" in out or not out  # nothing if the first had not ended
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-"])
def test_without_streams(closed, tmp_path):
    program = shlex.join(command("evaluate", save(tmp_path / "run"), "--episodes", 2))
    shell = ["sh", "-c", f"exec {program} {closed}"]
    done = subprocess.run(shell, cwd=tmp_path, env=ENVIRON, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == ""
    assert ("2 greedy episodes" in done.stdout) == (closed == "2>&-")


# What cannot be loaded


class Attack:
    """An object whose unpickling makes the folder `marker`."""

    def __reduce__(self):
        return os.mkdir, ("marker",)


def plain_pickle(path, good):
    path.write_bytes(pickle.dumps({**good, "script": Attack()}))


def zipped_pickle(path, good):
    torch.save({**good, "args": Attack()}, path)


def old_format(path, good):
    torch.save({**good, "q_network": Attack()}, path, _use_new_zipfile_serialization=False)


def replaced_in_the_archive(path, good):
    torch.save(good, path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, pickle.dumps(Attack()) if name.endswith("data.pkl") else content)


def whole_module(path, good):
    torch.save(module("qmix").QNetwork(11, 6, 16, 1), path)


def torchscript(path, good):
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def cut_off(path, good):
    torch.save(good, path)
    path.write_bytes(path.read_bytes()[:-700])


def flipped(path, good):
    torch.save(good, path)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)


NO_MODELS = [
    plain_pickle,
    zipped_pickle,
    old_format,
    replaced_in_the_archive,
    whole_module,
    torchscript,
    cut_off,
    flipped,
]
CHANGES = [
    {"script": 3},
    {"args": None},
    {"args": {}},
    {"q_network": {}},
    {"q_network": [1]},
    {"q_network": {"head.bias": 3}},
    {"q_network": {"head.bias": torch.full((16,), torch.nan)}},
    {"q_network": {"head.bias": torch.ones(16).to_sparse()}},
    {"q_network": {"head.bias": torch.ones(16, device="meta")}},
    {"version": None},
    b"",
    b"not a model",
    [],
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make", NO_MODELS + CHANGES, ids=lambda make: getattr(make, "__name__", str(make))
)
def test_files_that_are_no_models(make, evaluate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "run") / "model.pt"
    good = torch.load(path, weights_only=True)
    if callable(make):
        make(path, good)
    elif isinstance(make, bytes):
        path.write_bytes(make)
    else:
        torch.save(good | make if isinstance(make, dict) else make, path)
    assert "is damaged or no model" in assert_one_line(evaluate(path.parent))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_layers", 3 * 10**6),  # would be built for hours
        ("hidden_dim", 3 * 10**6),  # would fill the memory
        ("max_episode_steps", 0),
        ("max_episode_steps", "many"),
        ("max_episode_steps", 1.5),
        ("agent_ids", "no"),
        ("env_type", 3),
    ],
)
def test_arguments_that_no_script_saves(name, value, evaluate, tmp_path):
    run = save(tmp_path / "run")
    args = torch.load(run / "model.pt", weights_only=True)["args"]
    change(run, args=args | {name: value})
    assert "is damaged or no model" in assert_one_line(evaluate(run))


def test_the_attack_would_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zipped_pickle(tmp_path / "model.pt", {})
    torch.load(tmp_path / "model.pt", weights_only=False)
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("part", "value"),
    [("script", "evil\n\033[2Jevil"), ("env_family", "evil"), ("env_name", "..evil")],
)
def test_a_model_does_not_choose_what_is_imported(part, value, evaluate, tmp_path):
    (tmp_path / "evil.py").write_text("import os\nos.mkdir('marker')\n")
    run = save(tmp_path / "run", env=SPREAD)
    if part == "script":
        change(run, script=value)
    else:
        args = torch.load(run / "model.pt", weights_only=True)["args"]
        change(run, args=args | {part: value})
    err = assert_one_line(evaluate(run))
    assert "\033" not in err
    assert not (tmp_path / "marker").exists()


BAD = [
    (("nowhere",), "no such model"),
    ((".",), "model.pt: there is no such model"),
    (("run", "--best"), "best_model.pt"),
    (("run/model.pt", "--env-name", "Foraging-5x5-2p-1f-v9"), "Foraging-5x5-2p-1f-v3"),
    (("run", "--episodes", 0), "--episodes"),
    (("run", "--video-episodes", 0), "--video-episodes"),
    (("run", "--seed", -1), "--seed"),
    (("run", "--script", "my_qmix.py"), "--script"),
    (("run", "--script", "run/model.pt"), "--script"),
    (("run", "--video", "film.avi"), ".mp4"),
    (("run", "--video", "no/such/folder/film.mp4"), "no/such/folder"),
    (("run", "--video", "film.mp4", "--render"), "--render"),
    (("run", "run", "--video", "film.mp4"), "give one run"),
    ((), "give the folder of a run"),
]


@pytest.mark.parametrize(("args", "words"), BAD, ids=lambda value: " ".join(map(str, value))[:40])
def test_one_line(args, words, evaluate, tmp_path):
    save(tmp_path / "run")
    assert words in assert_one_line(evaluate(*args))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_package_for_videos_is_missing(evaluate, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "moviepy", None)
    monkeypatch.setitem(sys.modules, "moviepy.config", None)
    monkeypatch.delitem(sys.modules, "cleanmarl.rendering.video")
    err = assert_one_line(evaluate(save(tmp_path / "run"), "--video", "film.mp4"))
    assert 'pip install -e ".[video]"' in err
    assert evaluate(tmp_path / "run", "--episodes", 1)[0] == 0  # nothing else needs it


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems always have a display"
)
@pytest.mark.parametrize("env", [LBF, SPREAD])
def test_a_window_without_a_display(env, evaluate, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    assert "--video" in assert_one_line(evaluate(save(tmp_path / "run", env=env), "--render"))


@pytest.mark.parametrize("env", [LBF, SPREAD, None])
def test_a_window(env, tmp_path):
    run = save(tmp_path / "run", env=env or short_map(tmp_path / "map"))
    args = torch.load(run / "model.pt", weights_only=True)["args"]
    change(run, args=args | {"max_episode_steps": 5})  # a window shows them at its own pace
    environ = ENVIRON | {"SDL_VIDEODRIVER": "dummy", "PYGAME_HIDE_SUPPORT_PROMPT": "1"}
    program = [sys.executable, str(PROGRAMS / "evaluate_in_a_window.py")]
    args = [*program, "run", "--render", "--episodes", "1", "--json"]
    done = subprocess.run(args, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["length"]["mean"]
    expected = {LBF: steps + 1, SPREAD: 3 * steps, None: 8 * steps + 1}  # MPE shows agents' turns
    assert int(done.stderr.splitlines()[-1]) == expected[env]


# Videos


def read_video(path):
    """The frames, the seconds and what ffmpeg tells.

    Of the frames every other row and column, (n, height / 2, width / 2, 3).
    """
    if path.suffix == ".gif":
        from PIL import Image, ImageSequence

        frames = []
        milliseconds = 0
        with Image.open(path) as film:
            for frame in ImageSequence.Iterator(film):
                frames.append(np.array(frame.convert("RGB"))[::2, ::2])
                milliseconds += frame.info["duration"]
        return np.stack(frames), milliseconds / 1000, ""
    from moviepy import VideoFileClip
    from moviepy.config import FFMPEG_BINARY

    with VideoFileClip(str(path)) as clip:
        assert not (np.array(clip.size) % 2).any()
        frames = np.stack([frame[::2, ::2] for frame in clip.iter_frames()])
        seconds = clip.duration
    described = subprocess.run([FFMPEG_BINARY, "-i", str(path)], capture_output=True, text=True)
    return frames, seconds, described.stderr


def short_map(folder):
    """3m's like, cut off after three steps."""
    battle = json.loads((REPO / "tests" / "maps" / "ambush.json").read_text())
    battle["episode_limit"] = 3
    folder.mkdir()
    shutil.copytree(REPO / "tests" / "maps" / "units", folder / "units")
    (folder / "short.json").write_text(json.dumps(battle))
    return "smaclite", str(folder / "short.json")


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems always have a display"
)
@pytest.mark.parametrize(
    ("env", "suffix"), [(LBF, "mp4"), (LBF, "gif"), (SPREAD, "mp4"), (None, "mp4")]
)
def test_two_episodes_without_a_display(env, suffix, figures, tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    env = env or short_map(tmp_path / "map")
    run = save(tmp_path / "run", env=env)
    found = figures(run, "--episodes", 3, "--video", f"film.{suffix}")
    frames, seconds, described = read_video(tmp_path / f"film.{suffix}")
    per_step, per_second = {"lbf": (1, 5), "pz": (1, 10), "smaclite": (8, 16)}[env[0]]
    expected = sum(per_step * steps + 1 + per_second for steps in found["length"]["episodes"][:2])
    assert seconds == pytest.approx(expected / per_second, abs=0.2)
    assert abs(len(frames) - expected) <= 1
    first = frames[: per_step * int(found["length"]["episodes"][0]) + 1].astype(np.int16)
    changes = np.abs(np.diff(first, axis=0)).max(axis=(1, 2, 3))
    assert (changes > 20).mean() > 0.6  # something moves or counts
    if suffix == "mp4":
        assert "h264" in described
        assert "yuv420p(" in described
    drawn = make_env(*env, render_mode="rgb_array")
    drawn.reset(seed=SEED)
    difference = np.abs(first[0] - drawn.render()[::2, ::2].astype(int))
    assert difference.mean() < 3  # it is the first episode
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert found == figures(run, "--episodes", 3)  # pictures change nothing


def test_what_is_not_a_picture(tmp_path):
    video = Video(tmp_path / "film.mp4", 5)
    good = np.zeros((4, 4, 3), np.uint8)
    for frame in (None, good[0], good.astype(float), [good]):
        with pytest.raises(UsageError, match="--video"):
            video.add(frame)
    video.add(np.zeros((33, 65, 3), np.uint8))
    with pytest.raises(UsageError, match="followed by"):
        video.add(np.zeros((40, 65, 3), np.uint8))
    video.close()
    assert not list(tmp_path.iterdir())


# Runs that are killed


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "fork"), reason="starts runs that have imported everything already"
)
def test_killed_at_any_moment(tmp_path, figures):
    """Every episode is followed by an evaluation, and nearly every other one is the best so far."""
    seed = np.random.SeedSequence().entropy % 10**6
    print("the moments have the seed", seed)
    env = ("--env-type", "lbf", "--env-name", LBF[1])
    often = ("--batch-size", "2", "--eval-steps", "1", "--num-eval-ep", "1", "--log-every", "1")
    killer = [sys.executable, str(PROGRAMS / "killed_runs.py"), str(seed), *env, *often]
    done = subprocess.run(
        killer, cwd=tmp_path, env=ENVIRON, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    for k in range(5):
        run = run_dir(tmp_path / f"run{k}")
        saved = torch.load(run / "best_model.pt", weights_only=True)
        assert all(value.isfinite().all() for value in saved["q_network"].values())
        assert not (run / "model.pt").exists()
        EventAccumulator(str(run)).Reload().Tags()
        figures(run, "--episodes", 1, "--best")
