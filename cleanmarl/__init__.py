"""QMIX in four single-file scripts that share nothing but ``cleanmarl.env_wrappers``."""
