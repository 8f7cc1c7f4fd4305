"""``python -m tamcl.cli`` is ``python -m tamcl``."""

from __future__ import annotations

import runpy

runpy.run_module("tamcl", run_name="__main__", alter_sys=True)
