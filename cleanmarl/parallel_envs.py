"""PettingZoo's parallel environments by family and name: MPE's, PettingZoo's own and those of the user."""

import importlib
import pkgutil
import sys

from cleanmarl.usage import UsageError, check_name


def make_parallel_env(env_name, env_family, **drawn):
    """The parallel environment `env_name` of mpe2, of `pettingzoo.<env_family>`, or of a module of the user's own."""
    pettingzoo = importlib.import_module("pettingzoo")
    families = {"mpe", *(name.split("/")[0] for name in pettingzoo.aec_registry)}
    module_name = f"{'mpe2' if env_family == 'mpe' else env_family}.{env_name}"
    if env_family == "mpe":
        modules = pkgutil.iter_modules(importlib.import_module("mpe2").__path__)
        check_name(
            "--env-name", env_name, [module.name for module in modules if "_v" in module.name]
        )
    elif env_family in families:
        ids = [name.replace("-v", "_v").split("/") for name in pettingzoo.parallel_registry]
        check_name("--env-name", env_name, [name for family, name in ids if family == env_family])
        try:
            return pettingzoo.make("parallel", f"{env_family}/{env_name}", **drawn)
        except (ImportError, pettingzoo.env_registry.exceptions.FailedToImport) as error:
            raise UsageError(
                f'--env-family: first pip install "pettingzoo[{env_family}]"'
            ) from error
    elif "" not in sys.path:
        sys.path.insert(0, "")  # the current folder, as `python -m` does: where the user stands
    try:
        module = importlib.import_module(module_name)
    except (ModuleNotFoundError, TypeError) as error:  # a TypeError: the name starts with a dot
        if not f"{module_name}.".startswith(f"{getattr(error, 'name', '')}."):
            raise
        hint = f"{', '.join(sorted(families))} or the package of a module that can be imported from here"
        raise UsageError(
            f"--env-family, --env-name: there is no module {module_name}; give {hint}"
        ) from error
    if not hasattr(module, "parallel_env"):
        raise UsageError(
            f"--env-name: {module_name} must have a function parallel_env() that returns a ParallelEnv"
        )
    return module.parallel_env(**drawn)
