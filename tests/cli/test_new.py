"""`ensf new` and pages in any folder: what is written runs as it is."""

import re
import runpy
import sys

import numpy as np
import pytest
import xarray as xr

from ensf import EnKF, experiments
from ensf.cli import main
from ensf.cli.new import KINDS
from ensf.experiments import load

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(capsys, *arguments):
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.startswith("ensf: ") and error.count("\n") == 1
    return error


def test_a_page_runs_as_it_is(here, capsys):
    assert main(["new", "experiment", "mine"]) == 0
    assert capsys.readouterr().out == "wrote mine.py; try it: ensf run ./mine.py\n"
    page = experiments.load("./mine.py")
    assert page.name == "mine" and experiments.load("mine.py") is page
    assert main(["run", "./mine.py", "--methods", "letkf", "--cycles", "3", "--seeds", "1", "--members", "8"]) == 0
    printed = capsys.readouterr().out
    assert (here / "results" / "mine" / "letkf_seed1.nc").is_file()
    assert "the run ends within its burn-in, t = 5: scores are means over all its cycles" in printed


def test_settings_of_a_page_are_options(here, capsys):
    main(["new", "experiment", "mine"])
    with pytest.raises(SystemExit):
        main(["run", "mine.py", "--help"])
    printed = capsys.readouterr().out
    assert "--model.forcing" in printed and "--letkf.LETKF.localization.half_width" in printed


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"experiment"}))
def test_a_class_runs_as_it_is(here, kind, capsys):
    assert main(["new", kind, f"my_{kind}"]) == 0
    capsys.readouterr()
    runpy.run_path(f"my_{kind}.py", run_name="__main__")
    printed = capsys.readouterr().out
    assert f"class My{kind.title()}(" in (here / f"my_{kind}.py").read_text() and "$" not in printed
    if kind == "filter":
        for line in printed.splitlines():  # numbers beside the exact ones
            said, exact = (part.strip(" []").split() for part in line.split(":", 1)[1].split("exact:"))
            assert said == exact


@pytest.mark.parametrize("kind", ["schedule", "score", "guidance", "sampler"])
def test_what_a_part_of_a_sampler_gives_is_right(here, kind, monkeypatch, capsys):
    main(["new", kind, "part"])
    runpy.run_path("part.py", run_name="__main__")
    lines = [line.split(":", 1)[1].split("exact:") for line in capsys.readouterr().out.splitlines() if "exact" in line]
    assert len(lines) > 1
    for said, exact in lines:
        numbers, right = (np.array(re.sub(r"[][,]", " ", words).split(), float) for words in (said, exact))
        assert numbers == pytest.approx(right, rel=0.03, abs=0.04)


@pytest.mark.parametrize(
    ("part", "some", "none"),
    [
        ("schedules", ["Cosine", "ornstein_uhlenbeck"], "DDIM"),
        ("scores", ["GaussianMixture", "LearnedScore"], "DPS"),
        ("guidances", ["DPS", "MomentMatching"], "GaussianScore"),
        ("samplers", ["ancestral", "MALA"], "Sampler"),
    ],
)
def test_parts_are_listed_with_what_they_are(capsys, part, some, none):
    assert main(["list", part]) == 0
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert {*some} <= {*told} and none not in told and all(told.values())


def test_what_new_refuses(here, capsys):
    (here / "mine.py").write_text("mine")
    assert "mine.py is already there" in refusal(capsys, "new", "experiment", "mine")
    assert (here / "mine.py").read_text() == "mine"
    assert "no template of 'fliter': the nearest are filter" in refusal(capsys, "new", "fliter", "x")
    for name in ("2nd", "my-page", "class", "a/b", ""):
        assert "is no name in Python" in refusal(capsys, "new", "experiment", name)
    assert "say what, and its name" in refusal(capsys, "new")
    assert [path.name for path in here.iterdir()] == ["mine.py"]


def test_pages_that_cannot_be_read(here, capsys):
    (here / "empty.py").write_text("")
    (here / "wrong.py").write_text("x = 1\n\ny = nothing\n")
    (here / "cut.py").write_text("x = (\n")
    assert "empty.py has no EXPERIMENT" in refusal(capsys, "run", "empty.py")
    assert "wrong.py, line 3: NameError: name 'nothing' is not defined" in refusal(capsys, "run", "./wrong.py")
    (here / "beside_cut.py").write_text("y = (\n")
    (here / "imports.py").write_text("x = 1\nimport beside_cut\n")
    assert "imports.py, line 2: SyntaxError" in refusal(capsys, "run", "imports.py")
    assert "cut.py, line 1: SyntaxError" in refusal(capsys, "run", "cut.py")
    assert "the page absent.py is not there" in refusal(capsys, "run", "absent.py")
    assert "for the page in the file wrong.py say wrong.py" in refusal(capsys, "run", "wrong")


def test_a_page_that_was_mended_is_read_again(here, capsys):
    (here / "page.py").write_text("nothing\n")
    assert "NameError" in refusal(capsys, "run", "page.py")
    (here / "page.py").write_text("from ensf.experiments.lorenz63_sakov2012 import EXPERIMENT\n")
    assert experiments.load("page.py") is experiments.load("lorenz63_sakov2012")


