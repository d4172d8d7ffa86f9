"""Directives that make tables from the code: `arguments` (of the four scripts) and `maps` (of smaclite_jit)."""

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
    body = next(
        node.body
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == "Args"
    )
    return {
        field.target.id: (
            ast.unparse(field.annotation),
            ast.literal_eval(field.value),
            meaning.value.value,
        )
        for field, meaning in zip(body[::2], body[1::2], strict=True)
    }


def arguments():
    """One row for each argument: its flag, type, defaults and meaning."""
    scripts = {script: read_args(script) for script in SCRIPTS}
    names = list(scripts["qmix"])
    for args in scripts.values():  # what a variant adds stands after what it stands after there
        for before, name in zip(args, list(args)[1:]):
            if name not in names:
                names.insert(names.index(before) + 1, name)
    rows = [["argument", "meaning", "type", *(f"``{script}``" for script in SCRIPTS)]]
    for name in names:
        fields = [args.get(name) for args in scripts.values()]
        type_, _, meaning = first = next(filter(None, fields))
        for script, field in zip(SCRIPTS, fields):
            if field and field[2] != first[2]:
                meaning += f"; in ``{script}``: {field[2]}"
        defaults = [
            "" if not field else "empty" if field[1] == "" else f"``{field[1]}``"
            for field in fields
        ]
        rows.append(
            [
                f"``--{name.replace('_', '-')}``",
                meaning.replace("<-", "←"),
                f"``{type_}``",
                *defaults,
            ]
        )
    return rows


def maps():
    """One row for each map: sizes and SMAC's episode limit."""
    rows = [["map", "agents", "enemies", "actions", "observation", "state", "episode limit"]]
    for name, scenario in smaclite_jit.MAPS.items():
        m, limit = Arena(scenario), gym.spec(f"smaclite_jit/{name}-v0").max_episode_steps
        rows.append(
            [f"``{name}``", m.n_agents, m.n_enemies, m.n_actions, m.obs_size, m.state_size, limit]
        )
    return rows


class Table(Directive):
    """A table whose cells are reStructuredText."""

    def run(self):
        for path in [
            *REPO.glob("cleanmarl/qmix*.py"),
            REPO / "smaclite_jit" / "maps.py",
            Path(__file__),
        ]:
            self.state.document.settings.env.note_dependency(str(path))
        lines = [".. list-table::", "   :header-rows: 1", "   :class: wide", ""]
        for row in self.make():
            lines += [f"   {'  ' if i else '* '}- {cell}" for i, cell in enumerate(row)]
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
