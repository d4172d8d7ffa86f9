"""smaclite_jit as a package: its layers, its public names, and what importing it does."""

import ast
import doctest
import inspect
import os
import re
import shutil
import subprocess
import sys
import types

import gymnasium as gym
import numpy as np
import pytest

import smaclite_jit
from smaclite_jit import MAPS, environment
from tests.helpers import ENVIRON, REPO

PACKAGE = REPO / "smaclite_jit"
# Each module may import those above it, and no other. The rendering stands above the environment
# because it needs a battle only; the environment imports it on demand, for it needs pygame.
LAYERS = (
    "compile_cache",
    "units",
    "maps",
    "arena",
    "map_files",
    "orca",
    "turn_order",
    "battle",
    "observations",
    "rendering",
    "rendering.sprites",
    "rendering.renderer",
    "environment",
    "vector",
    "registration",
    "",  # the package itself
)


def path_of(module):
    """The file of a module, given as in LAYERS."""
    path = PACKAGE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imported_names(source):
    """The dotted names that a source imports anywhere, with those that it imports from modules."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(source):
    """The modules of the package that a source imports, as in LAYERS."""
    modules = set()
    for name in imported_names(source):
        package, _, inside = name.partition(".")
        if package != "smaclite_jit":
            continue
        # The name of a function is no module: its module is what stands before the last point.
        while inside not in LAYERS:
            inside = inside.rpartition(".")[0]
        modules.add(inside)
    return modules


def test_every_module_has_a_layer():
    files = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    assert files == {path_of(module).relative_to(PACKAGE) for module in LAYERS}


@pytest.mark.parametrize("module", LAYERS)
def test_a_module_imports_only_what_stands_above_it(module):
    above = LAYERS[: LAYERS.index(module)]
    assert imported_modules(path_of(module).read_text()) <= set(above)


@pytest.mark.parametrize("module", LAYERS)
def test_no_module_imports_the_scripts(module):
    names = imported_names(path_of(module).read_text())
    assert not [name for name in names if name.startswith("cleanmarl")]


def test_public_names():
    assert set(smaclite_jit.__all__) == {
        "MAPS",
        "UNITS",
        "Map",
        "MapError",
        "SMACliteEnv",
        "SMACliteVectorEnv",
        "UnitType",
        "load_map",
    }
    for name in smaclite_jit.__all__:
        assert hasattr(smaclite_jit, name)


def test_nothing_else_is_seen_in_the_package():
    seen = {
        name
        for name, value in vars(smaclite_jit).items()
        if not isinstance(value, types.ModuleType) and not name.startswith("__")
    }
    assert seen == set(smaclite_jit.__all__)


def test_type_hints_are_for_everybody():
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize(
    "function",
    [
        smaclite_jit.load_map,
        smaclite_jit.registration.find_map,
        smaclite_jit.registration.make_custom,
        smaclite_jit.registration.make_custom_vector,
    ],
)
def test_public_functions_have_type_hints(function):
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter
    assert signature.return_annotation is not inspect.Signature.empty


def test_what_an_import_does():
    command = [sys.executable, str(REPO / "tests" / "programs" / "import_smaclite_jit.py")]
    done = subprocess.run(command, env=ENVIRON, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ([], ""),
        pytest.param(
            ["play"],
            "(0.0, False, False, {'battle_won': False})\n",
            marks=pytest.mark.slow,  # it compiles everything
        ),
    ],
)
def test_without_a_place_for_the_cache(arguments, output, tmp_path):
    """A file stands where numba would make its folder: that stops root, too."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "smaclite_jit", ignore=ignored)
    for folder in (tmp_path / "smaclite_jit", tmp_path / "smaclite_jit" / "rendering"):
        (folder / "__pycache__").touch()
    (tmp_path / "home").touch()
    environ = ENVIRON | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRON["PYTHONPATH"]]),
        "HOME": str(tmp_path / "home"),
        "LOCALAPPDATA": str(tmp_path / "home"),
        "NUMBA_OPT": "0",  # faster to compile
        "NUMBA_DISABLE_JIT": "0",
    }
    for name in ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES", "XDG_CACHE_HOME"):
        environ.pop(name, None)
    program = REPO / "tests" / "programs" / "step_without_a_cache.py"
    done = subprocess.run(
        [sys.executable, str(program), *arguments], env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == output
    (line,) = done.stderr.splitlines()
    assert line.startswith("smaclite_jit: ")
    assert "set NUMBA_CACHE_DIR to a folder that can be written to" in line


@pytest.mark.parametrize("name", MAPS)
def test_a_map_is_registered_with_its_limit(name):
    spec = gym.spec(f"smaclite_jit/{name}-v0")
    assert spec.kwargs == {"map_name": name}
    assert spec.max_episode_steps == MAPS[name].episode_limit


def test_example_in_the_docstring_of_the_environment():
    outcome = doctest.testmod(environment)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_example_of_a_look_at_the_units():
    page = (REPO / "docs" / "smaclite_jit.md").read_text()
    (example,) = re.findall(r"^```pycon\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest(example, {"np": np}, "docs/smaclite_jit.md", "", 0)
    outcome = doctest.DocTestRunner().run(test)
    assert outcome.attempted > 0
    assert outcome.failed == 0