def test_a_page_may_import_what_lies_beside_it(here, monkeypatch):
    (here / "folder").mkdir()
    (here / "folder" / "beside_the_page.py").write_text(
        "from ensf.experiments.lorenz63_sakov2012 import EXPERIMENT as VALUE\n"
    )
    (here / "folder" / "page.py").write_text("from beside_the_page import VALUE as EXPERIMENT\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert experiments.load("folder/page.py") is experiments.load("lorenz63_sakov2012")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        (
            "h = duration / steps",
            "h = durations / steps",
            "h = durations",
            "NameError: name 'durations' is not defined",
        ),
        ("+ self.forcing", "+ np.zeros(7)", "+ np.zeros(7)", "ValueError: operands could not be broadcast"),
        ("+ self.forcing", "+ np.linalg.inv(np.zeros((2, 2)))", "np.linalg.inv", "LinAlgError: Singular matrix"),
        ("Select(tuple(range(0, SIZE, 2)))", "lambda x: x[{}]", "lambda x", "IndexError"),
        ("Select(tuple(range(0, SIZE, 2)))", "lambda x: open('/absent').read()", "lambda x", "absent: No such file"),
    ],
)
def test_a_fault_in_a_page_is_said_with_its_line(here, capsys, old, new, line, words):
    engine = "processes:1" if "durations" in new else "serial"
    main(["new", "experiment", "mine"])
    text = (here / "mine.py").read_text().replace(old, new).replace("np.zeros(SIZE))", "np.zeros(SIZE), spin_up=0.1)")
    (here / "mine.py").write_text(text)
    number = next(k for k, one in enumerate(text.splitlines(), 1) if line in one)
    capsys.readouterr()
    assert main(["run", "mine.py", "--methods", "letkf", "--cycles", "2", "--seeds", "1", "--engine", engine]) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith(f"ensf: {here / 'mine.py'}, line {number}: ") and words in shown, shown
    assert "unforeseen" not in shown and "authors" not in shown


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("EXPERIMENT = TwinExperiment(", "EXPERIMENT = dict(", "EXPERIMENT is a dict: give a TwinExperiment(...)"),
        ("model=MODEL", "model=Model", "the model is the class Model, without shape, dims, advance"),
        ("    dims: ClassVar", "    axes: ClassVar", "the model is a Model, without dims: give an object"),
        ('"letkf": Method(', '"letkf": (', "methods of EXPERIMENT have 'letkf': a tuple: give each as Method"),
        ("methods=METHODS", "methods={}", "the methods of EXPERIMENT have none"),
    ],
)
def test_an_experiment_that_is_none_is_said(here, capsys, old, new, words):
    main(["new", "experiment", "mine"])
    text = (here / "mine.py").read_text().replace(old, new)
    if "tuple" in words:
        text = text.replace("factor=1.06), members=40, summary=", "factor=1.06), 40, ")
    (here / "mine.py").write_text(text)
    shown = refusal(capsys, "run", "mine.py")
    assert words in shown and "mine.py" in shown


def test_a_method_with_the_name_of_an_option_is_refused(here, capsys):
    main(["new", "experiment", "mine"])
    (here / "mine.py").write_text((here / "mine.py").read_text().replace('"letkf": Method(', '"members": Method('))
    wanted = "ensf: a method of mine has the name of an option, members: give it another\n"
    assert refusal(capsys, "run", "mine.py") == wanted


def test_a_fault_of_the_package_in_a_page_is_not_the_pages(here, capsys, monkeypatch):
    main(["new", "experiment", "mine"])
    capsys.readouterr()
    monkeypatch.setattr("tempfile.tempdir", str(here))
    monkeypatch.setattr("ensf.runs.run.scores", None)
    assert main(["run", "mine.py", "--methods", "letkf", "--cycles", "2", "--seeds", "1"]) == 1
    assert "unforeseen TypeError" in capsys.readouterr().err


def test_the_list_can_be_searched(capsys):
    assert main(["list", "ARCTAN"]) == 0
    names = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert "lorenz96_arctan_005" in names and "sqg_arctan" in names and "lorenz63_sakov2012" not in names
    assert "no experiment has 'zzz'" in refusal(capsys, "list", "zzz")


def test_the_doctor_is_content(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    assert "numpy" in printed and "agree with the Kalman formula" in printed and "FAILED" not in printed


def test_the_doctor_says_what_is_wrong(capsys, monkeypatch):
    def broken(*given):
        raise OSError("libnetcdf.so is missing")

    monkeypatch.setattr("ensf.dataset.netcdf.opened", broken)
    assert main(["doctor"]) == 1
    assert "FAILED: OSError: libnetcdf.so is missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("replaced", "other", "said"),
    [
        ("ensf.ETKF", EnKF, "filters differ from the Kalman formula by"),
        (
            "ensf.dataset.netcdf.lazy",
            lambda path: xr.Dataset({"x": ("n", np.zeros(1000))}),
            "what was read is not what",
        ),
        ("ensf.experiments.load", lambda name: load("lorenz96_window_06"), "the error of the LETKF after 50 cycles"),
    ],
)
def test_the_doctor_says_what_gives_wrong_numbers(capsys, monkeypatch, replaced, other, said):
    monkeypatch.setattr(replaced, other)
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("FAILED: ArithmeticError") == 1 and said in printed
