"""The four scripts say the same with the same lines, and have SPEC's arguments."""

import ast
import dataclasses

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


@pytest.mark.parametrize("column", range(4))
def test_arguments_of_the_specification(column):
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
