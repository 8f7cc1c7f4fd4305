"""The command line."""

from tamcl.cli.main import main

__all__ = ["main"]
