"""Whole runs through the command line: the two-step game, metrics, reproducibility, W&B and saved weights."""

import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.helpers import CLOCK, SCRIPTS, module, run, run_dir, run_here, scalars

LBF = ("--env-type", "lbf", "--env-name", "Foraging-5x5-2p-1f-v3")
SPREAD = ("--env-type", "pz", "--env-name", "simple_spread_v3")
SMACLITE = ("--env-type", "smaclite", "--env-name", "3m")
PURSUIT = ("--env-type", "pz", "--env-family", "sisl", "--env-name", "pursuit_v5")
TAGS = {
    "rollout/ep_reward",
    "rollout/ep_length",
    "rollout/epsilon",
    "rollout/num_episodes",
    "train/loss",
    "train/grads",
    "train/num_updates",
    "eval/ep_reward",
    "eval/std_ep_reward",
    "eval/ep_length",
    "time/sps",
}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_two_step_game(script, tmp_path):
    """Section 5 of the paper: QMIX finds the 8 behind the risky 2B; additive value functions settle for 7."""
    args = [
        "--env-type",
        "pz",
        "--env-family",
        "tests.envs",
        "--env-name",
        "two_step_game",
        "--total-timesteps",
        "4000",
    ]
    run(
        script,
        *args,
        "--start-e",
        1,
        "--end-e",
        1,
        "--polyak",
        0.05,
        "--eval-steps",
        500,
        cwd=tmp_path,
    )
    logged = scalars(tmp_path)
    assert logged["eval/ep_reward"][-1] == (4000, 8)
    assert {value for _, value in logged["eval/ep_length"]} == {2}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("env", [LBF, SPREAD, SMACLITE, PURSUIT])
def test_every_metric_is_logged(script, env, tmp_path):
    # An episode of pursuit takes 500 steps; parallel environments need 500 steps each to finish one.
    few = (
        *["--batch-size", "1", "--num-eval-ep", "1"],
        *(("--num-envs", 1) if script == "qmix_multienvs" else ()),
    )
    small = (*few, "--train-freq", 1) if env == PURSUIT else ("--batch-size", 4, "--eval-steps", 10)
    run(script, *env, *small, "--total-timesteps", 600, cwd=tmp_path)
    logged = scalars(tmp_path)
    assert set(logged) == TAGS | (
        {"rollout/battle_won", "eval/battle_won"} if env == SMACLITE else set()
    )
    for events in logged.values():
        assert all(0 < step <= 600 and math.isfinite(value) for step, value in events)
        assert len({step for step, _ in events}) == len(events)
    assert logged["eval/ep_reward"][-1][0] == 600
    assert logged["train/num_updates"][-1][1] >= 1
    arguments = EventAccumulator(str(run_dir(tmp_path))).Reload().Tensors("arguments/text_summary")
    table = arguments[0].tensor_proto.string_val[0].decode()
    assert "|gamma|0.99|" in table
    family = env[3] if env != PURSUIT else env[5]
    assert run_dir(tmp_path).name.startswith(f"{script}__{env[1]}__{family}__1__")


@pytest.mark.parametrize("script", SCRIPTS)
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "env"), [*((script, LBF) for script in SCRIPTS), ("qmix_multienvs", SMACLITE)]
)
def test_the_same_command_gives_the_same_run(script, env, tmp_path):
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        cwd = tmp_path / name
        cwd.mkdir()
        args = f"--seed {seed} --batch-size 4 --log-every 2 --eval-steps 10 --total-timesteps 1200".split()
        run(script, *env, *args, cwd=cwd)
        runs.append(
            {tag: events for tag, events in scalars(cwd).items() if not tag.startswith("time/")}
        )
    assert runs[0] == runs[1]
    for tag in ("rollout/ep_length", "train/loss", "train/grads"):
        assert runs[0][tag] != runs[2][tag]


def test_parallel_environments_differ_from_each_other(tmp_path, monkeypatch):
    args = (*SPREAD, "--total-timesteps", 100, "--num-envs", 4)
    episodes = run_here("qmix_multienvs", *args, cwd=tmp_path, monkeypatch=monkeypatch)[
        "buffer"
    ].episodes
    starts = [tuple(episode["states"][0].tolist()) for episode in episodes]
    assert len(starts) == len(set(starts)) == 4


def test_evaluation_has_a_seed_of_its_own(tmp_path, monkeypatch):
    for script in SCRIPTS:
        program = run_here(
            script, *SPREAD, "--total-timesteps", 100, cwd=tmp_path, monkeypatch=monkeypatch
        )
        trained_on = {
            tuple(episode["states"][0].tolist()) for episode in program["buffer"].episodes
        }
        env = module(script).make_env("pz", "simple_spread_v3", seed=program["args"].seed)
        eval_seed = 1 + getattr(program["args"], "num_envs", 1)
        evaluated_on = (
            module(script).make_env("pz", "simple_spread_v3", seed=eval_seed).reset()[0]["state"]
        )
        assert tuple(env.reset()[0]["state"].tolist()) in trained_on
        assert tuple(evaluated_on.tolist()) not in trained_on


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_wandb_offline(script, tmp_path):
    run(
        script, *CLOCK, "--total-timesteps", 80, "--use-wnb", "--wnb-project", "clock", cwd=tmp_path
    )
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (record,) = folder.glob("*.wandb")
    content = record.read_bytes()
    for words in (b"rollout/ep_reward", b"eval/ep_reward", b"exploration_fraction", b"clock"):
        assert words in content
    assert scalars(tmp_path)["eval/ep_reward"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_saved_weights(script, tmp_path, monkeypatch):
    args = (*CLOCK, "--total-timesteps", 80, "--batch-size", 2)
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    saved = torch.load(run_dir(tmp_path) / "model.pt", weights_only=True)
    assert saved["script"] == script
    assert module(script).Args(**saved["args"]) == module(script).Args(**vars(program["args"]))
    sizes = (
        program["obs_dim"],
        program["n_actions"],
        saved["args"]["hidden_dim"],
        saved["args"]["num_layers"],
    )
    q_network = module(script).QNetwork(*sizes)
    q_network.load_state_dict(saved["q_network"])
    mixer = module(script).Mixer(
        program["n_agents"], program["state_dim"], saved["args"]["hyper_dim"]
    )
    mixer.load_state_dict(saved["mixer"])
    obs = torch.randn(
        50, 6, program["n_agents"], program["obs_dim"]
    )  # (batch, time, n_agents, obs_dim)
    ours, theirs = q_network(obs), program["q_network"](obs)
    ours, theirs = (ours[0], theirs[0]) if script == "qmix_lstm" else (ours, theirs)
    assert torch.equal(ours.argmax(dim=-1), theirs.argmax(dim=-1))
    assert len(ours.argmax(dim=-1).unique()) > 1


def test_no_model_if_not_wanted(tmp_path, monkeypatch):
    run_here(
        "qmix",
        *CLOCK,
        "--total-timesteps",
        20,
        "--no-save-model",
        cwd=tmp_path,
        monkeypatch=monkeypatch,
    )
    assert not (run_dir(tmp_path) / "model.pt").exists()
