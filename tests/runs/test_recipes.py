"""Recipes: what Python prints for a setting makes the same setting again, for everything that can be named."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from importlib import import_module

import numpy as np
import pytest
import xarray as xr

import ensf
from ensf.cli import files
from ensf.dataset import Bounds, Chain, Log, Logit, Scale, Standardise, first_localization, pack
from ensf.dataset.methods import method_for
from ensf.diffusion import (
    DDIM,
    DPS,
    EDM,
    AdamFlow,
    AdaptiveFlow,
    AnnealedLangevin,
    ConditionalGuidance,
    Cosine,
    CriticallyDamped,
    DampedGuidance,
    DPMSolver,
    EDMHeun,
    GaussianScore,
    IndependentScore,
    KernelDensityScore,
    Langevin,
    LearnedScore,
    LinearSchedule,
    MiniBatchScore,
    MixtureScore,
    MomentMatching,
    Neighbourhood,
    PairedScore,
    PiGDM,
    PredictorCorrector,
    ProbabilityFlow,
    ReverseSDE,
    RunningMeanStop,
    StandardisedNoise,
    StandardNoise,
    TiltedGuidance,
    VarianceExploding,
    VariancePreserving,
    ancestral,
    ornstein_uhlenbeck,
)
from ensf.filters import (
    ETKF,
    LETKF,
    LETSF,
    EnFF,
    EnKF,
    EnSF,
    FixedGainMAP,
    FreeRun,
    IteratedEnSF,
    Kernel,
    OptimalInterpolation,
    OptimalTransport,
    ParticleFilter,
    QuantileFilter,
    RankHistogram,
    SchurEnKF,
)
from ensf.localization import (
    ByCorrelation,
    ByVariable,
    CountLimit,
    Euclidean,
    InformationLimit,
    Layered,
    Localization,
    Periodic,
    Product,
    Sphere,
    periodic_line,
)
from ensf.runs.recipe.reader import ROOMS, makers, read_method, read_settings
from ensf.tables import ByChannel, ByDistance, Constant
from ensf.tables.quality.boxes import Boxes
from ensf.tables.quality.checks import Duplicates, GrossCheck, SuperObservations, Thinning, TimeWindow
from ensf.wrappers import (
    RTPP,
    RTPS,
    AdaptiveInflation,
    AdaptiveSpread,
    AdditiveNoise,
    AnalysisInflation,
    AugmentedState,
    CollapseGuard,
    Copula,
    DeferredAnalysis,
    DisplacementCovariance,
    EnsembleCovariance,
    FailedMembers,
    FiniteSize,
    ForecastInflation,
    HybridMean,
    InvertedArctan,
    ModelInTheLoop,
    OnlyVariables,
    OutlierRejection,
    Parameter,
    PartialState,
    Relinearised,
    Rotation,
    Smoother,
    SpreadReset,
    Standardised,
    StaticCovariance,
    Tempered,
    letsf,
    published,
)

GLOBE = Localization(Sphere(), 500.0, dims={"t": ("y", "x")}, at={"height": -1.5})
LINE = periodic_line(40, 4.0)
PLANE, BANDS = Product(Periodic((40.0, 30.0)), 2.0), EnsembleCovariance((4.0, 2.0), (5.0,))

METHODS = [
    FreeRun(),
    OptimalInterpolation(periodic_line(40, 4.0), 2.0),
    InvertedArctan(ETKF(), 0.5),
    PartialState(ETKF(), 3),
    EnKF(),
    ETKF(),
    LETSF(),
    LETSF(steps=1, information_limit=InformationLimit(0.3), unresolved_variance=0.2),
    QuantileFilter(),
    QuantileFilter(marginal=Kernel(0.7), probit=True),
    QuantileFilter(marginal=RankHistogram(lower=0.0)),
    ParticleFilter(0.1),
    FixedGainMAP(0.2, steps=3),
    FreeRun(),
    OptimalInterpolation(LINE, 3.0),
    EnSF(),
    EnSF(VariancePreserving(), MixtureScore(), ConditionalGuidance(), ProbabilityFlow(20), StandardisedNoise(), 5.0),
    EnSF(score=MiniBatchScore(7), sampler=ReverseSDE(30, RunningMeanStop(tolerance=0.01))),
    EnSF(LinearSchedule(), GaussianScore()),
    EnSF(LinearSchedule(), PairedScore(), DampedGuidance(), start=StandardNoise()),
    EnSF(EDM(), KernelDensityScore(0.5), TiltedGuidance(), EDMHeun(20)),
    EnSF(Cosine(), LearnedScore(neighbourhood=Neighbourhood(2, (40,)), repeats=5), DPS(), DDIM(20, eta=0.5)),
    EnSF(VarianceExploding(), GaussianScore(), PiGDM(), DPMSolver(20)),
    EnSF(ornstein_uhlenbeck(), GaussianScore(), MomentMatching(), AdaptiveFlow()),
    EnSF(sampler=AdamFlow()),
    EnSF(sampler=Langevin()),
    EnSF(sampler=AnnealedLangevin()),
    EnSF(sampler=PredictorCorrector()),
    EnSF(sampler=CriticallyDamped()),
    EnSF(score=IndependentScore()),
    EnFF(strength=0.1),
    EnFF(OptimalTransport(), 10),
    IteratedEnSF(2, independent=True),
    EnSF(sampler=ancestral(30)),
    published("cmame"),
    published("sqg"),
    AdditiveNoise(Rotation(ETKF()), "tendencies/*.nc", 0.3),
    AnalysisInflation(ETKF(), 1.05),
    AnalysisInflation(ETKF(), np.float64(1.05)),
    AnalysisInflation(ETKF(), np.float32(1.05)),
    ForecastInflation(EnKF(), 1.1),
    RTPS(Rotation(ETKF()), 0.3),
    RTPP(ETKF(), 0.4),
    OnlyVariables(RTPS(LETKF(LINE), 0.4), ("q", 3)),
    FailedMembers(AnalysisInflation(ETKF(), 1.05), 10, move=0.5),
    Smoother(FailedMembers(ETKF(), 10, replaced=False), lag=2),
    SpreadReset(EnSF()),
    SpreadReset(EnSF(), 0.5),
    PartialState(ETKF(), 30),
    InvertedArctan(ETKF(), error=0.5),
    FiniteSize(ETKF()),
    CollapseGuard(Copula(Tempered(LETSF(), 2), 0.7), limit=4.0),
    DeferredAnalysis(LETSF(), chi2_limit=1.6),
    ModelInTheLoop(Relinearised(LETSF(), max_pieces=2)),
    AdaptiveSpread(LETSF(), LINE, reference=("sst_buoy", "t_buoy")),
    HybridMean(LETKF(LINE), Periodic((40.0,)), EnsembleCovariance((math.inf,))),
    HybridMean(ETKF(), PLANE, BANDS, StaticCovariance(3.0), DisplacementCovariance(2.0)),
    Standardised(EnSF()),
    LETKF(GLOBE),
    LETKF(LINE, InformationLimit()),
    LETKF(ByCorrelation(1.5)),
    LETSF(ByCorrelation(1.5)),
    LETSF(Localization(Layered(Sphere(), 100.0), math.inf)),
    QuantileFilter(LINE),
    SchurEnKF(LINE),
    LETKF(replace(LINE, nearest=5), CountLimit(3)),
    OutlierRejection(LETSF(LINE), 3.0, LINE, max_part=0.2),
    AugmentedState(
        LETKF(LINE), (Parameter(Log(), min_spread=0.05), Parameter(walk=0.1, places=((1.0,), (3.0,)), is_field=True))
    ),
    Smoother(AugmentedState(LETKF(LINE), (Parameter(Logit(0.0, 1.0)),)), lag=5),
    AdaptiveInflation(Rotation(LETKF(LINE)), LINE),
    AdaptiveSpread(LETSF(LINE), LINE, estimate_bias=False),
    letsf(),
    letsf(GLOBE),
]
SETTINGS = [
    Euclidean(),
    Periodic((40.0, 2.0)),
    Sphere(),
    Layered(Periodic((40.0,)), 2.0),
    Product(Sphere(), 100.0),
    Bounds(low=0.0),
    Chain((Log(), Scale(2.0, 1.0))),
    Logit(-0.01, 1.01),
    Standardise(),
    GrossCheck(3.0),
    Duplicates(),
    Thinning(Boxes(100.0)),
    SuperObservations(Boxes(100.0, height=5.0), 0.3),
    TimeWindow("2000-01-01", "2000-01-02T12:00"),
    ByVariable(Sphere(), (("t", "sst", 2.0), ("*", "sst", 0.0))),
    ByChannel("channel", (1.0, 2.0), ((1.0, 0.2), (0.2, 1.0))),
    ByDistance(200.0),
    ByDistance(0.5, along=("z",)),
    Constant(0.3),
    LINE,
    GLOBE,
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: repr(method)[:60])
def test_what_python_prints_for_a_method_makes_it_again(method):
    again = read_method(repr(method))
    assert again == method and repr(again) == repr(method) and hash(again) == hash(method)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: repr(setting)[:60])
def test_what_python_prints_for_a_setting_makes_it_again(setting):
    assert read_settings(repr(setting)) == (setting,)
    assert read_settings(f"{setting!r}, {setting!r}") == (setting, setting)
    assert read_settings("") == ()


def test_all_that_can_be_named_is_in_these_tables():
    text = repr([*METHODS, *SETTINGS])
    kinds = {name for name, maker in makers().items() if isinstance(maker, type)}
    assert not {name for name in kinds if f"{name}(" not in text}, "add an instance to the tables above"


def test_a_name_means_one_class():
    meanings = {}
    for room in ROOMS:
        for name in import_module(f"ensf.{room}").__all__:
            meanings.setdefault(name, set()).add(getattr(import_module(f"ensf.{room}"), name))
    assert not {name: kinds for name, kinds in meanings.items() if len(kinds) > 1}


@pytest.mark.parametrize("name", ["MALA", "FunctionScore"])
def test_what_needs_a_python_function_cannot_be_named(name):
    assert name in ensf.diffusion.__all__ and name not in makers()


def test_only_what_builds_a_method_can_be_named():
    names = set(makers())
    filters = {name for name in (*ensf.filters.__all__, *ensf.wrappers.__all__) if name.endswith(("F", "Filter"))}
    assert filters - {"Filter"} <= names and {"RTPS", "published", "periodic_line", "Sphere", "Log"} <= names
    assert not names & {
        "pack",
        "restore",
        "unpack",
        "analyse",
        "gaspari_cohn",
        "Analysis",
        "Filter",
        "StiffnessWarning",
    }


REFUSED = {
    "pack(1, 2)": "unknown name 'pack'",
    "ETFK()": "unknown name 'ETFK': the nearest are ETKF",
    "ETKF": "write ETKF\\(...\\)",
    "Wrapper(ETKF())": "unknown name 'Wrapper'",
    "Prepared()": "unknown name 'Prepared'",
    "2.0": "is no filter: write one such as AnalysisInflation",
    "Sphere()": "is no filter: write one such as",
    "ETKF(3": "is no recipe",
    "ETKF(colour=3)": "colour",
    "published": "missing 1 required positional argument",
    "ETKF().analyse()": "cannot be part of a method",
    "ETKF.analyse": "cannot be part of a method",
    "np.fromfile('a')": "'np.fromfile' cannot be part of a method",
    "np.float64.mro()": "cannot be part of a method",
    "__import__('os')": "unknown name '__import__'",
    "FailedMembers(letsf, 5)": "letsf without settings can only stand alone: inside of a method write letsf\\(...\\)",
    "EnSF(sampler=MALA(letsf))": "unknown name 'MALA'",
    "RTPS(ETKF(), 1 + 1)": "'1 \\+ 1' cannot be part of a method",
    "LETKF(Localization(Sphere(), 500.0, at={**{}}))": "cannot be part of a method",
    "letsf(Localization(Sphere(), -1.0))": "half-width is -1.0: give a positive length",
}


@pytest.mark.parametrize(("text", "words"), REFUSED.items(), ids=REFUSED)
def test_other_texts_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        read_method(text)


def test_a_function_may_stand_alone():
    assert read_method(" letsf ") == read_method("letsf()") == letsf()
    assert read_method("RTPS(letsf(Localization(Sphere(), 500.0)), 0.3)") == RTPS(
        letsf(Localization(Sphere(), 500.0)), 0.3
    )


# --- constructors -----------------------------------------------------------------------------------------

NO_NUMBER = ("a", math.nan, True, [1.0, 2.0], 1j, Sphere())
NOTHING_OF_THE_KIND = ("a", 3, Sphere)
UNFIT = {
    "float": (*NO_NUMBER, None),
    "float | None": NO_NUMBER,
    "int": (*NO_NUMBER, None, 1.5),
    "int | None": (*NO_NUMBER, 1.5),
    "int | tuple[float, ...]": ("a", math.nan, None, ("a", "b"), (1.0, None)),
    "bool": ("a", None, 1),
    "tuple[float, ...]": ("a", None, ("a",), (1.0, math.nan), (True,)),
    "tuple[tuple[float, ...], ...]": ((("a",),), ((math.nan,),)),
    "tuple[tuple[str, float], ...]": ((("q", "a"),), (("q", math.nan),), (("q", None),)),
    "tuple[tuple[str, str, float], ...]": ((("t", "q", "a"),), (("t", "q", math.nan),), (("t", 1.0, 1.0),), ("a",)),
    "Filter": (*NOTHING_OF_THE_KIND, None, ETKF),
    "Localization": (*NOTHING_OF_THE_KIND, None),
    "Localization | None": NOTHING_OF_THE_KIND,
    "Localization | ByCorrelation": (*NOTHING_OF_THE_KIND, None),
    "Localization | ByCorrelation | None": NOTHING_OF_THE_KIND,
    "PatchLimit | None": NOTHING_OF_THE_KIND,
    "Geometry": ("a", 3, Sphere, None),
    "CovarianceModel": (*NOTHING_OF_THE_KIND, None),
    "CovarianceModel | None": NOTHING_OF_THE_KIND,
    "Marginal": (*NOTHING_OF_THE_KIND, None),
    "Transform | None": NOTHING_OF_THE_KIND,
    "FlowPath": (*NOTHING_OF_THE_KIND, None),
    "Schedule": (*NOTHING_OF_THE_KIND, None),
    "Sampler": (*NOTHING_OF_THE_KIND, None),
    "PriorScore": (*NOTHING_OF_THE_KIND, None),
    "Guidance": (*NOTHING_OF_THE_KIND, None),
    "Boxes": (*NOTHING_OF_THE_KIND, None),
    "tuple[Parameter, ...]": (("a",), (3,), ()),
    "str | tuple[str, ...]": (None, 3, (3,), ("a", None)),
}
"""What a field must refuse, by what it is declared to be."""
WORDS = {"str", "tuple[str, ...]", "tuple[str | float, ...]", "tuple[str | int, ...]", "np.datetime64 | str", "Dims"}
WORDS |= {"Array | str", "tuple[Any, ...]", "Any"}
"""Fields of names, dates and arrays, which other tests try."""


def settings_in(thing):
    """Each dataclass that a setting is made of, itself first."""
    if is_dataclass(thing):
        yield thing
        for one in fields(thing):
            yield from settings_in(getattr(thing, one.name))
    elif isinstance(thing, tuple):
        for part in thing:
            yield from settings_in(part)


EXAMPLES = {
    type(one): one
    for setting in (*METHODS, *SETTINGS)
    for one in settings_in(setting)
    if not type(one).__module__.startswith("ensf.diffusion")
}
FIELDS = [(one, field) for one in EXAMPLES.values() for field in fields(one) if field.type not in WORDS]


@pytest.mark.parametrize(
    ("setting", "field"), FIELDS, ids=[f"{type(one).__name__}.{field.name}" for one, field in FIELDS]
)
def test_a_constructor_refuses_in_one_sentence_what_is_not_of_its_kind(setting, field):
    for unfit in UNFIT[field.type]:
        with pytest.raises(ValueError, match=r"\w+ .*(: give|: put) "):
            replace(setting, **{field.name: unfit})


def test_numbers_of_numpy_are_printed_as_plain_ones():
    for one, field in FIELDS:
        value = getattr(one, field.name)
        if isinstance(value, float | int) and not isinstance(value, bool) and field.type != "bool":
            kind = np.float64 if field.type.startswith("float") else np.int64
            for number in (kind(value), np.array(value, kind)):
                assert (
                    "np." not in repr(replace(one, **{field.name: number}))
                    and replace(one, **{field.name: number}) == one
                )
    at = replace(GLOBE, at={"height": np.float64(-1.5)})
    rules = ByVariable(Sphere(), (("t", "sst", np.float64(2.0)),))
    for setting in (at, rules, Tempered(ETKF(), np.full(2, 2.0)), Parameter(places=np.array([[1.0], [2.0]]))):
        assert "np." not in repr(setting) and read_settings(repr(setting)) == (setting,)


def test_the_recommended_filter_with_settings_has_its_localization_from_the_files():
    x = xr.DataArray(np.arange(8.0), dims="x", attrs={"units": "km"})
    layout = pack(
        xr.Dataset({"h": (("member", "x"), np.random.default_rng(0).normal(size=(4, 8)))}, {"x": x}), "member"
    )[1]
    settled = files.method("letsf(reference='buoy', estimate_bias=False)")
    assert method_for(settled, layout) == letsf(first_localization(layout), reference="buoy", estimate_bias=False)
    assert method_for(files.method("letsf()"), layout) == method_for("letsf", layout)
    written = "letsf(Localization(Sphere(), 500.0), reference='buoy')"
    assert files.method(written) == letsf(Localization(Sphere(), 500.0), reference="buoy")
    with pytest.raises(ValueError, match=r"letsf without a localization inside of another method: give it one"):
        files.method("Smoother(letsf(reference='buoy'), 3)")
    with pytest.raises(ValueError, match="unexpected keyword argument 'refrence'"):
        files.method("letsf(refrence='buoy')")
