"""The four scripts say the same with the same lines, and have the documented arguments.

Other tests need only qmix.py for what all four have in common.
"""

import ast
import dataclasses
import subprocess

import pytest

from tests.helpers import REPO, SCRIPTS, module

# What a variant changes beside its Args and its main loop: its idea.
VARIANT = {
    "qmix_memefficient": {"ReplayBuffer"},
    "qmix_multienvs": {"check_args"},
    "qmix_lstm": {
        "QNetwork",
        "ReplayBuffer",
        "compute_td_target",
        "td_loss",
        "evaluate",
        "check_args",
    },
}
# Lines of the main loop that a variant has in another form, or does without.
MAIN = {
    "qmix_memefficient": """
        episode["actions"].append(actions)  # (n_agents,)
        episode["next_obs"].append(next_obs["obs"])
        episode["next_states"].append(next_obs["state"])
    """,
    "qmix_multienvs": """
        eval_env = make_env(**env_args, seed=args.seed + 1, check=True)
        env = make_env(**env_args, seed=args.seed)
        episode = defaultdict(list)
        obs, _ = env.reset()
        agent_obs = torch.as_tensor(obs["obs"])  # (n_agents, obs_dim)
        next_obs, reward, terminated, truncated, info = env.step(actions)
        global_step += 1
        progress.update()
        done = terminated or (truncated and args.timeout_is_terminal)
        episode["obs"].append(obs["obs"])  # (n_agents, obs_dim)
        episode["actions"].append(actions)  # (n_agents,)
        episode["reward"].append(np.float32(reward))  # or the loss becomes float64
        episode["next_obs"].append(next_obs["obs"])
        episode["states"].append(obs["state"])  # (state_dim,)
        episode["next_states"].append(next_obs["state"])
        episode["next_avail_actions"].append(next_obs["avail_actions"])  # (n_agents, n_actions)
        if terminated or truncated:
        if "battle_won" in info:
        battles_won.append(info["battle_won"])
        if num_episodes % args.target_network_update_freq == 0:
        env.close()
    """,
    "qmix_lstm": """
        q_values = acting_q_network(agent_obs).numpy()
        )
        loss, q_total = td_loss(q_network, mixer, batch, td_target)
        train_metrics["train/td_target"].append(td_target.mean().item())
    """,
}
# Lines that `diff -w` shows between qmix.py and a variant, as many as its idea takes. They are
# exact, so that no line of a variant changes unseen: look at the diff before you change a number.
CHANGED_LINES = {"qmix_memefficient": 23, "qmix_multienvs": 82, "qmix_lstm": 96}
ARGS = """
    env_type str smaclite = = =
    env_name str 3m 3m MMM 3m
    env_family str mpe = = =
    num_envs int - - 4 -
    agent_ids bool True = = =
    buffer_size int 5000 5000 5000 10000
    total_timesteps int 1000000 = = =
    gamma float 0.99 = = =
    train_freq int 1 1 2 1
    optimizer str Adam = = =
    learning_rate float 0.0005 0.0005 0.0005 0.0008
    batch_size int 10 10 32 10
    start_e float 1 = = =
    end_e float 0.025 = = =
    exploration_fraction float 0.05 = = =
    hidden_dim int 64 = = =
    hyper_dim int 64 = = =
    num_layers int 1 = = =
    target_network_update_freq int 1 = = =
    polyak float 0.01 0.01 0.005 0.005
    normalize_reward bool False = = =
    clip_gradients float -1 = = =
    n_epochs int - - 2 -
    tbptt int - - - 10
    log_every int 10 = = =
    eval_steps int 50 = = =
    num_eval_ep int 5 5 5 10
    use_wnb bool False = = =
    wnb_project str '' = = =
    wnb_entity str '' = = =
    device str cpu = = =
    seed int 1 = = =
    double_q bool False = = =
    timeout_is_terminal bool False = = =
    max_episode_steps int 10000 = = =
    load_model str '' = = =
    save_model bool True = = =
    exp_name str '' = = =
"""


def definitions(script):
    """Top-level classes and functions: name -> source, decorators included."""
    source = (REPO / "cleanmarl" / f"{script}.py").read_text()
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found[node.name] = "\n".join(source.splitlines()[first - 1 : node.end_lineno])
    return found


@pytest.mark.parametrize("script", SCRIPTS[1:])
def test_shared_parts_are_identical_and_in_the_same_order(script):
    ours, theirs = definitions("qmix"), definitions(script)
    shared = [name for name in ours if name not in VARIANT[script] | {"Args"}]
    assert {"Mixer", "select_actions", "gradient_step", "soft_update", "fail"} <= set(shared)
    for name in shared:
        assert ours[name] == theirs[name], name
    assert [name for name in theirs if name in ours] == list(ours)
    assert set(theirs) - set(ours) <= VARIANT[script]


def main_block(script):
    """The lines of `if __name__ == "__main__"`, without indentation and empty lines."""
    source = (REPO / "cleanmarl" / f"{script}.py").read_text()
    _, main = source.split('\nif __name__ == "__main__":\n')
    lines = [line.strip() for line in main.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize("script", SCRIPTS[1:])
def test_the_main_loop_is_the_same_but_for_the_idea_of_the_variant(script):
    changed = [line.strip() for line in MAIN[script].splitlines()]
    theirs = iter(main_block(script))
    for line in main_block("qmix"):
        if line not in changed:
            assert line in theirs, f"not in {script}.py, or not in this order: {line}"


@pytest.mark.parametrize("script", SCRIPTS[1:])
def test_as_many_lines_differ_as_the_idea_of_the_variant_takes(script):
    paths = [REPO / "cleanmarl" / f"{name}.py" for name in ("qmix", script)]
    diff = subprocess.run(["diff", "-w", *paths], capture_output=True, text=True).stdout
    changed = [line for line in diff.splitlines() if line.startswith(("<", ">"))]
    assert len(changed) == CHANGED_LINES[script]


@pytest.mark.parametrize("column", range(4))
def test_the_arguments_and_their_defaults(column):
    expected = []
    for row in ARGS.strip().splitlines():
        name, kind, *values = row.split()
        value = values[0] if values[column] == "=" else values[column]
        if value != "-":
            expected.append((name, kind, value.strip("'")))
    fields = dataclasses.fields(module(SCRIPTS[column]).Args)
    assert [(field.name, field.type.__name__, str(field.default)) for field in fields] == expected


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_argument_has_a_docstring(script):
    (args,) = (
        node
        for node in ast.parse(definitions(script)["Args"]).body
        if isinstance(node, ast.ClassDef)
    )
    for field, docstring in zip(args.body[::2], args.body[1::2], strict=True):
        assert isinstance(field, ast.AnnAssign)
        assert isinstance(docstring, ast.Expr)
        assert docstring.value.value
