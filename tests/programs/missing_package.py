"""Copied to the name of a package and found before it, this takes the package away."""

raise ModuleNotFoundError(f"No module named {__name__!r}", name=__name__)
