"""The board: tuned alike on seeds that are not scored, resumable, and honest about what was lost."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest

from ensf import experiments
from ensf.cli import main
from ensf.dataset.methods import find_localization
from ensf.experiments._benchmark import cells
from ensf.experiments._benchmark import plan as board
from ensf.experiments._benchmark.methods import APART, RECIPES
from ensf.experiments._benchmark.plan import BoardCell, Plan, Row
from ensf.twin import Network, Streams

TINY = Plan(("lorenz63_sakov2012",), ("etkf", "map"), (1, 2), (106, 107), trials=3, cycles=8, tuning_cycles=6)
TINY_FILES = 2 * (3 * 2 + 2)
REQUEST = [
    "board", "--experiments", "lorenz63_sakov2012", "--methods", "etkf,map", "--seeds", "1,2", "--trials", "3",
    "--cycles", "8", "--tuning-cycles", "6", "--engine", "serial",
]  # fmt: skip
PAIRS = Plan().pairs
ROW = Row(
    experiment="lorenz96_half",
    method="letkf",
    summary="LETKF, inflated, rotated",
    members=40,
    settings={"inflation": 1.044, "half_width": 7.3},
    recipe="",
    cycles=200,
    burn_in=3.3,
    medians={
        "rmse_analysis": 0.2921, "spread_ratio": 1.104, "crps_analysis": 0.1512, "chi2": 0.998, "coverage95": 0.957,
        "rmse_analysis_last50": None, "seconds_forecast": 0.00012, "seconds_analysis": 0.0081,
    },
    diverged=1,
    seeds=(1, 2, 3, 4, 5),
    tuning_seeds=(106, 107),
    tuning_cycles=300,
    runs=[],
    trials=[],
)  # fmt: skip


def times(folder):
    """When each finished cell was written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}


def without_seconds(tree):
    if isinstance(tree, Row):
        return without_seconds(asdict(tree))
    if isinstance(tree, dict):
        return {key: without_seconds(value) for key, value in tree.items() if not key.startswith("seconds")}
    return [without_seconds(value) for value in tree] if isinstance(tree, list) else tree


def scripted(monkeypatch, outcome):
    """Runs give what `outcome(method, seed)` says: an RMSE (above 1 is diverged) or an error."""

    def measure(experiment, method, seed, check):
        rmse = outcome(method, seed)
        return {"members": method.members, "rmse_analysis": rmse, "spread_analysis": 0.5, "diverged": rmse > 1}

    monkeypatch.setattr(cells, "_measure", measure)


# --- plans -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", board.EXPERIMENTS)
def test_every_page_of_the_board_has_a_network_with_an_operator_and_an_error(name):
    assert type(board.page(name).network) is Network


def test_every_row_of_lorenz_and_kuramoto_sivashinsky_is_on_the_board():
    rows = {name for name in experiments.names() if name.startswith(("lorenz", "kuramoto"))}
    apart = {name for name in rows if any(word in name for word in APART)}
    assert {experiment for experiment, _ in PAIRS} == rows - apart and len(rows - apart) >= 12


@pytest.mark.parametrize("trials", [1, 5])
def test_every_tuned_method_has_the_same_number_of_trials(trials):
    plan = Plan(trials=trials)
    for pair in plan.pairs:
        cells_of_trials = plan.trial_cells(pair)
        assert len(cells_of_trials) == (trials if RECIPES[pair[1]].axes else 0)
        assert len({group[0].settings for group in cells_of_trials}) == len(cells_of_trials)
        assert all([cell.seed for cell in group] == [106, 107] for group in cells_of_trials)


@pytest.mark.parametrize("seeds, tuning", [((1, 2), (2, 3)), ((107,), (106, 107))])
def test_seeds_that_are_scored_may_not_tune(seeds, tuning):
    with pytest.raises(ValueError, match="both scored and used for tuning"):
        Plan(seeds=seeds, tuning_seeds=tuning)


@pytest.mark.parametrize("name", board.EXPERIMENTS)
def test_default_tuning_seeds_have_other_truths(name):
    def truth(seed):
        return experiments.load(name).initial.draw(2, Streams.spawn(seed))[0]

    plan = Plan()
    tuned, scored = [truth(seed) for seed in plan.tuning_seeds], [truth(seed) for seed in plan.seeds]
    assert not any(np.array_equal(one, other) for one in tuned for other in scored)


