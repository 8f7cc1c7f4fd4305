"""Building a model starts no download, and afterwards the network is as it was."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import refusal

NET = """
import urllib.request
from torch import nn

class Pretrained(nn.Flatten):
    features = 64
    def __init__(self, shape, weights=None):
        super().__init__()
        if weights:
            urllib.request.urlopen(weights, timeout=5).read()
"""


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        yield listening


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_model_that_downloads_is_refused_before_it_connects(
    server: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    host: str,
) -> None:  # fmt: skip
    (tmp_path / f"net_at_{host.replace('.', '_')}.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    name, address = f"net_at_{host.replace('.', '_')}:Pretrained", f"http://{host}:{server.getsockname()[1]}/weights"
    model = f'model={{name="{name}", weights="{address}"}}'
    line = refusal(["run", "label_flip_digits", "--arm", "tam,lr=0.1", "--set", model], capsys)
    assert line.startswith(f"tamcl: model: {name} refuses {{'weights': '{address}'}}: ")
    assert "it wants to connect to the network" in line
    assert "a model must be built without" in line
    with pytest.raises(TimeoutError):
        server.accept()
    with socket.create_connection(server.getsockname(), timeout=5):
        server.accept()[0].close()


@pytest.mark.parametrize("name", ["torch.hub:load", "pydoc:pipepager"])
def test_a_function_is_no_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", f'model={{name="{name}"}}']
    line = refusal(["run", "label_flip_digits", "--arm", "tam,lr=0.1", *settings], capsys)
    assert line == (
        f"tamcl: model '{name}': is a function that does not say that it returns a torch.nn.Module; "
        f"write def {name.partition(':')[2]}(...) -> torch.nn.Module\n"
    )
