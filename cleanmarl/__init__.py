"""QMIX in four single-file scripts that share nothing but ``cleanmarl.env_wrappers``."""

__version__ = "0.2.0"