@pytest.mark.parametrize("trials, cycles, tuning", [(0, 0, 5), (2, -1, 5), (2, 0, 0)])
def test_plans_that_run_nothing_are_refused(trials, cycles, tuning):
    with pytest.raises(ValueError, match="--trials"):
        Plan(trials=trials, cycles=cycles, tuning_cycles=tuning)


def test_a_plan_without_a_fitting_method_is_refused():
    with pytest.raises(ValueError, match="particle"):
        Plan(experiments=("lorenz96_half",), methods=("particle",))


# --- recipes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("experiment, method", PAIRS)
def test_a_recipe_runs_where_it_fits(experiment, method):
    trials = Plan(trials=3).trial_cells((experiment, method))
    settings = trials[1][0].settings if trials else ()
    page, made = BoardCell(experiment, method, settings, seed=1, cycles=1).load()
    with np.errstate(all="ignore"):
        cycle = next(page.run(made, 1))
    assert cycle.analysis.ensemble.shape == (made.members, math.prod(page.model.shape))
    assert np.isfinite(cycle.analysis.ensemble).all()


def test_recipes_say_all_and_hold_no_addresses():
    for pair in PAIRS:
        page, method = Plan().score_cells(pair, settings=_middle(pair))[0].load()
        parts = (method, page.model, page.truth_model, page.network, page.initial)
        assert " at 0x" not in "".join(map(repr, parts)), pair


def _middle(pair):
    trials = Plan(trials=1).trial_cells(pair)
    return trials[0][0].settings if trials else ()


def test_localization_is_in_grid_intervals_of_the_ring():
    page, method = BoardCell(
        "kuramoto_sivashinsky_bocquet2019", "letkf", (("inflation", 1.0), ("half_width", 9.0)), 1, 1
    ).load()
    localization = method.filter.filter.filter.localization
    assert localization.geometry.period == (page.model.size,) and localization.half_width == 9.0


@pytest.mark.parametrize("name", ["lorenz96_half", "kuramoto_sivashinsky_bocquet2019"])
def test_trials_span_their_ranges(name):
    trials = RECIPES["letkf"].trials(experiments.load(name), 8)
    inflation, half_width = (sorted(trial[name] for trial in trials) for name in ("inflation", "half_width"))
    assert inflation[0] == 1.01 and inflation[-1] == 1.32
    assert 4 <= half_width[0] < 5 and 20 < half_width[-1] <= 24
    assert max(np.diff(np.log(half_width))) < 0.25 * math.log(24 / 4)


def test_members_are_those_of_the_page_if_its_methods_agree():
    def members(name, method="etkf"):
        return RECIPES[method].method(experiments.load(name), {"inflation": 1.1}).members

    assert members("lorenz96_published") == 20 and members("lorenz96_sakov2008") == 40


def test_a_shortened_experiment_scores_at_least_half():
    page, _ = BoardCell("lorenz96_sakov2008", "etkf", (("inflation", 1.1),), 1, cycles=60).load()
    assert page.cycles == 60 and page.burn_in == pytest.approx(30 * 0.05)
    whole, _ = BoardCell("lorenz96_sakov2008", "etkf", (("inflation", 1.1),), 1, cycles=0).load()
    assert whole == experiments.load("lorenz96_sakov2008")


# --- running ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The rows of a tiny board, and its folder."""
    folder = tmp_path_factory.mktemp("tiny")
    return board.run(TINY, folder), folder


@pytest.fixture
def copied(finished, tmp_path):
    """A folder with the finished cells."""
    shutil.copytree(finished[1], tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_tiny_board(finished):
    (etkf, gain), folder = finished
    assert (etkf.method, gain.method) == ("etkf", "map") and etkf.experiment == "lorenz63_sakov2012"
    assert len(times(folder)) == TINY_FILES
    assert set(etkf.medians) == set(board.MEASURED)
    assert [run["seed"] for run in etkf.runs] == [1, 2] and len(etkf.trials) == 3
    assert all(run["settings"] == etkf.settings for run in etkf.runs)
    assert f"factor={etkf.settings['inflation']}" in etkf.recipe
    assert etkf.medians["rmse_analysis"] == np.mean([run["rmse_analysis"] for run in etkf.runs])
    assert etkf.medians["rmse_analysis"] < gain.medians["rmse_analysis"] and etkf.seeds == (1, 2)
    assert etkf.medians["seconds_analysis"] > 0


def test_finished_cells_are_kept_and_lost_ones_run_again(finished, copied):
    first, before = finished[0], times(copied)
    assert board.run(TINY, copied) == first and times(copied) == before
    (copied / "cells" / "lorenz63_sakov2012.etkf.seed2.json").unlink()
    (copied / "cells" / "lorenz63_sakov2012.map.trial1.seed106.json").write_text('{"recipe": "')
    again = board.run(TINY, copied)
    after = times(copied)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"lorenz63_sakov2012.etkf.seed2.json", "lorenz63_sakov2012.map.trial1.seed106.json"}
    assert without_seconds(again) == without_seconds(first)


