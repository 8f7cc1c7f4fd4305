from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pandas as pd
from matplotlib.text import Text

from tamcl import plots
from tamcl.results import Results
from tests.synthetic_study import ARMS


def test_names_beside_the_lines_do_not_overlap(study: Results) -> None:
    same = study.phase(study.online).query("arm == 'tam'")
    ax = plots.online_accuracy(pd.concat([same.assign(arm=arm) for arm in ARMS]))
    figure = ax.figure
    figure.savefig(Path("/dev/null"), format="png")
    boxes = sorted((Text.get_window_extent(text) for text in ax.texts), key=lambda box: box.y0)
    assert {text.get_text() for text in ax.texts} == set(ARMS)
    assert all(upper.y0 >= lower.y1 - 1 for lower, upper in pairwise(boxes))
    assert all(box.x1 <= figure.bbox.x1 + 1 for box in boxes)


def test_bands_are_seen_and_let_what_is_behind_them_be_seen(study: Results) -> None:
    ax = plots.online_accuracy(study.phase(study.online))
    opacities = [float(band.get_facecolor()[0, 3]) for band in ax.collections]
    assert len(opacities) == 3
    assert all(0.05 < opacity < 0.5 for opacity in opacities)
