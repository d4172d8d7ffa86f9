"""The wheel holds every module, and scripts run from it where there is nothing else."""

import email
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import cleanmarl
from tests.helpers import REPO

pytestmark = pytest.mark.slow

PACKAGES = ("cleanmarl", "smaclite_jit")
# Where scripts look for modules when the wheel is all there is, printed one a line.
ORIGINS = """
import importlib.util
import sys

for name in sys.argv[1:]:
    print(importlib.util.find_spec(name).origin)
"""


def execute(*command, cwd, **environ):
    """Run a command and return what it prints."""
    command = [str(word) for word in command]
    env = os.environ | environ
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*words, cwd):
    # Nothing here needs an index: setuptools is installed, and dependencies are left out.
    execute(sys.executable, "-m", "pip", *words, "--no-deps", "--no-index", "--quiet", cwd=cwd)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel in a copy: a build leaves folders from which a later one takes old files."""
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    left_out = (".*", "__pycache__", "_build", "build", "dist", "runs", "wandb", "*.egg-info")
    shutil.copytree(REPO, clone, ignore=shutil.ignore_patterns(*left_out))
    pip("wheel", clone, "--no-build-isolation", "--wheel-dir", folder, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel):
    """A folder with what the wheel installs."""
    folder = wheel.parent / "installed"
    pip("install", wheel, "--target", folder, cwd=wheel.parent)
    return folder


def files_of(wheel):
    """The files of a wheel but for those about it."""
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if ".dist-info/" not in name}


def test_the_wheel_holds_every_module_and_nothing_else(wheel):
    modules = [path for package in PACKAGES for path in (REPO / package).rglob("*.py")]
    expected = {path.relative_to(REPO).as_posix() for path in modules}
    assert {name for name in files_of(wheel) if not name.endswith("py.typed")} == expected


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package, wheel):
    assert f"{package}/py.typed" in files_of(wheel)


def test_the_wheel_knows_the_version(wheel):
    (path,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA")]
    metadata = email.message_from_bytes(zipfile.ZipFile(wheel).read(path))
    assert metadata["Version"] == cleanmarl.__version__


def test_the_main_job_runs_from_the_wheel(installed, tmp_path):
    python = [sys.executable, "-m"]
    environ = {"PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}

    # Every module comes from the wheel, although the checkout may be installed too.
    files = [
        path.relative_to(installed)
        for name in PACKAGES
        for path in (installed / name).rglob("*.py")
    ]
    modules = [".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files]
    origins = execute(sys.executable, "-c", ORIGINS, *modules, cwd=tmp_path, **environ)
    assert origins.splitlines() == [str(installed / file) for file in files]

    task = ("--env-type", "lbf", "--env-name", "Foraging-5x5-2p-1f-v3")
    short = ("--total-timesteps", 300, "--batch-size", 2)
    execute(*python, "cleanmarl.qmix", *task, *short, cwd=tmp_path, **environ)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    (run_dir,) = Path(tmp_path, "runs").iterdir()
    assert run_dir.name.startswith("qmix__lbf__Foraging-5x5-2p-1f-v3__1__")

    played = execute(
        *python, "cleanmarl.evaluate", run_dir, "--episodes", 2, cwd=tmp_path, **environ
    )
    assert "2 greedy episodes" in played
