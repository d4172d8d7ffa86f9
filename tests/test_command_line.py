"""What every script says of its command line: booleans of sweep tools, names that do not exist."""

import pytest
import tyro

from cleanmarl import UsageError, check_name, plain_arguments
from cleanmarl.qmix import Args
from tests.helpers import words


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--double_q=True", "--double_q"),
        ("--double-q=true", "--double-q"),
        ("--double_q=False", "--no-double_q"),
        ("--agent_ids=FALSE --seed=0", "--no-agent_ids --seed=0"),
        ("--double-q --no-agent-ids --seed 1", "--double-q --no-agent-ids --seed 1"),
        ("--env-name=truest --gamma=1", "--env-name=truest --gamma=1"),
        ("--total-timesteps 1e6 --buffer-size=2e3", "--total-timesteps 1000000 --buffer-size=2000"),
        ("--total-timesteps 1.5E+6 --gamma 9.5e-1", "--total-timesteps 1500000 --gamma 9.5e-1"),
        ("--env-name map_1e6 --learning-rate 1e-4", "--env-name map_1e6 --learning-rate 1e-4"),
        (
            "--total-timesteps .5e6 --exp-name 1.2.3e4",
            "--total-timesteps 500000 --exp-name 1.2.3e4",
        ),
        ("", ""),
    ],
)
def test_arguments_as_sweep_tools_and_people_write_them(given, expected):
    assert plain_arguments(words(given)) == list(words(expected))


@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("agent_ids", [False, True])
def test_booleans_reach_the_arguments(double_q, agent_ids):
    given = [f"--double_q={double_q}", f"--agent_ids={agent_ids}", "--hidden_dim=5"]
    args = tyro.cli(Args, args=plain_arguments(given))
    assert args.double_q == double_q
    assert args.agent_ids == agent_ids
    assert args.hidden_dim == 5


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3mm", "--env-name: there is no '3mm'; try 3m"),
        ("nothing like it", "--env-name: there is no 'nothing like it'; try 3m or MMM or corridor"),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest_names(value, message):
    with pytest.raises(UsageError) as error:
        check_name("--env-name", value, ["MMM", "corridor", "3m"])
    assert str(error.value) == message


def test_a_known_name_passes():
    check_name("--env-name", "MMM", ["MMM", "corridor", "3m"])
