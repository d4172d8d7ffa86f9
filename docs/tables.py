"""Directives that make tables from the code.

``arguments`` has those of the four scripts, ``maps`` the maps of smaclite_jit.
"""

import ast
from pathlib import Path

import gymnasium as gym
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

import smaclite_jit
from smaclite_jit.arena import Arena

REPO = Path(__file__).parent.parent
SCRIPTS = ("qmix", "qmix_memefficient", "qmix_multienvs", "qmix_lstm")


def read_args(script):
    """The fields of a script's Args: name -> (type, default, meaning)."""
    source = (REPO / "cleanmarl" / f"{script}.py").read_text()
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    (body,) = [node.body for node in classes if node.name == "Args"]
    args = {}
    for field, meaning in zip(body[::2], body[1::2], strict=True):
        type_ = ast.unparse(field.annotation)
        default = ast.literal_eval(field.value)
        args[field.target.id] = (type_, default, meaning.value.value)
    return args


def write_default(field):
    """The cell of a script's default. `field` is None if the script has no such argument."""
    if field is None:
        return ""
    _, default, _ = field
    return "empty" if default == "" else f"``{default}``"


def arguments():
    """One row for each argument: its flag, meaning, type and defaults."""
    scripts = {script: read_args(script) for script in SCRIPTS}
    names = list(scripts["qmix"])
    for args in scripts.values():
        # An argument that only a variant has stands after the one that it follows there.
        for before, name in zip(args, list(args)[1:]):
            if name not in names:
                names.insert(names.index(before) + 1, name)

    rows = [["argument", "meaning", "type", *(f"``{script}``" for script in SCRIPTS)]]
    for name in names:
        fields = {script: args.get(name) for script, args in scripts.items()}
        present = {script: field for script, field in fields.items() if field is not None}
        type_, _, first_meaning = next(iter(present.values()))
        meaning = first_meaning
        for script, (_, _, its_meaning) in present.items():
            if its_meaning != first_meaning:
                meaning += f"; in ``{script}``: {its_meaning}"
        flag = "--" + name.replace("_", "-")
        defaults = [write_default(field) for field in fields.values()]
        rows.append([f"``{flag}``", meaning.replace("<-", "←"), f"``{type_}``", *defaults])
    return rows


def maps():
    """One row for each map: sizes and SMAC's episode limit."""
    rows = [["map", "agents", "enemies", "actions", "observation", "state", "episode limit"]]
    for name, smac_map in smaclite_jit.MAPS.items():
        arena = Arena(smac_map)
        row = [
            f"``{name}``",
            arena.n_agents,
            arena.n_enemies,
            arena.n_actions,
            arena.obs_size,
            arena.state_size,
            gym.spec(f"smaclite_jit/{name}-v0").max_episode_steps,
        ]
        rows.append(row)
    return rows


class Table(Directive):
    """A table whose cells are reStructuredText."""

    def run(self):
        sources = [
            *REPO.glob("cleanmarl/qmix*.py"),
            REPO / "smaclite_jit" / "maps.py",
            Path(__file__),
        ]
        for path in sources:
            self.state.document.settings.env.note_dependency(str(path))
        lines = [".. list-table::", "   :header-rows: 1", "   :class: wide", ""]
        for row in self.make():
            for i, cell in enumerate(row):
                bullet = "* -" if i == 0 else "  -"
                lines.append(f"   {bullet} {cell}")
        container = nodes.container(classes=["table-wide"])
        self.state.nested_parse(StringList(lines, source=self.name), self.content_offset, container)
        return container.children


class Arguments(Table):
    make = staticmethod(arguments)


class Maps(Table):
    make = staticmethod(maps)


def setup(app):
    app.add_directive("arguments", Arguments)
    app.add_directive("maps", Maps)
    return {"parallel_read_safe": True}
