"""What ``study.json``, ``sweep.json``, ``claims.json`` and ``landscape.json`` hold beside the tables: with a digest.

Only the types are checked that others rely on: what older versions of tamcl wrote may have less in it, or more.
"""

from __future__ import annotations

import json
from math import nan
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tamcl.errors import Damaged, InputError, printable
from tamcl.files.digests import dump_json, load_json
from tamcl.files.paths import read_bounded
from tamcl.validation import allowed

MOST_BYTES = 2**24
"""Of a record; that of a study of hundreds of arms has some hundred thousands."""

Count = Annotated[int, Field(ge=0)]
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rates = Annotated[list[Rate], Field(min_length=1)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Intervention(_Record):
    name: str


class _Arm(_Record):
    optimizer: str = ""
    lr: Rates
    null_of: str | None = None
    interventions: list[_Intervention] | None = None
    optimizer_state: str | None = None


class _Protocol(_Record):
    seeds: Count = 0
    first_seed: Count = 0
    tune_seeds: Count = 0
    tune_by: str = ""
    extend: Count = 0
    search: str = "grid"
    trials: Count | None = None
    pairs: list[Pair] = []


class _Evaluation(_Record):
    on: Literal["all", "seen", "current"] = "all"
    batches: Annotated[int, Field(ge=1)] = 1
    samples: Count | None = None
    every: Count | Literal["epoch"] | None = None


class _Named(_Record):
    name: str = ""


class _Strategy(_Named):
    optimizer_state: str = ""
    schedule: _Named | None = None
    clip: float | None = None


class _Stream(_Named):
    experiences: Count | None = None
    oracle: str = "none"
    target: str = "class"


class _Diagnostics(_Record):
    names: list[str]
    every: Count


class _Scenario(_Named):
    title: str = ""
    source: str = ""
    notes: list[str] = []
    cost: str = ""
    stream: _Stream = _Stream()
    model: _Named = _Named()
    strategy: _Strategy = _Strategy()
    evaluation: _Evaluation = _Evaluation()
    protocol: _Protocol = _Protocol()
    arms: dict[str, _Arm] = {}
    interventions: list[_Intervention] = []
    diagnostics: _Diagnostics | None = None
    keep_weights: bool = False
    metrics: list[str] = []


class _Metric(_Record):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    on: Literal["matrix", "matrix_and_start", "matrix_and_lowest", "inside", "text_loss", "online", "loss"]
    better: Literal["higher", "lower"]
    low: float | None
    high: float | None
    unit: str
    label: str
    equation: str
    reference: str
    core: bool
    per_batch: bool
    code: dict[str, str]


class _Trial(_Record):
    lr: Rate
    options: str


class _Data(_Named):
    checksum: str = ""
    train: Count = 0
    test: Count = 0


class _Study(_Record):
    command: str = ""
    scenario: _Scenario
    data: _Data | None = None
    tried: dict[str, Annotated[list[Rate | _Trial], Field(min_length=1)]] = {}
    metrics: list[_Metric] = []


class _Landscape(_Record):
    command: str = ""
    points: Count
    samples: Count
    experiences: Literal["last", "all"]
    pairs: Literal["arms", "seeds"]


class _SweptStudy(_Record):
    folder: Annotated[str, Field(pattern=r"^[\w+=,-][\w.+=,-]*$")]
    name: str
    values: Annotated[dict[str, Any], Field(min_length=1)]
    error: str = ""


class _Sweep(_Record):
    command: str = ""
    scenario: _Scenario
    studies: Annotated[list[_SweptStudy], Field(min_length=1)]


class _Claim(_Record):
    metric: str
    arm_a: str
    arm_b: str
    diff: float
    n_pairs: Count = 0
    ci_low: float = nan
    ci_high: float = nan
    p_value: float = nan
    p_adjusted: float = nan
    strength: str = ""


class _Claims(_Record):
    declared: str = ""
    seeds: Annotated[list[Count], Field(min_length=1)]
    level: float = 0.05
    rates: dict[str, Rate]
    options: dict[str, str] = {}
    claims: Annotated[list[_Claim], Field(min_length=1)]


def read_study(path: Path) -> dict[str, Any]:
    """Read ``study.json``: ``scenario`` and ``command``, and in newer ones ``data`` and ``tried``.

    Raises
    ------
    Damaged
        If it was damaged or holds something else, naming the first place.
    InputError
        If it may not be read.
    """
    study = _read(path, _Study)
    scenario = study["scenario"]
    arms, pairs = scenario.get("arms", {}), scenario.get("protocol", {}).get("pairs", [])
    for arm in [*(arm for pair in pairs for arm in pair), *(arm.get("null_of") for arm in arms.values())]:
        if arm is not None and arm not in arms:
            raise _damaged(path, f"it names an arm {json.dumps(arm)} that scenario.arms does not have")
    return study


def read_sweep(path: Path) -> dict[str, Any]:
    """Read ``sweep.json``: ``scenario``, ``command`` and ``studies``: each has ``folder``, ``name`` and ``values``.

    Raises
    ------
    Damaged
        If it was damaged or holds something else, naming the first place.
    InputError
        If it may not be read.
    """
    sweep = _read(path, _Sweep)
    first = sweep["studies"][0]["values"]
    if any(study["values"].keys() != first.keys() for study in sweep["studies"]):
        raise _damaged(path, "its studies have values of different keys")
    return sweep


def read_claims(path: Path) -> dict[str, Any]:
    """Read ``claims.json``: ``seeds``, ``level``, ``rates``, ``options``, ``claims`` and when they were ``declared``.

    Raises
    ------
    Damaged
        If it was damaged or holds something else, naming the first place.
    InputError
        If it may not be read.
    """
    held = _read(path, _Claims)
    for claim in held["claims"]:
        claim.setdefault("strength", "open")  # nothing is known of it, so nothing was claimed
    return held


def read_landscape_record(path: Path) -> dict[str, Any]:
    """Read ``landscape.json``: how a landscape was asked for; errors are those of ``read_study``."""
    try:
        return _read(path, _Landscape)
    except Damaged as error:
        raise Damaged(str(error).replace(_CURE, "tamcl landscape makes it again")) from error


def write_record(path: Path, values: dict[str, Any]) -> None:
    """Write a record with its digest."""
    path.write_bytes(dump_json(values))


def _read(path: Path, model: type[_Record]) -> dict[str, Any]:
    try:
        values = load_json(read_bounded(path, MOST_BYTES))
        model.model_validate(values)
    except ValidationError as error:
        raise _damaged(path, _first(error)) from error
    except (ValueError, IsADirectoryError) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise InputError(f"'{path}': {error.strerror}") from error
    return dict(values)


def _damaged(path: Path, why: object) -> Damaged:
    """Return what is wrong with a record, and what helps: no other file tells what it told."""
    return Damaged(f"'{path}' is damaged: {printable(str(why))}; {_CURE}")


_CURE = "put a copy in its place, or make the study again in another folder"


def _first(error: ValidationError) -> str:
    """Say the first thing that does not fit: path = value: what is allowed."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "all of it"
    if first["type"] == "missing":
        return f"{where} is missing"
    value = json.dumps(first["input"])
    return f"{where} = {value if len(value) <= 60 else f'{value[:60]}...'}: {allowed(first, table='an object')}"
