r"""Spread control for any error law: inflation on two scales, a reaction within one cycle, and the error variance.

The prior variance at a place is multiplied by

    lambda^2 = (1 + sampling DFS / (J - 1)) exp(g + max(n, 0)),

what J members lack for the degrees of freedom that the place took in the cycle before, a number g that all places
share and that remembers hundreds of cycles, and a quick n at each place. Both follow the score of the evidence
(`ensf.wrappers.spread_control.evidence`), which is right for any law, and, where observations come twice at a place or
near it, the products of innovations of two cycles (`ensf.wrappers.spread_control.lagged`), which tell a wrong R from a
wrong forecast unless errors are correlated in time, and what else tells of R
(`ensf.wrappers.spread_control.error_evidence`). With scores S_k and informations I_k of the observations, W the taper
between places and observations,

    g:  known <- e^(-1/common) known + sum I,    g <- g + (sum S + margin sum I - .08 g) / (known + 4)
    n:  known <- e^(-1/local) known + (W I) / 2, n <- n + (W S / 2 - (1 - e^(-1/local)) n / .04) / (known + 25)

each score held within three standard deviations. The margin is there because with model error the consistent
inflation stands at a cliff. Model error is told by phi, the part of the growth of variance that inflation supplies: the
margin is 0 below phi = .14, where it would feed itself in a calm model, and .15 from .2 on.

A surprise acts in its cycle only. With l_k the log likelihood ratios of larger prior variances,

    2 max_r sum_k W_ik min(l_k(r), 4) > limit^2

is one: one observation alone cannot cause it. The variance that is added is where the sum without bounds is largest,
part of it as independent noise. Near a surprise nothing is learnt for g, nor for R unless surprises last. Where the
innovations of a kind alternate it is a surprise of R rather, whose factor then acts in this cycle, and only what is
observed is widened: what lies between knew no wrong R.

Linear observations with Gaussian errors tell of R and of the products of two cycles whatever observations of other laws
or sensors are beside them.

A variable of which the analysis takes less than half of what it takes of the observations near by is widened by less,
and never by more than was taken (`Widening.balanced`): without that an unobserved variable at the place of observed
ones grows without bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    Record,
    centred,
    like,
    mean_departure,
    member_mean,
    member_variance,
    namespace,
    rows,
    to_numpy,
)
from ensf.filters.base import Analysis, Info, Memory, Part, Update, as_part
from ensf.filters.local import check_local
from ensf.localization import Localization, Patches
from ensf.localization.localization import check_localization
from ensf.observations.error_laws import is_independent
from ensf.observations.functions import identity_rows
from ensf.observations.joined_law import gaussian_rows, widened
from ensf.observations.observation import Observation
from ensf.wrappers.base import Wrapper, check_ranges
from ensf.wrappers.knots import Widening, column_entries, covering, near_sums
from ensf.wrappers.spread_control.bias_fields import FIRST_CYCLES, tapers
from ensf.wrappers.spread_control.correction import AnalysedColumns, ControlledUpdate, Correction
from ensf.wrappers.spread_control.error_estimate import SUSPICIOUS
from ensf.wrappers.spread_control.evidence import VARIANCE_RATIOS, Sight, score_of_evidence, sight, weigh
from ensf.wrappers.spread_control.lagged import PAST, LaggedProducts, LastCycle, Past, lagged_products
from ensf.wrappers.spread_control.memory import KindMemory, SpreadMemory
from ensf.wrappers.spread_control.offset import OffsetEstimate, offset_shifts
from ensf.wrappers.spread_control.pairs import Pairs, repeated, rested
from ensf.wrappers.spread_control.sites import Sites

__all__ = ["AdaptiveSpread"]

LOG_VARIANCE_DEVIATION = 0.2
"""Standard deviation of n before there is evidence."""
MAX_COMMON = math.log(4)
MAX_STEP = 0.3
MARGIN = 0.15
MARGIN_FROM, MARGIN_FULL = 0.14, 0.20
"""Part of the growth of variance that inflation supplies: where the margin begins, and where it is whole."""
LARGEST_GAIN = 4.0
"""Of log likelihood, that one observation may add to a surprise."""
GROWTH_CYCLES = 20
LAGGED_WEIGHT, SINGLE_WEIGHT = 2.0, 0.3
"""Of products of two cycles, and of the evidence of one beside them."""
SURPRISE_CYCLES = 10
"""Cycles over which the part of the observations that is near a surprise is averaged."""
NEAR_TAPER = 5 / 24
"""Taper beyond which a surprise is near."""


@dataclass(frozen=True)
class AdaptiveSpread(Wrapper):
    """Wrapper: the spread of the prior and the error variance follow the evidence of the observations, of any law.

    All factors are of the standard deviation; inflation acts on the forecast.

    Parameters
    ----------
    filter : Filter
    localization : Localization
        Which observations a place learns from.
    sampling : float
        Inflation of the variance for each degree of freedom over J - 1.
    local_persistence, common_persistence : float
        Number of cycles that the local and the common part of the inflation remember.
    surprise_limit : float
        Standard deviations beyond which the observations of the cycle act at once; infinity = never.
    independent_part : float
        Part of a surprise that enters as independent noise rather than as larger anomalies: what surprised may lie
        outside the span of the ensemble.
    estimate_error : bool
        Whether the error of each kind of observations is multiplied by a factor that is estimated, and what it is off
        by against other kinds that see the same is taken away; Gaussian laws only.
    estimate_bias : bool
        Whether what each kind of observations sees is corrected by a bias of the model that is estimated; only where
        observations see single variables or weighted means of some, as interpolation makes them.
    max_inflation : float
        Bound on the factor without surprises.
    reference : str, or tuple of str
        Kinds of observations that are right: what others that see the same are off by against them is taken off these
        whole, nothing is taken off the reference, and others are not compared with each other. Of a table a kind is
        the variable and the column `kind`, ``"sst_buoy"``. Empty: none is, and each gets its part by its error.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    localization: Localization
    sampling: float = 0.6
    local_persistence: float = 50.0
    common_persistence: float = 500.0
    surprise_limit: float = 3.5
    independent_part: float = 0.5
    estimate_error: bool = True
    estimate_bias: bool = True
    max_inflation: float = 10.0
    reference: str | tuple[str, ...] = ()
    remembers: ClassVar[type | None] = SpreadMemory

    def __post_init__(self) -> None:
        super().__post_init__()
        check_localization(self.localization, "AdaptiveSpread")
        named = (self.reference,) if isinstance(self.reference, str) else self.reference
        if not isinstance(named, tuple | list) or not all(isinstance(name, str) for name in named):
            raise ValueError(
                f"reference of the adaptive spread is {self.reference!r}: give the name of a kind, or several"
            )
        object.__setattr__(self, "reference", tuple(filter(None, named)))
        rules = {
            "sampling": (self.sampling >= 0, "0 or more"),
            "local_persistence": (self.local_persistence > 0, "a positive number of cycles"),
            "common_persistence": (self.common_persistence > 0, "a positive number of cycles"),
            "surprise_limit": (self.surprise_limit > 0, "a positive number, or infinity for never"),
            "independent_part": (0 <= self.independent_part <= 1, "0 to 1"),
            "max_inflation": (self.max_inflation >= 1, "1 or more"),
        }
        check_ranges(self, "adaptive spread", rules)

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        observation = observation.decorrelated()
        cycle = self._begin(predicted, observation, rng, memory)
        update = self._inner(cycle.columns.values, cycle.observation, rng, cycle.memory.inner)
        analysed, fields = update.analysed(cycle.columns)
        correction = cycle.correction.after(self._taken(cycle, analysed))
        remembered = self._learnt(cycle, correction.balanced(cycle.columns, analysed))
        freedom = namespace(predicted).astype(update.degrees_of_freedom(remembered.knots), predicted.dtype, copy=False)
        remembered = replace(remembered, freedom=freedom, inner=update.memory)
        columns = AnalysedColumns.of(cycle.columns, analysed, fields, observation)
        info = {**update.info, **self._info(remembered)}
        return ControlledUpdate(remembered, info, update=update, correction=correction, columns=columns)

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        observation = observation.decorrelated()
        cycle = self._begin(observation.predict(prior), observation, rng, memory)
        part = as_part(prior, positions)
        corrected = cycle.correction.corrected(part).values
        analysis = self.filter.analyse(corrected, cycle.observation, rng, cycle.memory.inner, positions)
        correction = cycle.correction.after(self._taken(cycle, observation.predict(analysis.ensemble)))
        ensemble, inflation = correction.widening.balanced(part, corrected, analysis.ensemble)
        remembered = self._learnt(cycle, observation.predict(ensemble))
        freedom = 0 * remembered.local
        if analysis.update is not None:
            freedom = namespace(freedom).astype(
                analysis.update.degrees_of_freedom(remembered.knots), freedom.dtype, copy=False
            )
        remembered = replace(remembered, freedom=freedom, inner=analysis.memory)
        info = {**analysis.info, **self._info(remembered), **correction.fields(part, inflation)}
        return replace(
            analysis,
            ensemble=ensemble,
            memory=remembered,
            info=info,
            before=lambda part: analysis.before(cycle.correction.corrected(part)),
        )

    def _without_observations(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        memory = memory or SpreadMemory.at_first(positions.shape[1], prior)
        inner = super()._without_observations(prior, observation, rng, memory.inner, positions).memory
        return Analysis(prior, replace(memory, inner=inner))

    def _info(self, memory: SpreadMemory) -> Info:
        """Factor of the error, offset of the instrument and bias of the model, of each kind."""
        info: dict[str, float] = {}
        if self.reference:
            info["references_unseen"] = sum(name not in memory.kinds for name in self.reference)
        for name, kind in memory.kinds.items():
            of = f"_{name}" if name else ""
            if self.estimate_error:
                info[f"error_factor{of}"] = math.sqrt(kind.error.factor)
                if kind.offset.sums.any():
                    info[f"instrument_offset{of}"] = kind.offset.value
            if self.estimate_bias:
                info[f"bias{of}"] = kind.bias.value
        return info

    # --- before the analysis -----------------------------------------------------------------------------

    def _begin(self, predicted: Array, told: Observation, rng: Generator, memory: SpreadMemory | None) -> _Cycle:
        """What the analysis sees: a corrected and inflated prior, and errors with the factors that are remembered."""
        position = check_local(told, self.localization, "AdaptiveSpread")
        assert position is not None
        memory = self._recalled(memory, told, position, predicted)
        kind = _kind_of_each(memory.kinds, told)
        linear = _linear_rows(told)
        offset = np.where(linear, memory.of_each(kind, lambda one: one.offset.value), 0.0)
        if self.estimate_error and offset.any():
            told = replace(told, value=told.value - like(offset, told.value))
        else:
            offset = np.zeros_like(offset)
        factor = memory.of_each(kind, lambda one: one.error.factor)
        correction = self._remembered(memory, told, position, kind, predicted)
        columns = Part(predicted, told.column_position, column_entries(told, predicted.shape[1]))

        look, eta = sight(told, correction.corrected(columns).values)
        mean, variance = member_mean(eta), member_variance(eta)
        sites = _sites(told, kind)
        pairs, offsets = self._compared(memory, told, predicted, sites, look, look.value - mean, offset)
        repeating, alternating = self._suspected(memory, kind, pairs)
        factor = np.maximum(factor, repeating)
        observation = _with_factor(told, factor)
        law = observation.law
        assert is_independent(law)
        look = replace(look, law=law)

        ratios, slope, curvature = weigh(look, mean, variance)
        patches = self.localization.patches(memory.knots, position)
        excess = self._excess(ratios, patches)
        surprised = to_numpy(excess) > 0
        if surprised.any():
            only = None
            if alternating.any():
                only = np.zeros(0, dtype=np.int64)
                if correction.sees_variables and correction.entries is not None:
                    only = correction.entries
                observation = _with_factor(told, np.maximum(factor, alternating))
            key = int(rng.integers(2**63)) if self.independent_part > 0 else None
            correction = correction.surprised(excess, key, only)
        return _Cycle(
            memory=memory,
            told=told,
            observation=observation,
            linear=linear,
            kind=kind,
            predicted=predicted,
            columns=correction.corrected(columns),
            correction=correction,
            patches=patches,
            variance=variance,
            slope=slope,
            curvature=curvature,
            surprised=surprised,
            near_surprise=_near_surprise(patches, surprised, told.size),
            sites=sites,
            pairs=pairs,
            offsets=offsets,
        )

    def _remembered(
        self, memory: SpreadMemory, told: Observation, position: np.ndarray, kind: np.ndarray, predicted: Array
    ) -> Correction:
        """Inflation and bias as they are remembered: what is done to the prior without a surprise."""
        xp = namespace(predicted)
        inflation = (1 + self.sampling / (predicted.shape[0] - 1) * memory.freedom) * xp.exp(memory.log_inflation)
        inflation = xp.clip(inflation, 1.0, self.max_inflation**2)
        widening = Widening(
            self.localization, position, memory.knots, inflation, 0 * inflation, self.independent_part, None
        )
        bias = memory.of_each(kind, lambda one: one.bias.value)
        for number, one in enumerate(memory.kinds.values()):
            mine = kind == number
            bias[mine] += one.bias_fields.at(self.localization, memory.knots, position[mine])
        return Correction.of(widening, bias, told)

    def _compared(
        self,
        memory: SpreadMemory,
        told: Observation,
        predicted: Array,
        sites: Sites,
        look: Sight,
        innovation: Array,
        offset: np.ndarray,
    ) -> tuple[Pairs, dict[int, float]]:
        """What observations tell of each other.

        Parameters
        ----------
        innovation : (observation,) array
            Of the corrected prior, with offsets taken away.
        offset : (observation,) array
            Of the instrument, which was taken away.

        Returns
        -------
        pairs : Pairs
            Observations that come again, in the cycles before or in this one.
        offsets : dict of int to float
            Shift of each kind that has others near by.
        """
        seen = np.flatnonzero(look.linear)
        if not seen.size:
            return Pairs(), {}
        pairs, offsets = Pairs(), dict[int, float]()
        sites, innovation = sites.rows(seen), rows(innovation, seen)
        forecast = sight(told, predicted)[1]
        forecast = namespace(forecast).take(forecast, like(seen, forecast), axis=1)
        if memory.last is not None:
            products = lagged_products(memory.last, memory.past, sites, self.localization, innovation, forecast)
            pairs = Pairs(products, rested(sites, innovation, memory.last, memory.past))
        if told.part.pointwise is not None:
            error = rows(look.law.standard_deviation(look.value) ** 2, seen)
            pairs = replace(pairs, repeated=repeated(sites, innovation, error, forecast))
            right = [k for k, name in enumerate(memory.kinds) if name in self.reference]
            reference = np.array(right, dtype=np.int64) if self.reference else None
            came = innovation + like(offset[seen], innovation)
            offsets = offset_shifts(sites, came, error, forecast, self.localization, reference)
        return pairs.numbered(seen), offsets

    def _suspected(self, memory: SpreadMemory, kind: np.ndarray, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Factors of the error of each observation, with the pairs of this cycle; 0 where nothing tells of one.

        Returns
        -------
        repeating, alternating : (observation,) array
            From several observations of a place, and from the signs of innovations.
        """
        repeating, alternating = np.zeros(len(kind)), np.zeros(len(kind))
        if self.estimate_error:
            for number, of_kind in enumerate(memory.kinds.values()):
                mine, error = kind == number, of_kind.error
                own = pairs.of(mine)
                alternation = error.alternation.with_pairs(own)
                if alternation.deviations > SUSPICIOUS:
                    alternating[mine] = alternation.factor
                if own.repeated is not None:
                    repetition = error.repetition.with_pairs(own.repeated)
                    if repetition.deviations > error.enough:
                        repeating[mine] = repetition.factor
        return repeating, alternating

    def _taken(self, cycle: _Cycle, analysed: Array) -> Array:
        """Part of the inflated prior variance that the analysis took of the observations near each knot."""
        before, after = (
            member_variance(sight(cycle.observation, values)[1]) for values in (cycle.columns.values, analysed)
        )
        xp = namespace(before)
        part = xp.clip(1 - after / xp.where(before > 0, before, xp.ones_like(before)), 0.0, 1.0)
        number, total = near_sums(cycle.patches, xp.stack([xp.ones_like(part), part]), 1)
        return total / xp.where(number > 0, number, xp.ones_like(number))

    def _recalled(
        self, memory: SpreadMemory | None, observation: Observation, position: np.ndarray, predicted: Array
    ) -> SpreadMemory:
        """What is remembered, at knots that cover the observations, and of their kinds."""
        xp = namespace(predicted)
        memory = memory or SpreadMemory.at_first(position.shape[1], predicted)
        knots = covering(memory.knots, position, self.localization)
        new = like(np.zeros(len(knots) - len(memory.knots)), predicted)
        names = [""] if observation.kind is None else np.unique(observation.kind).tolist()
        kinds = {**memory.kinds, **{name: KindMemory() for name in names if name not in memory.kinds}}
        return replace(
            memory,
            knots=knots,
            local=xp.concat([memory.local, new]),
            local_information=xp.concat([memory.local_information, new]),
            freedom=xp.concat([memory.freedom, new]),
            kinds={
                name: replace(
                    one,
                    offset=OffsetEstimate() if name in self.reference else one.offset,
                    bias_fields=one.bias_fields.covering(len(knots)),
                )
                for name, one in kinds.items()
            },
        )

    def _excess(self, ratios: Array, patches: Patches) -> Array:
        """What surprises add to the variance at each knot, in units of the inflated prior variance; 0 without one."""
        xp = namespace(ratios)
        bounded = xp.stack(near_sums(patches, xp.clip(ratios, None, LARGEST_GAIN), 1))
        surprised = 2 * xp.max(bounded, axis=0) > self.surprise_limit**2
        likeliest = xp.argmax(xp.stack(near_sums(patches, ratios, 1)), axis=0)
        excess = xp.take(like(VARIANCE_RATIOS - 1, ratios), likeliest)
        return xp.where(surprised, excess, xp.zeros_like(excess))

    # --- after it ----------------------------------------------------------------------------------------

    def _learnt(self, cycle: _Cycle, analysed: Array) -> SpreadMemory:
        """What is remembered after an analysis of the columns."""
        memory, xp = cycle.memory, namespace(analysed)
        look, eta = sight(cycle.observation, cycle.columns.values)
        eta_analysed = sight(cycle.observation, analysed)[1]
        mean, variance = member_mean(eta), member_variance(eta)
        innovation = look.value - mean
        error = cycle.told.law.standard_deviation(look.value) ** 2
        factor = cycle.factor

        # scores and informations, of one cycle and of two
        statistic, information = score_of_evidence(look, mean, eta_analysed)
        score = 0.5 * statistic
        if cycle.pairs.products is not None:
            white = memory.of_each(cycle.kind, lambda one: 1 - one.error.correlation.positive)
            trusted = cycle.pairs.products.restrict(cycle.trusted)
            trusted = trusted.weighted(white[trusted.index])
            of_products = trusted.score(factor[trusted.index], cycle.variance, error)
            score = _beside(score, of_products[0], trusted)
            information = _beside(information, of_products[1], trusted)

        # inflation
        growth = _growth(memory.growth, variance, member_variance(eta_analysed), ~cycle.near_surprise)
        phi = max(float(xp.mean(memory.log_inflation)), 0.0) / growth if growth > 0 else 0.0
        certainty = min(max((phi - MARGIN_FROM) / (MARGIN_FULL - MARGIN_FROM), 0.0), 1.0)
        margin = MARGIN * certainty / max(float(np.mean(factor)), 1.0) ** 2
        far = like(~cycle.near_surprise, score)
        total, total_information = (
            float(xp.sum(xp.where(far, one, xp.zeros_like(one)))) for one in (score, information)
        )
        common, common_known = self._common(memory, total, total_information, margin)
        local, local_known = self._local(cycle, score, information)

        # kinds; what was learnt under a wrong R is forgotten
        kinds = self._kinds(cycle)
        after = replace(memory, kinds=kinds).of_each(cycle.kind, lambda one: one.error.factor)
        kept = math.exp(-3 * float(np.mean(np.abs(np.log(after / factor)))))
        last = None
        if look.linear.any():
            last = LastCycle(
                sites=cycle.sites,
                innovation=innovation,
                increment=member_mean(eta_analysed) - mean,
                variance=variance,
                error=error,
                anomalies=centred(eta_analysed),
                surprised=cycle.near_surprise,
            ).rows(np.flatnonzero(look.linear))
        return replace(
            memory,
            local=kept * local,
            local_information=kept * local_known,
            common=kept * common,
            common_information=kept * common_known,
            growth=growth,
            kinds=kinds,
            last=last,
            past=(Past.of(memory.last), *memory.past[: PAST - 1]) if memory.last is not None else (),
        )

    def _common(self, memory: SpreadMemory, score: float, information: float, margin: float) -> tuple[float, float]:
        """g and what is known of it."""
        known = math.exp(-1 / self.common_persistence) * memory.common_information + information
        bound = 3 * math.sqrt(information)
        pull = min(max(score + information * margin, -bound), bound) - 0.08 * memory.common
        step = min(max(pull / (known + 4), -MAX_STEP), MAX_STEP)
        return min(max(memory.common + step, 0.0), MAX_COMMON), known

    def _local(self, cycle: _Cycle, score: Array, information: Array) -> tuple[Array, Array]:
        """n and what is known of it at each knot."""
        memory, xp, kept = cycle.memory, namespace(score), math.exp(-1 / self.local_persistence)
        score, information = near_sums(cycle.patches, 0.5 * xp.stack([score, information]), 1)
        known = kept * memory.local_information + information
        bound, prior = 3 * xp.sqrt(information), LOG_VARIANCE_DEVIATION**-2
        pull = xp.clip(score, -bound, bound) - (1 - kept) * prior * memory.local
        local = memory.local + xp.clip(pull / (known + prior), -MAX_STEP, MAX_STEP)
        return xp.where(like(cycle.surprised, score), memory.local, local), known

    def _kinds(self, cycle: _Cycle) -> dict[str, KindMemory]:
        """Factors of R, and biases."""
        through_sensor = gaussian_rows(cycle.told.law, cycle.told.size) & ~cycle.linear
        learns_bias = self.estimate_bias and cycle.correction.entries is not None
        calm = ~cycle.near_surprise
        pairs = cycle.pairs.weighted(cycle.trusted)
        square, spread = np.zeros(cycle.told.size), np.zeros(cycle.told.size)
        if self.estimate_error and through_sensor.any():
            values = cycle.told.part.function(cycle.columns.values)
            told = to_numpy(cycle.told.law.standard_deviation(cycle.told.value)) ** 2
            square = to_numpy(mean_departure(cycle.told.value, values)) ** 2 / told
            spread = to_numpy(member_variance(values)) / told
        slope, curvature, variance = (to_numpy(each) for each in (cycle.slope, cycle.curvature, cycle.variance))
        half_width = self.localization.half_width
        near = tapers(cycle.patches, half_width) if learns_bias and math.isfinite(half_width) else []
        kinds = dict(cycle.memory.kinds)
        for number, (name, kind) in enumerate(cycle.memory.kinds.items()):
            of_kind = cycle.kind == number
            chosen, trusted = of_kind & calm, of_kind & (calm | kind.surprises_last)
            error, bias, surprises, fields = kind.error, kind.bias, kind.surprises, kind.bias_fields
            if of_kind.any():
                surprises += (float(cycle.near_surprise[of_kind].mean()) - surprises) / SURPRISE_CYCLES
            seen = of_kind & (cycle.linear | through_sensor)
            if self.estimate_error and (cycle.linear[seen].any() if seen.any() else not error.histogram.any()):
                error = error.with_pairs(pairs.of(of_kind))
            elif self.estimate_error:
                seen &= trusted
                error = error.with_innovations(square[seen], spread[seen])
            if learns_bias and (weight := float(curvature[chosen].sum())) > 0:
                bias = bias.with_shift(float(slope[chosen].sum()) / weight, float(variance[chosen].mean()))
                if near and kind.bias.cycles >= FIRST_CYCLES:
                    trust = 1 - kind.error.correlation.positive
                    fields = fields.with_shifts(near, np.where(chosen, slope, np.nan), curvature, variance, trust)
            offset = kind.offset
            if self.estimate_error and (of_kind & cycle.linear).any():
                offset = offset.with_shift(cycle.offsets.get(number))
            kinds[name] = KindMemory(error, bias, surprises, offset, fields)
        return kinds


@dataclass(frozen=True, eq=False, kw_only=True)
class _Cycle(Record):
    """A cycle before its analysis.

    Attributes
    ----------
    memory : SpreadMemory
    told, observation : Observation
        With errors as they were told, and as they are taken to be.
    linear : (observation,) array of bool
        Which see a variable or a sum of some as it is, with Gaussian errors.
    kind : (observation,) array of int
        Number of the kind of each among those remembered.
    predicted : (member, column) array
        Of the prior.
    columns : Part
        The same, corrected and inflated.
    correction : Correction
    patches : Patches
        Observations near each knot.
    variance, slope, curvature : (observation,) array
        Of the prior without surprises, and of the log evidence by its mean.
    surprised : (knot,) array of bool
    near_surprise : (observation,) array of bool
    sites : Sites
    pairs : Pairs
    offsets : dict of int to float
        Shift of kinds that have others near by.
    """

    memory: SpreadMemory
    told: Observation
    observation: Observation
    linear: np.ndarray
    kind: np.ndarray
    predicted: Array
    columns: Part
    correction: Correction
    patches: Patches
    variance: Array
    slope: Array
    curvature: Array
    surprised: np.ndarray
    near_surprise: np.ndarray
    sites: Sites
    pairs: Pairs
    offsets: dict[int, float]

    @property
    def factor(self) -> np.ndarray:
        """Of the error variance of each observation."""
        return self.memory.of_each(self.kind, lambda one: one.error.factor)

    @property
    def trusted(self) -> np.ndarray:
        """Which products are far from surprises, or of a kind whose surprises last; none without products."""
        products = self.pairs.products
        if products is None:
            return np.zeros(0, dtype=bool)
        calm = ~self.near_surprise[products.index] & ~products.last.surprised
        return calm | self.memory.of_each(self.kind, lambda one: one.surprises_last)[products.index]


# --- observations ----------------------------------------------------------------------------------------


def _kind_of_each(kinds: dict[str, KindMemory], observation: Observation) -> np.ndarray:
    """Number of the kind of each observation."""
    if observation.kind is None:
        return np.full(observation.size, list(kinds).index(""))
    number = {name: k for k, name in enumerate(kinds)}
    return np.array([number[name] for name in observation.kind.tolist()], dtype=np.int64)


def _with_factor(told: Observation, factor: np.ndarray) -> Observation:
    """With the error variance of each observation multiplied, where its law is Gaussian."""
    if (factor == 1).all():
        return told
    return replace(told, error=widened(told.law, like(np.sqrt(factor), told.value)))


def _linear_rows(told: Observation) -> np.ndarray:
    """Which observations see a variable or a sum of some as it is, with Gaussian errors."""
    pointwise = told.part.pointwise
    if pointwise is None:
        return np.zeros(told.size, dtype=bool)
    return gaussian_rows(told.law, told.size) & identity_rows(pointwise, told.size)


def _sites(observation: Observation, kind: np.ndarray) -> Sites:
    """Which observation of the cycle is which."""
    assert observation.position is not None
    entries = observation.operator.entries(observation.state_size or observation.size)
    variable = np.full(observation.size, -1) if entries is None else np.asarray(entries)
    return Sites(kind, to_numpy(observation.position).astype(np.float64), variable)


def _near_surprise(patches: Patches, surprised: np.ndarray, observations: int) -> np.ndarray:
    """Which observations have a surprised knot near them."""
    near = np.zeros(observations, dtype=bool)
    if surprised.any():
        knot = np.repeat(np.arange(len(surprised)), np.diff(patches.indptr))
        near[patches.index[surprised[knot] & (patches.weight >= NEAR_TAPER)]] = True
    return near


def _beside(single: Array, lagged: Array, products: LaggedProducts) -> Array:
    """Of each observation, from one cycle, or from one and two where there are pairs."""
    index, xp = products.index, namespace(single)
    if not len(index):
        return single
    place = np.full(single.shape[0], -1)
    place[index] = np.arange(len(index))
    pair = like(np.maximum(place, 0), single)
    weight = xp.take(products.weight, pair)
    both = (1 - (1 - SINGLE_WEIGHT) * weight) * single + LAGGED_WEIGHT * weight * xp.take(lagged, pair)
    return xp.where(like(place >= 0, single), both, single)


def _growth(growth: float, prior: Array, analysed: Array, chosen: np.ndarray) -> float:
    """Mean of log(prior variance / analysis variance), smoothed."""
    before, after = to_numpy(prior)[chosen], to_numpy(analysed)[chosen]
    both = (before > 0) & (after > 0)
    if not both.any():
        return growth
    now = max(float(np.mean(np.log(before[both] / after[both]))), 1e-3)
    return now if growth == 0 else growth + (now - growth) / GROWTH_CYCLES
