"""A scenario as a notebook shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from tamcl.scenario.schema import Arm, Scenario


def scenario_html(scenario: Scenario) -> str:
    """Return a scenario as HTML: what it asks, on what, and a row for each arm."""
    stream, protocol = scenario.stream, scenario.protocol
    facts = [
        f"{stream.name} on {stream.dataset}, {stream.experiences} experiences",
        f"model {scenario.model.name}, {scenario.model.head} head",
        f"strategy {scenario.strategy.name}",
        f"{protocol.seeds} seeds, {protocol.tune_seeds} to tune by {protocol.tune_by.replace('_', ' ')}",
    ]
    rows = [(label, arm.optimizer, _listed(arm.lr), ", ".join(_options(arm))) for label, arm in scenario.arms.items()]
    return "".join(
        [
            f"<p><b>{escape(scenario.name)}</b>: {escape(scenario.title)}<br>{escape('; '.join(facts))}</p>",
            html_table(("arm", "optimizer", "learning rates", "options"), rows),
        ]
    )


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as HTML, every text of it escaped."""
    lines = [f"<tr>{''.join(f'<td>{escape(each)}</td>' for each in row)}</tr>" for row in rows]
    titles = "".join(f"<th>{escape(head)}</th>" for head in heads)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _options(arm: Arm) -> Iterator[str]:
    yield from (f"{key}={value}" for key, value in arm.options.items())
    yield from (f"{name} of {', '.join(map(str, values))}" for name, values in arm.grids.items())


def _listed(rates: tuple[float, ...]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
