"""What each scenario is, in words: ``scenarios/README.md`` is made from the scenario files with ``make scenarios``."""

from __future__ import annotations

from collections.abc import Iterator

from tamcl.scenario.load import load_scenario, scenarios
from tamcl.scenario.schema import Scenario, learning_rate, listed, tested_on


def catalogue() -> str:
    """Return a page in Markdown about every scenario that comes with tamcl."""
    known = [load_scenario(name) for name in scenarios()]
    rows = [f"| [`{each.name}`](#{each.name}) | {each.title} | {len(each.arms)} | {each.cost} |" for each in known]
    lines = [
        "# Scenarios",
        "",
        "Made from the files in this folder by `make scenarios`. `tamcl compare NAME` runs one; `--set` changes a",
        "value (`--set stream.samples=500`). The cost is that of one run of one arm at one learning rate, on one core.",
        "",
        "| scenario | question | arms | cost of a run |",
        "|---|---|---|---|",
        *rows,
        *(line for scenario in known for line in _section(scenario)),
    ]
    return "\n".join(lines) + "\n"


def _section(scenario: Scenario) -> Iterator[str]:
    stream = scenario.stream.model_dump(exclude_defaults=True)
    yield from ("", f"## {scenario.name}", "", f"{scenario.title}.", "")
    yield f"- Protocol: {scenario.source}."
    yield f"- Stream: {_call(stream.pop('name'), stream)}."
    yield f"- Model: {_call(scenario.model.name, {'head': scenario.model.head} | scenario.model.options)}."
    strategy, protocol = scenario.strategy, scenario.protocol
    yield f"- Strategy: {_call(strategy.name, strategy.options)}; optimizer at a shift: {strategy.optimizer_state}."
    if scenario.interventions:
        yield f"- Interventions: {listed(each.model_dump() for each in scenario.interventions)}."
    if strategy.schedule or strategy.clip:
        yield f"- Learning rate: {learning_rate(strategy.model_dump())}."
    yield f"- Tested on: {tested_on(scenario.evaluation.model_dump())}."
    yield f"- Seeds: {protocol.seeds} reported; {protocol.tune_seeds} others for learning rates, by {protocol.tune_by}."
    yield f"- Cost: {scenario.cost}."
    yield from (f"- {note}" for note in scenario.notes)
    yield from ("", "| arm | optimizer | learning rates |", "|---|---|---|")
    for name, arm in scenario.arms.items():
        null = f" (null model of {arm.null_of})" if arm.null_of else ""
        words = _call(arm.optimizer, arm.options)
        words += "".join(f", {name} of {', '.join(map(str, values))}" for name, values in arm.grids.items())
        if arm.interventions is not None:
            words += f"; {listed(each.model_dump() for each in arm.interventions) or 'no intervention'}"
        if arm.optimizer_state is not None:
            words += f"; optimizer at a shift: {arm.optimizer_state}"
        yield f"| {name}{null} | {words} | {', '.join(f'{lr:g}' for lr in arm.lr)} |"


def _call(name: str, options: dict[str, object]) -> str:
    return f"`{name}`" + "".join(f", {key} {value}" for key, value in options.items())


if __name__ == "__main__":
    print(catalogue(), end="")
