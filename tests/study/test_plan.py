"""How cells are put into tasks, and in what order."""

from __future__ import annotations

from itertools import chain

from tamcl.scenario.load import add_arm, load_scenario, parse
from tamcl.study.plan import pack, tuning_cells


def test_what_takes_longest_is_begun_first_and_nothing_is_lost() -> None:
    scenario = load_scenario("label_flip_digits")
    cells = tuning_cells(scenario)
    tasks = pack(cells, 2)
    assert [task[0].arm for task in tasks] == ["adam_cm", "adatam", "tam", "tam_frozen", "adam", "sgdm"]
    assert all({cell.arm for cell in task} == {task[0].arm} for task in tasks)
    assert sorted(cell.id for cell in chain(*tasks)) == sorted(cell.id for cell in cells)


def test_an_optimizer_of_which_nothing_is_known_is_begun_early_and_single_runs_last() -> None:
    mine, _ = add_arm(load_scenario("label_flip_digits"), "mine=torch.optim:Rprop,lr=[0.1,0.2,0.3,0.4,0.5]")
    tasks = pack(tuning_cells(mine.only(["sgdm", "mine"])), 2)
    assert [(task[0].arm, len(task)) for task in tasks][:3] == [("sgdm", 8), ("sgdm", 7), ("mine", 1)]
    stacked = mine.dump()
    stacked["strategy"]["stacked"] = True
    tasks = pack(tuning_cells(parse(stacked).only(["sgdm", "mine"])), 2)
    assert [(task[0].arm, len(task)) for task in tasks] == [("mine", 15), ("sgdm", 15)]
