"""``python -m tamcl.cli`` is ``tamcl``."""

from __future__ import annotations

import sys

from tamcl.cli.main import main

sys.exit(main())
