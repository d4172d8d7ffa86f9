"""PettingZoo environments for the tests, found by the scripts as `--env-family tests.envs`."""
