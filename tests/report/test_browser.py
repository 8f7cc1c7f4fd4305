"""The report as a browser lays it out: no errors, and nothing wider than the window."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable

import pytest

from tamcl.report import write_report
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
  }, "*");
});
</script></body>"""
FRAME = """<!doctype html><body style="margin:0"><iframe src="page.html" style="border:0;width:{width}px;height:900px">
</iframe><script>addEventListener("message", (event) => (document.title = JSON.stringify(event.data)))</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, object]]:
    """Open a report of six arms, one with the longest name, in a window of a width; return what the page says."""
    folder, long = tmp_path_factory.mktemp("browser"), "a" * 64
    arms, pairs = ["sgdm", "tam", "tam_frozen", "adam", "adatam", long], [["tam", "sgdm"], [long, "sgdm"]]
    report = write_report(
        write_study(folder / "study", arms=arms, pairs=pairs, seeds=7, tune_seeds=2, experiences=3, steps=30, edge=arms)
    )
    (folder / "page.html").write_text(report.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")

    def open_page(width: int, scheme: str) -> dict[str, object]:
        (folder / "frame.html").write_text(FRAME.format(width=width))  # a window itself is never narrower than 500
        profile = folder / f"profile-{width}-{scheme}"
        colors = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
        size = f"--window-size={max(width, 500)},900"
        command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", colors, size]
        command += ["--virtual-time-budget=5000", "--dump-dom", f"file://{folder / 'frame.html'}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        title = re.search("<title>(.*?)</title>", done.stdout)
        assert title, done.stderr[-2000:]
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return {"console": console, **json.loads(title[1])}

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
    assert found["images"] == 10
    assert found["clicked"] == ["descending"] * 9


def test_the_page_is_dark_where_the_reader_wants_it(browse: Callable[..., dict[str, object]]) -> None:
    assert browse(820, "light")["paper"] == "rgb(255, 255, 255)"
    assert browse(820, "dark")["paper"] == "rgb(21, 25, 31)"