def test_a_changed_recipe_is_run_again(copied, monkeypatch):
    before = times(copied)
    etkf = RECIPES["etkf"]
    monkeypatch.setitem(RECIPES, "etkf", replace(etkf, build=lambda e, inflation: etkf.build(e, inflation).filter))
    board.run(TINY, copied)
    after = times(copied)
    assert all((after[name] != before[name]) == (".etkf." in name) for name in after)


def test_other_lengths_are_other_recipes(copied):
    before = times(copied)
    board.run(replace(TINY, cycles=9), copied)
    after = times(copied)
    assert all((after[name] != before[name]) == ("trial" not in name) for name in after)


def test_the_settings_with_the_smallest_median_win_and_divergence_is_infinite(tmp_path, monkeypatch):
    def outcome(method, seed):
        factor = getattr(method.filter, "factor", 1.0)
        if factor == 1.01:
            return 0.1 if seed == 106 else 2.0
        return 0.3 if factor == 1.32 else 0.4

    scripted(monkeypatch, outcome)
    etkf, gain = board.run(TINY, tmp_path)
    assert etkf.settings == {"inflation": 1.32} and etkf.medians["rmse_analysis"] == 0.3
    assert etkf.trials[0].diverged == [False, True]
    assert gain.settings == {"deviation": 0.05}


def test_if_all_settings_are_lost_the_least_bad_is_scored(tmp_path, monkeypatch):
    scripted(monkeypatch, lambda method, seed: 3.0 / getattr(method.filter, "factor", 1.0))
    etkf, _ = board.run(TINY, tmp_path)
    assert etkf.settings == {"inflation": 1.32} and etkf.diverged == 2


def test_an_error_counts_as_diverged_and_does_not_stop_the_board(tmp_path, monkeypatch):
    def outcome(method, seed):
        if not hasattr(method.filter, "factor") and seed != 1:
            raise ValueError("member 3 has nan")
        return 0.3 if seed != 2 else math.inf

    scripted(monkeypatch, outcome)
    etkf, gain = board.run(TINY, tmp_path)
    assert gain.diverged == 1
    assert gain.medians["rmse_analysis"] is None and gain.medians["spread_ratio"] == 0.5 / 0.3
    assert gain.runs[1]["error"].endswith("ValueError: member 3 has nan")
    assert etkf.diverged == 1 and etkf.runs[1]["rmse_analysis"] is None
    finite = replace(etkf, medians=etkf.medians | {"rmse_analysis": 0.3, "crps_analysis": 0.1})
    assert "| – | 1.67 | – | 1 of 2 |" in board.table([finite, gain])
    scores, diverged = board.heat_map([etkf, gain])
    assert math.isnan(scores["lorenz63_sakov2012"]["map"]) and diverged["lorenz63_sakov2012"] == {"etkf": 1, "map": 1}


def test_the_heat_map_has_one_order_of_methods_and_gaps_where_one_does_not_fit():
    pairs = [("a", "letsf_limited"), ("b", "letsf_limited"), ("b", "letkf")]
    scores, _ = board.heat_map([replace(ROW, experiment=e, method=m) for e, m in pairs])
    assert list(scores["a"]) == list(scores["b"]) == ["letkf", "letsf\nlimited"] and math.isnan(scores["a"]["letkf"])


@pytest.mark.parametrize(
    "engine",
    [ThreadPoolExecutor(2), pytest.param("processes:2", marks=pytest.mark.slow)],
    ids=["executor", "processes"],
)
def test_workers_give_what_one_gives(finished, tmp_path, engine):
    assert without_seconds(board.run(TINY, tmp_path, engine=engine)) == without_seconds(finished[0])


