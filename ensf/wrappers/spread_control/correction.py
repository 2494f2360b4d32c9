"""What spread control does to a part of the prior and to its analysis: bias added, spread widened and balanced."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ensf.arrays import Array, Record, is_host, like
from ensf.filters.base import Part, observed_variables, with_values
from ensf.observations.observation import Observation
from ensf.wrappers.base import WrappedUpdate
from ensf.wrappers.knots import Widening, column_entries
from ensf.wrappers.spread_control.means import spread_over_variables, weights_of_means

__all__ = ["AnalysedColumns", "ControlledUpdate", "Correction"]


@dataclass(frozen=True, eq=False)
class Correction(Record):
    """What is done to the prior: bias is added, then the spread is widened.

    Attributes
    ----------
    widening : Widening
    entries : (observed,) array of int or None
        Variables that are observed, ascending, then columns that are means of some; None if observations see others
        than single variables or means.
    bias : (observed,) array
        Of each of them.
    sees_variables : bool
        Whether all columns are single variables.
    """

    widening: Widening
    entries: np.ndarray | None
    bias: np.ndarray
    sees_variables: bool

    @classmethod
    def of(cls, widening: Widening, bias: np.ndarray, observation: Observation) -> Correction:
        """With the bias of each observation, at the variables they see: a mean where several see one."""
        entries = observed_variables(observation)
        if entries is not None:
            observed, which = np.unique(entries, return_inverse=True)
            total = np.bincount(which.ravel(), bias) / np.bincount(which.ravel())
            return cls(widening, observed, total, True)
        weights = weights_of_means(observation)
        if weights is None:
            return cls(widening, None, bias, False)
        observed, total = spread_over_variables(weights, bias)
        columns = column_entries(observation, observation.size)
        of_columns = weights[:, observed] @ total
        return cls(widening, np.concatenate([observed, columns]), np.concatenate([total, of_columns]), False)

    def after(self, taken: Array) -> Correction:
        """When it is known what the analysis took of the variance at the knots."""
        return replace(self, widening=replace(self.widening, taken=taken))

    def surprised(self, excess: Array, key: int | None, only: np.ndarray | None) -> Correction:
        """With what surprises add at the knots, in units of the inflated prior variance; part of it noise by a key."""
        widening = self.widening
        return replace(self, widening=replace(widening, excess=widening.followed * excess, key=key, only=only))

    def balanced(self, columns: Part, analysed: Array) -> Array:
        """The analysis of columns as widened, balanced where they are variables."""
        if not self.sees_variables:
            return analysed
        return self.widening.balanced(columns, columns.values, analysed)[0]

    def corrected(self, part: Part) -> Part:
        """A part of the prior, as the filter sees it."""
        return with_values(part, self.widening.inflated(with_values(part, self.unbiased(part))))

    def unbiased(self, part: Part) -> Array:
        """Members with the bias added."""
        added = self.added(part)
        return part.values if added is None else part.values + like(added, part.values)

    def added(self, part: Part) -> np.ndarray | None:
        """Bias of each entry; None if there is none at all."""
        if self.entries is None or not part.inflate or part.positions is None or part.field != "state":
            return None
        if not self.bias.any():
            return None
        place = np.minimum(np.searchsorted(self.entries, part.entries), len(self.entries) - 1)
        return np.where(self.entries[place] == part.entries, self.bias[place], 0.0)

    def fields(self, part: Part, inflation: Array) -> dict[str, Array]:
        """What one may look at of its entries: the factor of the spread, and what is added."""
        added = self.added(part)
        return {"inflation": inflation} | ({} if added is None else {"correction": like(added, inflation)})


@dataclass(frozen=True, eq=False)
class AnalysedColumns(Record):
    """The analysis of columns that are variables: they need not be analysed again.

    Attributes
    ----------
    entries : (column,) array of int
        Ascending.
    before, analysed : (member, column) array
    fields : dict of str to (column,) array
    """

    entries: np.ndarray
    before: Array
    analysed: Array
    fields: dict[str, Array]

    @classmethod
    def of(
        cls, part: Part, analysed: Array, fields: dict[str, Array], observation: Observation
    ) -> AnalysedColumns | None:
        """None if columns are not variables, each once, or do not live on the host."""
        if (
            observed_variables(observation) is None
            or not is_host(analysed)
            or len(np.unique(part.entries)) < len(part.entries)
        ):
            return None
        order = np.argsort(part.entries)
        fields = {name: values[order] for name, values in fields.items()}
        return cls(part.entries[order], part.values[:, order], analysed[:, order], fields)

    def at(self, part: Part) -> np.ndarray | None:
        """Column of each entry of a part, if all are columns with the same values."""
        if part.field != "state" or part.positions is None or not part.inflate:
            return None
        column = np.minimum(np.searchsorted(self.entries, part.entries), len(self.entries) - 1)
        if not (self.entries[column] == part.entries).all():
            return None
        return column if (self.before[:, column] == part.values).all() else None


@dataclass(frozen=True, eq=False)
class ControlledUpdate(WrappedUpdate):
    """The update of the filter inside, of a prior that is corrected first.

    Attributes
    ----------
    correction : Correction
    columns : AnalysedColumns, optional
    """

    correction: Correction = field(kw_only=True)
    columns: AnalysedColumns | None = field(kw_only=True)

    def before(self, part: Part) -> Array:
        return self.update.before(self.correction.corrected(part))

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        corrected = self.correction.corrected(part)
        column = None if self.columns is None else self.columns.at(corrected)
        if column is None:
            ensemble, fields = self.update.analysed(corrected)
        else:
            assert self.columns is not None
            ensemble = np.ascontiguousarray(self.columns.analysed[:, column])
            fields = {name: values[column] for name, values in self.columns.fields.items()}
        if part.positions is None or not part.inflate:
            return ensemble, fields
        ensemble, inflation = self.correction.widening.balanced(part, corrected.values, ensemble)
        return ensemble, fields | self.correction.fields(part, inflation)

    def uncorrected(self, part: Part) -> Array:
        return self.update.uncorrected(self.correction.corrected(part))
