"""``python -m tamcl`` is ``tamcl``."""

from __future__ import annotations

import sys

from tamcl.cli.main import main

status = main()
# Where Ctrl-C came while some library ran exec on a text, Python would end by the signal, although it was answered; the
# next exec makes it forget that.
exec("")
sys.exit(status)