def test_an_interrupted_board_keeps_what_is_finished(tmp_path):
    command = [sys.executable, "-c", "from ensf.cli import main; raise SystemExit(main())"]
    request = ["board", "--experiments", "lorenz96_sakov2008", "--methods", "map", "--seeds", "1,2,3", "--trials", "2",
               "--cycles", "1000", "--tuning-cycles", "5", "--output", str(tmp_path)]  # fmt: skip
    process = subprocess.Popen(
        [*command, *request, "--engine", "processes:2"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    folder, patience = tmp_path / "cells", time.monotonic() + 60
    while time.monotonic() < patience and len(list(folder.glob("*.json"))) < 4:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "interrupted" in error and "Traceback" not in error
    before = times(tmp_path)
    assert 4 <= len(before) < 7 and all(name.endswith(".json") for name in before)
    assert main([*request, "--engine", "serial"]) == 0
    assert before.items() <= times(tmp_path).items() and len(times(tmp_path)) == 7


# --- pages of one's own ------------------------------------------------------------------------------------


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The page that `ensf new experiment` writes, on a board in its folder."""
    monkeypatch.chdir(tmp_path)
    assert main(["new", "experiment", "mine"]) == 0
    page = tmp_path / "mine.py"
    page.write_text(page.read_text().replace("np.zeros(SIZE))", "np.zeros(SIZE), spin_up=1.0)"))
    return page


def own(page, *more):
    """`ensf board` of a page, as short as it can be."""
    seeds = ["--seeds", "1", "--tuning-seeds", "106", "--trials", "2", "--cycles", "4", "--tuning-cycles", "4"]
    return main(["board", "--experiments", str(page), *seeds, "--engine", "serial", "--output", "out", *more])


def test_a_page_of_ones_own_is_on_the_board(mine, capsys):
    assert own("./mine.py", "--methods", "etkf,letkf,particle") == 0
    printed = capsys.readouterr().out
    assert "## mine\n" in printed and "4 of 400 cycles" in printed and "particle" not in printed.split("## mine")[1]
    rows = json.loads((mine.parent / "out" / "board.json").read_text())
    assert [row["method"] for row in rows] == ["etkf", "letkf"]
    assert rows[0]["experiment"] == str(mine) and all(math.isfinite(row["medians"]["rmse_analysis"]) for row in rows)
    before = times(mine.parent / "out")
    assert set(before) >= {"mine.letkf.trial0.seed106.json", "mine.letkf.seed1.json"}
    assert own(mine, "--methods", "etkf,letkf,particle") == 0  # the same page by another path
    assert times(mine.parent / "out") == before


@pytest.mark.parametrize(
    "old, new, half_widths",
    [
        ("half_width=20.0", "half_width=20.0", [4.0, 24.0]),
        ("periodic_line(SIZE, half_width=20.0)", "Localization(Euclidean(), 3000.0)", [600.0, 3600.0]),
    ],
)
def test_half_widths_are_tuned_in_the_unit_of_the_page(mine, old, new, half_widths):
    text = mine.read_text().replace("letsf, periodic_line", "Euclidean, Localization, letsf, periodic_line")
    mine.write_text(text.replace(old, new))
    trials = RECIPES["letkf"].trials(board.page(str(mine)), 2)
    axis = RECIPES["letkf"].axes["half_width"]
    ends = [axis.at(fraction, half_widths[0] / 4.0) for fraction in (0.0, 1.0)]
    assert ends == half_widths and all(ends[0] <= trial["half_width"] <= ends[1] for trial in trials)
    localization = RECIPES["letkf"].method(board.page(str(mine)), trials[0]).filter.filter.filter.localization
    assert localization.half_width == trials[0]["half_width"]
    assert localization.geometry == find_localization(board.page(str(mine)).methods["letsf"].filter).geometry


def test_a_page_whose_sensor_changes_from_cycle_to_cycle_is_on_the_board(mine, capsys):
    text = (
        mine.read_text()
        .replace("import Climatology", "import Climatology")
        .replace(
            "NETWORK = Network(Select(tuple(range(0, SIZE, 2))), error=1.0)",
            "from ensf import RandomPoints\nNETWORK = RandomPoints((SIZE,), 20, error=1.0)",
        )
    )
    mine.write_text(text)
    assert own(mine, "--methods", "etkf") == 0 and "| etkf | 40 | inflation" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change, words",
    [
        (("network=NETWORK", "network=Mine()"), "needs a TwinExperiment with a Network"),
        (('name="mine"', 'name="lorenz63_sakov2012"'), "two experiments of the board are named lorenz63_sakov2012"),
        (("cycles=400", "cycles=400 / 0"), "line 71: ZeroDivisionError"),
        (("states = states + h / 6", "states = states.wrong + h / 6"), "has no attribute 'wrong'"),
    ],
)
def test_what_is_wrong_with_a_page_is_said(mine, capsys, change, words):
    text = mine.read_text().replace(*change)
    mine.write_text(text.replace("MODEL = Model()", "MODEL = Model()\n\n\nclass Mine:\n    pass\n"))
    assert own(f"{mine},lorenz63_sakov2012" if "two" in words else mine, "--methods", "map") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("ensf: ") and words in error, error


def test_a_page_that_is_not_there_is_said(tmp_path, capsys):
    assert own(tmp_path / "none.py", "--output", str(tmp_path / "out")) == 2
    assert "none.py is not there" in capsys.readouterr().err


# --- command line and files ------------------------------------------------------------------------------


def test_the_command_writes_its_files_and_prints_the_page(tmp_path, capsys):
    assert main([*REQUEST, "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == (tmp_path / "board.md").read_text()
    assert "tuning" in printed.err and "scoring" in printed.err
    records = json.loads((tmp_path / "board.json").read_text(), parse_constant=pytest.fail)
    assert [record["method"] for record in records] == ["etkf", "map"]
    assert (tmp_path / "heatmap.png").stat().st_size > 1000
    for words in ("seeds 1, 2.", "3 trials on seeds 106, 107", "--methods etkf,map", "8 of 4001 cycles"):
        assert words in printed.out


def test_options_of_the_command_make_the_plan(tmp_path, monkeypatch, capsys):
    def run(*given):
        raise ValueError(given)

    monkeypatch.setattr("ensf.experiments._benchmark.run", run)
    assert main([*REQUEST, "--engine", "processes:2", "--tuning-seeds", "106,107", "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith(f"ValueError: {(TINY, tmp_path, 'processes:2')}\n")


def test_print_config_is_a_config(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*REQUEST, "--print_config"])
    assert stop.value.code in (0, None)
    config = tmp_path / "c.toml"
    config.write_text(capsys.readouterr().out)
    assert main(["board", "--config", str(config), "--methods", "map", "--output", str(tmp_path / "o")]) == 0
    assert len(times(tmp_path / "o")) == TINY_FILES // 2


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--experiments", "lorenz96_haf"], ["lorenz96_haf", "lorenz96_half"]),
        (["--methods", "etkf,letfk"], ["letfk", "letkf"]),
        (["--methods", ","], ["--methods"]),
        (["--seeds", "1,106"], ["106", "--tuning-seeds"]),
        (["--tuning-seeds", "one"], ["--tuning-seeds", "one"]),
        (["--trails", "3"], ["--trails", "--trials"]),
        (["--trials", "0"], ["--trials"]),
        (["--engine", "processes:0"], ["processes:0"]),
        (["--config", "nowhere.toml"], ["nowhere.toml"]),
    ],
)
def test_bad_requests_get_one_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["board", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ensf: ") and error.count("\n") == 1 and all(word in error for word in words)
    assert not list(tmp_path.iterdir())


TABLE = """\
| method | members | tuned | RMSE an | spread / RMSE | CRPS | chi2 | cover 95% | diverged | ms forecast | ms analysis |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| letkf | 40 | inflation 1.044, half-width 7.3 | 0.292 | 1.10 | 0.151 | 1.00 | 0.96 | 1 of 5 | 0.12 | 8.10 |"""


def test_the_table():
    assert board.table([ROW]) == TABLE


def test_the_page_says_how_it_was_made():
    other = replace(ROW, experiment="lorenz96_window_04", cycles=600)
    page = board.markdown([ROW, other], Plan(), "ensf board", "heatmap.svg")
    assert f"`ensf board`, {time.strftime('%Y-%m-%d')}: seeds 1, 2, 3, 4, 5." in page and TABLE in page
    assert "200 of 600 cycles, scored after t = 3.3." in page and "\n## lorenz96_window_04\n" in page
    assert "600 of 600" not in page
