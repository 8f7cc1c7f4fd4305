"""The report as a browser lays it out: no errors, nothing wider than the window, curves that answer."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tamcl.report import write_report
from tests.report.helpers import CURVES, online_means
from tests.synthetic_study import write_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
]
PROBE = """<script>
addEventListener("load", () => {
  const clicked = [...document.querySelectorAll("#table-comparisons th button")].map((button) => {
    button.click();
    return button.parentElement.getAttribute("aria-sort");
  });
  for (const part of document.querySelectorAll("details")) part.open = true;
  const page = document.documentElement;
  const images = [...document.images].filter((image) => image.offsetParent !== null);
  parent.postMessage({
    window: innerWidth, page: page.scrollWidth, clicked, paper: getComputedStyle(document.body).backgroundColor,
    broken: images.filter((image) => !image.complete || image.naturalWidth === 0).length, images: images.length,
    drawn: [...document.querySelectorAll("figure.drawn")].map((figure) => figure.id),
  }, "*");
});
</script></body>"""
HANDS = """<script>
addEventListener("load", async () => {
  const pause = () => new Promise((go) => setTimeout(go, 100));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const over = document.querySelector("#figure-online_accuracy .u-over");
  const box = over.getBoundingClientRect();
  const mouse = (type, share) => over.dispatchEvent(new MouseEvent(type, {
    clientX: box.left + share * box.width, clientY: box.top + 50, movementX: 1, bubbles: true, button: 0, view: window,
  }));
  const key = (name) => document.querySelector("#figure-online_accuracy .uplot")
    .dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const seen = () => ({
    at: document.querySelector("#figure-online_accuracy output").textContent,
    values: all("#figure-online_accuracy .arms small").map((value) => value.textContent),
    title: document.querySelector("#figure-online_accuracy .what").textContent,
    shown: all(".arms button").map((button) => [button.title, button.getAttribute("aria-pressed")].join(" ")),
  });
  const states = [];
  const then = async (act) => { act(); await pause(); states.push(seen()); };
  mouse("mouseenter", 0.3);
  await then(() => mouse("mousemove", 0.25));
  await then(() => all("#figure-recovery .arms button")[1].click());
  mouse("mousemove", 0.25);
  mouse("mousedown", 0.25);
  mouse("mousemove", 0.3);
  mouse("mousemove", 0.5);
  await then(() => mouse("mouseup", 0.5));
  await then(() => mouse("mousemove", 0.5));
  await then(() => key("ArrowRight"));
  await then(() => mouse("dblclick", 0.5));
  parent.postMessage(states, "*");
});
</script></body>"""
FRAME = """<!doctype html><body style="margin:0"><iframe src="page.html" style="border:0;width:{width}px;height:900px">
</iframe><script>addEventListener("message", (event) => (document.title = JSON.stringify(event.data)))</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def look(folder: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """Return what ``page.html`` says in a window of a width, and the lines of the console."""
    (folder / "frame.html").write_text(FRAME.format(width=width))  # a window itself is never narrower than 500
    profile = folder / f"profile-{width}-{scheme}"
    colors = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    size = f"--window-size={max(width, 500)},900"
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", colors, size]
    command += ["--virtual-time-budget=5000", "--dump-dom", f"file://{folder / 'frame.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    return json.loads(html.unescape(title[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, object]]:
    """Open a report of six arms, one with the longest name, in a window of a width; return what the page says."""
    folder, long = tmp_path_factory.mktemp("browser"), "a" * 64
    arms, pairs = ["sgdm", "tam", "tam_frozen", "adam", "adatam", long], [["tam", "sgdm"], [long, "sgdm"]]
    report = write_report(
        write_study(folder / "study", arms=arms, pairs=pairs, seeds=7, tune_seeds=2, experiences=3, steps=30, edge=arms)
    )
    page = report.read_text(encoding="utf-8").replace("</body>", PROBE)

    def open_page(width: int, scheme: str, change: Callable[[str], str] = str) -> dict[str, object]:
        (folder / "page.html").write_text(change(page), encoding="utf-8")
        found, console = look(folder, width, scheme)
        return {"console": console, **found}

    return open_page


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_a_window_of_any_width_holds_the_page_without_errors(
    browse: Callable[..., dict[str, object]], width: int
) -> None:
    found = browse(width, "light")
    assert found["window"] == width
    assert found["page"] <= width  # type: ignore[operator]
    assert found["console"] == []
    assert found["broken"] == 0
    assert found["images"] == 6
    assert found["drawn"] == [f"figure-{name}" for name in CURVES]
    assert found["clicked"] == ["descending"] * 9


def test_the_page_is_dark_where_the_reader_wants_it(browse: Callable[..., dict[str, object]]) -> None:
    assert browse(820, "light")["paper"] == "rgb(255, 255, 255)"
    assert browse(820, "dark")["paper"] == "rgb(21, 25, 31)"


def test_pictures_stay_where_curves_cannot_be_drawn(browse: Callable[..., dict[str, object]]) -> None:
    found = browse(820, "light", lambda page: page.replace("var uPlot=", "var none="))
    assert found["images"] == 10
    assert found["drawn"] == []


def test_curves_say_their_values_and_arms_are_hidden_and_a_stretch_is_zoomed_in_on(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", arms=["sgdm", "tam"], seeds=3, tune_seeds=1, experiences=3, steps=250)
    page = write_report(folder).read_text(encoding="utf-8").replace("</body>", HANDS)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (start, hid, zoomed, at_point, stepped, whole), console = look(tmp_path, 820, "light")
    assert console == []
    by = online_means(folder, 5)  # 750 mini-batches, of which 5 are a point
    [place] = re.findall(r"mini-batches seen \(of 10 examples\): ([\d.]+)", start["at"])
    assert abs(float(place) - 187.5) < 5  # a quarter along the axis
    for arm, said in zip(["sgdm", "tam"], start["values"], strict=True):
        mean, low, high = (float(number) for number in re.findall(r"[\d.]+", said))
        np.testing.assert_allclose([mean, low, high], by.loc[(arm, float(place))], atol=0.0051)
    assert start["title"].endswith("by 5 mini-batches; dotted: shifts")
    assert start["shown"] == ["sgdm true", "tam true"] * len(CURVES)
    assert hid["shown"] == ["sgdm true", "tam false"] * len(CURVES)
    assert zoomed["title"].endswith("by 1 mini-batch; dotted: shifts")
    each = online_means(folder, 1)
    [place] = re.findall(r": ([\d.]+)", at_point["at"])
    assert abs(float(place) - 281) < 3  # half along an axis from a quarter to a half
    numbers = re.findall(r"[\d.]+", at_point["values"][0])
    np.testing.assert_allclose([*map(float, numbers)], each.loc[("sgdm", float(place))], atol=0.0051)
    assert stepped["at"].endswith(f": {int(place) + 1}")
    assert whole["title"] == start["title"]
