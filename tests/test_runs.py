"""Whole runs: the two-step game, metrics, reproducibility, W&B and saved weights."""

import math
import re
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cleanmarl import __version__
from cleanmarl.env_wrappers import PettingZooEnv, make_env
from tests.helpers import (
    CLOCK,
    ENVIRON,
    LBF,
    PZ,
    REPO,
    SCRIPTS,
    SPREAD,
    WEATHER,
    run,
    run_dir,
    run_here,
    scalars,
    words,
)

SMACLITE = ("--env-type", "smaclite", "--env-name", "3m")
SKIRMISH = ("--env-type", "smaclite", "--env-name", REPO / "tests" / "maps" / "skirmish.json")
TAGS = {
    "rollout/ep_reward",
    "rollout/ep_length",
    "rollout/epsilon",
    "rollout/num_episodes",
    "train/loss",
    "train/grads",
    "train/q_total",
    "train/td_target",
    "train/num_updates",
    "eval/ep_reward",
    "eval/std_ep_reward",
    "eval/ep_length",
    "time/sps",
}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_two_step_game(script, tmp_path, monkeypatch):
    """Section 5 of the paper: QMIX finds the 8 of the risky 2B, additive values settle for 7."""
    args = (*PZ, "two_step_game", *words("--total-timesteps 1200 --start-e 1 --end-e 1"))
    args += words("--polyak 0.1 --learning-rate 0.002 --eval-steps 500")
    run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    logged = scalars(tmp_path)
    assert logged["eval/ep_reward"][-1] == (1200, 8)
    assert {value for _, value in logged["eval/ep_length"]} == {2}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "env", "env_name"),
    [
        ("qmix", LBF, "lbf__Foraging-5x5-2p-1f-v3"),
        ("qmix", SPREAD, "pz__simple_spread_v3"),
        *((script, SMACLITE, "smaclite__3m") for script in SCRIPTS),
    ],
)
def test_every_metric_is_logged(script, env, env_name, tmp_path, monkeypatch):
    args = words("--total-timesteps 600 --batch-size 4 --eval-steps 10")
    run_here(script, *env, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    logged = scalars(tmp_path)
    battles = {"rollout/battle_won", "eval/battle_won"} if env == SMACLITE else set()
    assert set(logged) == TAGS | battles
    for events in logged.values():
        assert all(0 < step <= 600 for step, _ in events)
        assert all(math.isfinite(value) for _, value in events)
        assert len({step for step, _ in events}) == len(events)
    assert logged["eval/ep_reward"][-1][0] == 600
    assert logged["train/num_updates"][-1][1] >= 1
    assert run_dir(tmp_path).name.startswith(f"{script}__{env_name}__1__")


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_metrics_by_hand(script, tmp_path, monkeypatch):
    # Every episode of the clock takes 4 steps and pays 3 + 3 + 2 + 2.
    args = (*CLOCK, "--total-timesteps", 48, "--batch-size", 2, "--log-every", 4, "--eval-steps", 8)
    run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    logged = scalars(tmp_path)
    assert logged["rollout/num_episodes"] == [(16, 4), (32, 8), (48, 12)]
    assert logged["rollout/ep_reward"] == [(16, 10), (32, 10), (48, 10)]
    assert logged["rollout/ep_length"] == [(16, 4), (32, 4), (48, 4)]
    assert logged["eval/ep_reward"] == [(32, 10), (48, 10)]
    assert logged["eval/std_ep_reward"] == [(32, 0), (48, 0)]
    assert logged["eval/ep_length"] == [(32, 4), (48, 4)]
    updates = {"qmix_multienvs": [4, 8, 12]}.get(script, [3, 7, 11])
    assert [value for _, value in logged["train/num_updates"]] == updates


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_rollout_figures_are_of_the_episodes_since_the_log_before(script, tmp_path, monkeypatch):
    args = (*WEATHER, "--total-timesteps", 176, "--log-every", 5)
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    logged = scalars(tmp_path)
    returns = [episode["reward"].sum().item() for episode in program["buffer"].episodes]
    lengths = [len(episode["reward"]) for episode in program["buffer"].episodes]
    numbers = [int(value) for _, value in logged["rollout/num_episodes"]]
    assert numbers[-1] == len(returns)
    windows = [slice(*pair) for pair in zip([0, *numbers], numbers)]
    expected = [np.mean(returns[window]) for window in windows]
    assert [value for _, value in logged["rollout/ep_reward"]] == pytest.approx(expected)
    expected = [np.mean(lengths[window]) for window in windows]
    assert [value for _, value in logged["rollout/ep_length"]] == pytest.approx(expected)
    sizes = [len(returns[window]) for window in windows]
    # Parallel environments may end episodes in the same step.
    assert all(5 <= size <= (8 if script == "qmix_multienvs" else 5) for size in sizes[:-1])
    assert sizes[-1] < 5  # what is left at the end is logged too
    assert f"ep_reward={np.mean(returns[windows[-1]]):.3g}" in program["progress"].postfix


def test_rollouts_without_an_episode_are_not_logged(tmp_path, monkeypatch):
    # The run ends in the middle of an episode, just after a log.
    args = (*CLOCK, *words("--total-timesteps 10 --log-every 2"))
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    logged = scalars(tmp_path)
    assert [step for step, _ in logged["rollout/ep_reward"]] == [8]
    assert [step for step, _ in logged["rollout/num_episodes"]] == [8]


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_battles_won_are_those_of_the_episodes_since_the_log_before(script, tmp_path, monkeypatch):
    # A battle that is won returns 20 and a little, one that is not less than 3.
    args = (*SKIRMISH, *words("--total-timesteps 600 --log-every 5 --num-eval-ep 1"))
    args += words("--start-e 1 --end-e 1 --eval-steps 2 --batch-size 100")
    program = run_here(script, *args, "--buffer-size", 100, cwd=tmp_path, monkeypatch=monkeypatch)
    logged = scalars(tmp_path)
    won = [episode["reward"].sum().item() > 19 for episode in program["buffer"].episodes]
    numbers = [int(value) for _, value in logged["rollout/num_episodes"]]
    expected = [np.mean(won[slice(*pair)]) for pair in zip([0, *numbers], numbers)]
    assert [value for _, value in logged["rollout/battle_won"]] == pytest.approx(expected)
    assert len({True, False} & set(won)) == 2
    for (_, value), (_, episode_return) in zip(
        logged["eval/battle_won"], logged["eval/ep_reward"], strict=True
    ):
        assert value == (episode_return > 19)


def test_parallel_environments_are_evaluated_when_enough_episodes_have_ended(tmp_path, monkeypatch):
    # Episodes end four at a time: 8 are the first that are 6 or more, then 16.
    args = (*CLOCK, *words("--total-timesteps 80 --eval-steps 6"))
    run_here("qmix_multienvs", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert [step for step, _ in scalars(tmp_path)["eval/ep_reward"]] == [32, 64, 80]


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_a_line_and_a_bar_say_how_far_the_run_is(script, tmp_path, monkeypatch, capfd):
    args = (*CLOCK, *words("--total-timesteps 80 --eval-steps 12 --num-eval-ep 2"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # or there is no bar
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    figures = "reward 10.00  length 4.0"
    *lines, _, _ = capfd.readouterr().out.splitlines()
    assert [re.sub(r"  [\d,]+ steps/s$", "", line) for line in lines] == [
        f"step        {step}  {figures}" for step in (48, 80)
    ]
    assert program["progress"].n == 80
    assert program["progress"].total == 80
    assert program["progress"].postfix == "ep_reward=10, ep_length=4"


def test_the_log_names_the_arguments_the_version_and_the_speed(tmp_path, monkeypatch):
    before = time.time()
    args = (*CLOCK, *words("--total-timesteps 40 --seed 3 --log-every 4"))
    program = run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert re.fullmatch(r"qmix__pz__clock__3__\d+", run_dir(tmp_path).name)
    events = EventAccumulator(str(run_dir(tmp_path))).Reload()
    texts = []
    for tag in ("arguments", "version"):
        (event,) = events.Tensors(f"{tag}/text_summary")
        texts.append(event.tensor_proto.string_val[0].decode())
    assert texts[0].splitlines()[:2] == ["|argument|value|", "|-|-|"]
    rows = [f"|{name}|{value}|" for name, value in vars(program["args"]).items()]
    assert texts[0].splitlines()[2:] == rows
    assert texts[1] == __version__
    # The steps took some time, and not more than has passed since the start.
    for step, steps_per_second in scalars(tmp_path)["time/sps"]:
        assert 0 < step / steps_per_second <= time.time() - before


# Episodes of the clock have four steps and three agents: 333 of them are 3,996 observations.
@pytest.mark.parametrize(("batch_size", "threads"), [(333, {1}), (334, {1, 7})])
def test_large_batches_have_as_many_threads_as_torch_takes_by_itself(
    batch_size, threads, tmp_path, monkeypatch
):
    set_to = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    few = ("--total-timesteps", 1400, "--eval-steps", 1000, "--num-eval-ep", 1)
    arguments = (*CLOCK, *few, "--batch-size", batch_size)
    program = run_here("qmix", *arguments, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["num_updates"] > 0
    assert set(set_to) == threads
    # One thread is enough to act.
    assert set_to[0] == 1
    assert set_to[-1] == 1


def without_time(logged):
    return {tag: events for tag, events in logged.items() if not tag.startswith("time/")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "env"),
    [("qmix", LBF), ("qmix_lstm", LBF), ("qmix_multienvs", LBF), ("qmix_multienvs", SMACLITE)],
)
def test_the_same_command_gives_the_same_run(script, env, tmp_path, monkeypatch):
    args = (*env, *words("--total-timesteps 1200 --batch-size 4 --log-every 2 --eval-steps 10"))
    for name in ("a", "b", "other seed"):
        (tmp_path / name).mkdir()
    run(script, *args, "--seed", 1, cwd=tmp_path / "a")
    run_here(script, *args, "--seed", 1, cwd=tmp_path / "b", monkeypatch=monkeypatch)
    run_here(script, *args, "--seed", 2, cwd=tmp_path / "other seed", monkeypatch=monkeypatch)
    a, b, other = (without_time(scalars(tmp_path / name)) for name in ("a", "b", "other seed"))
    assert a == b
    for tag in ("rollout/ep_length", "train/loss", "train/grads"):
        assert a[tag] != other[tag]


@pytest.mark.slow
def test_the_same_command_gives_the_same_run_with_two_threads(tmp_path):
    few = words("--total-timesteps 1348 --batch-size 334 --eval-steps 1000 --num-eval-ep 1")
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        environ = ENVIRON | {"OMP_NUM_THREADS": "2"}
        run("qmix_lstm", *CLOCK, *few, cwd=tmp_path / name, env=environ)
        runs.append(without_time(scalars(tmp_path / name)))
    assert runs[0] == runs[1]
    assert runs[0]["train/num_updates"][-1][1] > 0


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_team_that_acts_has_the_weights_of_the_last_round(script, tmp_path, monkeypatch):
    source = (REPO / "cleanmarl" / f"{script}.py").read_text()
    arrive = "acting_q_network.load_state_dict(q_network.state_dict())"
    assert source.count('device.type != "cpu"') == source.count(arrive) == 1
    with_copy = source.replace('device.type != "cpu"', "True")  # as on a GPU
    # Only acting and evaluation are in inference mode, and the learner's network is in neither.
    copied = "acting_q_network = copy.deepcopy(q_network).cpu()"
    assert source.count(copied) == 1
    check = "0 / (not torch.is_inference_mode_enabled()) or None"
    no_player = f"q_network.register_forward_pre_hook(lambda *_: {check})"
    with_copy = with_copy.replace(copied, f"{copied}\n        {no_player}")
    sources = {"one": source, "copy": with_copy, "old copy": with_copy.replace(arrive, "pass")}
    args = (*WEATHER, *words("--total-timesteps 160 --batch-size 2 --log-every 2 --eval-steps 5"))
    logged = {}
    for name, text in sources.items():
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"{script}.py"
        path.write_text(text)
        run_here(script, *args, cwd=tmp_path / name, monkeypatch=monkeypatch, path=path)
        logged[name] = without_time(scalars(tmp_path / name))
    assert logged["copy"] == logged["one"]
    assert logged["old copy"]["rollout/ep_reward"] != logged["one"]["rollout/ep_reward"]


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_evaluation_has_a_seed_of_its_own(script, tmp_path, monkeypatch):
    args = (*WEATHER, "--total-timesteps", 20, "--seed", 5)
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    # The training environments have the seeds 5, 6...
    num_envs = 4 if script == "qmix_multienvs" else 1
    assert program["eval_env"].np_random_seed == 5 + num_envs


@pytest.mark.parametrize(
    ("script", "env"),
    [("qmix", WEATHER), ("qmix_multienvs", WEATHER), ("qmix_multienvs", SKIRMISH)],
)
def test_the_same_command_gives_the_same_scalars_twice(script, env, tmp_path, monkeypatch):
    args = (*env, *words("--total-timesteps 160 --batch-size 4 --log-every 2 --eval-steps 5"))
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run_here(script, *args, cwd=tmp_path / name, monkeypatch=monkeypatch)
        runs.append(without_time(scalars(tmp_path / name)))
    assert runs[0] == runs[1]
    assert len(runs[0]["train/loss"]) >= 3


def test_battle_i_has_the_seed_of_the_run_plus_i(tmp_path, monkeypatch):
    # The first episode of each is one that its map plays again alone with this seed.
    args = (*SKIRMISH, *words("--total-timesteps 100 --seed 5 --start-e 1 --end-e 1"))
    program = run_here("qmix_multienvs", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    env = make_env("smaclite", str(SKIRMISH[-1]))
    for seed in (5, 6, 7, 8):
        assert any(plays_again(env, seed, episode) for episode in program["buffer"].episodes)


def plays_again(env, seed, episode):
    """Whether the actions of an episode lead to its states with this seed too."""
    env.reset(seed=seed)
    for actions, next_state in zip(episode["actions"].numpy(), episode["next_states"].numpy()):
        obs, _, _, _, _ = env.step(actions)
        if not np.array_equal(obs["state"], next_state):
            return False
    return True


RETURNS = [10, 30, 20, 30, 10]  # of the evaluations in the seasons


def best_and_last(num_evaluations, cwd, monkeypatch):
    """The two models that a run of some seasons keeps."""
    cwd.mkdir()
    args = (*PZ, "seasons", "--total-timesteps", 16 * num_evaluations, "--num-eval-ep", 1)
    args += words("--eval-steps 4 --batch-size 2 --start-e 1 --end-e 1")
    run_here("qmix", *args, cwd=cwd, monkeypatch=monkeypatch)
    returns = [value for _, value in scalars(cwd)["eval/ep_reward"]]
    assert returns == RETURNS[:num_evaluations]
    names = ("best_model.pt", "model.pt")
    return [torch.load(run_dir(cwd) / name, weights_only=True) for name in names]


def equal_weights(model, other):
    weights = [{**saved["q_network"], **saved["mixer"]} for saved in (model, other)]
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("battles", "best", "logged"),
    [
        ([None] * 5, 4, []),
        ([1, 0, 1, 0, 0], 3, [1, 0, 1, 0, 0]),
        # An environment that tells only what has succeeded.
        ([None, None, 1, None, None], 3, [1, 0, 0]),
    ],
)
def test_best_model_is_of_the_most_battles_won_or_the_best_return_and_the_later_of_equal_ones(
    battles, best, logged, tmp_path, monkeypatch
):
    step = PettingZooEnv.step

    def step_with_battles(env, actions):
        *result, info = step(env, actions)
        evaluation = env.env.ended - 2  # one episode of the check, and this one
        won = battles[min(max(evaluation, 0), 4)]
        return *result, info if won is None else {**info, "battle_won": won}

    monkeypatch.setattr(PettingZooEnv, "step", step_with_battles)
    best_model, last_model = best_and_last(5, tmp_path / "whole", monkeypatch)
    # The last weights of a run that ends with an evaluation are those that it was of.
    _, expected = best_and_last(best, tmp_path / "shorter", monkeypatch)
    assert equal_weights(best_model, expected)
    assert not equal_weights(best_model, last_model)
    events = scalars(tmp_path / "whole")
    assert [value for _, value in events.get("eval/battle_won", [])] == logged
    # Each of the run's two logs has the share, though no episode since the first has told.
    assert len(events.get("rollout/battle_won", [])) == (2 if logged else 0)


@pytest.mark.slow
def test_wandb_offline(tmp_path):
    args = (*CLOCK, *words("--total-timesteps 80 --use-wnb --wnb-project clock"))
    run("qmix", *args, cwd=tmp_path)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (record,) = folder.glob("*.wandb")
    content = record.read_bytes()
    for name in (b"rollout/ep_reward", b"eval/ep_reward", b"exploration_fraction", b"clock"):
        assert name in content
    assert scalars(tmp_path)["eval/ep_reward"]


def test_wandb_knows_the_run_before_its_first_event(tmp_path, monkeypatch):
    calls = []

    def init(**options):
        calls.append((options, list(tmp_path.iterdir())))

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    args = (*CLOCK, *words("--total-timesteps 20 --use-wnb --wnb-project zoo --wnb-entity me"))
    program = run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    ((options, folders),) = calls
    assert not folders  # sync_tensorboard follows writers that are made later
    assert options == {
        "project": "zoo",
        "entity": "me",
        "name": run_dir(tmp_path).name,
        "group": "qmix",
        "config": vars(program["args"]),
        "sync_tensorboard": True,
    }


def test_saved_weights(tmp_path, monkeypatch):
    args = (*CLOCK, "--total-timesteps", 80, "--batch-size", 2)
    program = run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    saved = torch.load(run_dir(tmp_path) / "model.pt", weights_only=True)
    assert saved["script"] == "qmix"
    assert saved["version"] == __version__
    assert saved["args"] == vars(program["args"])
    for name in ("q_network", "mixer"):
        weights = program[name].state_dict()
        assert list(saved[name]) == list(weights)
        assert all(torch.equal(saved[name][key], weights[key]) for key in weights)


def test_a_run_keeps_its_script_under_the_name_that_it_is_given(tmp_path, monkeypatch):
    script = tmp_path / "my_qmix.py"
    script.write_text((REPO / "cleanmarl" / "qmix.py").read_text() + "# mine\n")
    args = (*CLOCK, *words("--total-timesteps 20 --exp-name narrow"))
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch, path=script)
    assert run_dir(tmp_path).name.startswith("narrow__pz__clock__1__")
    assert (run_dir(tmp_path) / "my_qmix.py").read_text() == script.read_text()


def test_no_model_if_not_wanted(tmp_path, monkeypatch):
    args = (*CLOCK, "--total-timesteps", 20, "--no-save-model")
    run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert not list(run_dir(tmp_path).glob("*.pt*"))
