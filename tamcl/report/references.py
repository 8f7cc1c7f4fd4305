"""What to cite of a study: the BibTeX entries of its optimizers, data, stream, model, strategy and libraries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from tamcl.data import DATASETS
from tamcl.errors import InputError, printable
from tamcl.findings.study import Study
from tamcl.interventions import INTERVENTIONS
from tamcl.models import MODELS
from tamcl.optim import OPTIMIZERS
from tamcl.registry import Table
from tamcl.results import load_results
from tamcl.scenario.grids import flat
from tamcl.strategies import STRATEGIES
from tamcl.streams import STREAMS
from tamcl.sweeps import is_sweep, load_sweep

LIBRARIES = {"tamcl": "tamcl", "Avalanche": "lomonaco2021avalanche", "PyTorch": "paszke2019pytorch"}
"""What every study was run with."""

_FIVE = "lecun1998gradient xiao2017fashion bulatov2011notmnist krizhevsky2009learning netzer2011reading"
CITED: list[tuple[Table, dict[str, str]]] = [
    (
        OPTIMIZERS,
        {
            **dict.fromkeys(("tam", "adatam", "adatamw", "switch"), "malviya2024torque"),
            **dict.fromkeys(("adam_cm", "adamw_cm", "sgd_cm"), "malviya2023promoting"),
            **dict.fromkeys(("adam_cg", "sgd_cg", "rmsprop_cg"), "mcrae2021memory"),
            "adam_rel": "ellis2024adam",
            "ademamix": "pagliardini2024ademamix",
            "fade": "ramesh2026learning",
            "hgm": "sarkar2025hindsight",
            "lion": "chen2023symbolic",
            "muon": "jordan2024muon liu2025muon",
            "schedule_free": "defazio2024road",
            "upgd": "elsayed2024addressing",
            "sam": "foret2020sharpness",
            "lookahead": "zhang2019lookahead",
            "cautious": "liang2024cautious",
            "sgd": "sutskever2013importance",
            "adam": "kingma2014adam",
            "adamw": "loshchilov2017decoupled",
            "rmsprop": "tieleman2012rmsprop",
            "adagrad": "duchi2011adaptive",
            "nadam": "dozat2016incorporating",
            "radam": "liu2019variance",
        },
    ),
    (
        DATASETS,
        {
            "digits": "alpaydin1998optical",
            "mnist": "lecun1998gradient",
            "fashion_mnist": "xiao2017fashion",
            "emnist": "cohen2017emnist",
            "notmnist": "bulatov2011notmnist",
            "cifar10": "krizhevsky2009learning",
            "cifar100": "krizhevsky2009learning",
            "svhn": "netzer2011reading",
            "tinyimagenet": "cs231n2015tiny deng2009imagenet",
            "five_datasets": f"ebrahimi2020adversarial malviya2021tag {_FIVE}",
            "five_datasets_padded": f"ebrahimi2020adversarial saha2021gradient {_FIVE}",
            "bit_patterns": "dohare2024loss",
            "books": "arnold1997corpus",
            "text_files": "",
            "ptb": "marcus1993building mikolov2010recurrent",
            "wikitext2": "merity2016pointer",
            "wikitext103": "merity2016pointer",
        },
    ),
    (
        STREAMS,
        {
            "label_flip": "elsayed2024addressing malviya2024torque",
            "label_permuted": "elsayed2024addressing",
            "random_labels": "kumar2023maintaining lyle2023understanding",
            "task_shift": "vandeven2022three",
            "blurred": "aljundi2018task",
            "permuted_inputs": "dohare2024loss kumar2023maintaining",
            "rotated_inputs": "lopezpaz2017gradient",
            "corrupted_inputs": "hendrycks2019benchmarking",
            "classification": "",
            "text": "",
            "slowly_changing_regression": "dohare2021continual dohare2024loss",
        },
    ),
    (
        MODELS,
        {
            "mlp": "",
            "lenet": "lecun1998gradient elsayed2024addressing",
            "slim_resnet18": "lopezpaz2017gradient malviya2021tag",
            "pc_cnn": "gupta2020lamaml",
            "resnet18": "he2015deep",
            "vit_tiny": "dosovitskiy2020image touvron2020training",
            "convnext_atto": "liu2022convnet woo2023convnext",
            "lstm": "hochreiter1997long",
            "transformer": "vaswani2017attention radford2019language",
        },
    ),
    (
        STRATEGIES,
        {
            **dict.fromkeys(("naive", "joint", "cumulative"), ""),
            "replay": "chaudhry2019tiny",
            "ewc": "kirkpatrick2016overcoming",
            "si": "zenke2017continual",
            "mas": "aljundi2017memory",
            "a_gem": "chaudhry2018efficient",
            "lwf": "li2016learning",
        },
    ),
    (
        INTERVENTIONS,
        {
            "weight_clipping": "elsayed2024weight",
            "l2_init": "kumar2023maintaining",
            "shrink_and_perturb": "ash2019warm",
            "continual_backprop": "dohare2024loss",
            "redo": "sokar2023dormant",
            "self_normalized_resets": "farias2024self",
        },
    ),
]
"""Keys of the entries by the names of each table; empty where nothing is to be cited."""


def bibliography(directories: str | Path | Sequence[str | Path]) -> str:
    """Return the BibTeX entries of all that studies used, each with what it is cited for in a comment.

    What is not of tamcl's tables is named in a comment without an entry.

    Parameters
    ----------
    directories : path, or sequence of path
        Folders of finished studies, or of sweeps.

    Raises
    ------
    InputError
        If a folder holds no finished study.
    """
    given = [directories] if isinstance(directories, str | Path) else list(directories)
    studies = [study for directory in given for study in _studies(directory)]
    reasons: dict[str, list[str]] = {key: [library] for library, key in LIBRARIES.items()}
    unknown = []
    for table, name in dict.fromkeys(used for study in studies for used in _used(study)):
        keys = next(keys for each, keys in CITED if each.noun == table).get(name)
        if keys is None:
            unknown.append(f"% {table} {printable(name)}: not of tamcl, no entry is known")
        for key in (keys or "").split():
            reasons.setdefault(key, []).append(f"{table} {name}")
    versions = sorted(
        {f"{name} {each}" for study in studies for name, found in study.versions.items() for each in found}
    )
    known = [f"% {', '.join(words)}\n{entries()[key]}" for key, words in reasons.items()]
    return "\n\n".join([f"% ran with {printable(', '.join(versions))}", *known, *unknown]) + "\n"


@cache
def entries() -> dict[str, str]:
    """Return all BibTeX entries by their keys."""
    text = files("tamcl.report").joinpath("references.bib").read_text(encoding="utf-8")
    return {key: entry for entry, key in re.findall(r"^(@\w+\{(\w+),\n.*?^\})$", text, flags=re.DOTALL | re.MULTILINE)}


def _studies(directory: str | Path) -> list[Study]:
    if not is_sweep(directory):
        return [Study(load_results(directory))]
    found = [Study(results) for _, results in load_sweep(directory).finished]
    if not found:
        raise InputError(f"'{directory}': no study of the sweep has results")
    return found


def _used(study: Study) -> Iterator[tuple[str, str]]:
    """Yield what a study used: the noun of a table, and a name."""
    scenario: dict[str, Any] = study.scenario
    arms: dict[str, dict[str, Any]] = scenario.get("arms", {})
    for name, arm in arms.items():
        yield OPTIMIZERS.noun, str(arm.get("optimizer") or name)
        inside = flat(value for key, value in arm.items() if key != "optimizer")
        names = (value for value in inside if isinstance(value, str) and value in OPTIMIZERS)
        yield from ((OPTIMIZERS.noun, value) for value in names)
    stream = scenario.get("stream", {})
    parts = [(DATASETS, stream.get("dataset")), (STREAMS, stream.get("name"))]
    parts += [
        (table, scenario.get(part, {}).get("name")) for table, part in ((MODELS, "model"), (STRATEGIES, "strategy"))
    ]
    for interventions in (scenario.get("interventions"), *(arm.get("interventions") for arm in arms.values())):
        parts += [(INTERVENTIONS, each.get("name")) for each in interventions or ()]
    yield from ((table.noun, str(name)) for table, name in parts if name)
