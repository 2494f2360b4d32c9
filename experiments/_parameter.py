"""What the pages share on which the forcing of Lorenz-96 is a parameter: all observed every 0.05 with error 1."""

from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, normal
from ensf.experiments._lorenz96 import MODEL, SIZE
from ensf.filters import LETKF, LETSF
from ensf.localization import InformationLimit, periodic_line
from ensf.models.lorenz96 import ForcedLorenz96
from ensf.observations import Select
from ensf.twin import Method, Network, PerturbedTruth, Streams, TwinExperiment
from ensf.wrappers import AdaptiveInflation, AnalysisInflation, AugmentedState, Parameter, Rotation

FORCING = Parameter(min_spread=0.05)
_INSIDE = Rotation(LETSF(periodic_line(SIZE, 20.0), information_limit=InformationLimit()))
_LETSF = AdaptiveInflation(_INSIDE, periodic_line(SIZE, 10.0))
_LETKF = AnalysisInflation(Rotation(LETKF(periodic_line(SIZE, 7.3))), 1.04)
_WALK = AugmentedState(_LETSF, (Parameter(walk=0.02),))
METHODS = {
    "letsf": Method(AugmentedState(_LETSF, (FORCING,)), 20, "LETSF with adaptive inflation, floor of 0.05 on F"),
    "letsf_walk": Method(_WALK, 20, "LETSF with adaptive inflation, F walks by 0.02 in a cycle"),
    "letkf": Method(AugmentedState(_LETKF, (FORCING,)), 20, "LETKF, inflation 1.04, floor of 0.05 on F"),
    "stuck": Method(AugmentedState(_LETSF, (Parameter(),)), 20, "LETSF with adaptive inflation, no floor"),
}


@dataclass(frozen=True)
class _UnknownForcing:
    """A truth on the attractor with F = 8; members are around it, with F from N(7, 1)."""

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth and members, the forcing behind the last variable."""
        truth, ensemble = PerturbedTruth(MODEL, np.zeros(SIZE)).draw(members, streams)
        forcing = 7 + normal(streams.ensemble, (members, 1), ensemble)
        return np.append(truth, MODEL.forcing), np.concatenate([ensemble, forcing], axis=1)


def experiment(name: str, summary: str, swing: float, cycles: int, burn_in: int) -> TwinExperiment[Network]:
    """Page on which the forcing of the truth swings about 8; scores after so many cycles."""
    return TwinExperiment(
        name=name,
        summary=summary,
        model=ForcedLorenz96(SIZE),
        truth_model=ForcedLorenz96(SIZE, swing=swing, period=50.0),
        network=Network(Select(range(SIZE)), error=1.0),
        initial=_UnknownForcing(),
        methods=METHODS,
        cycles=cycles,
        interval=0.05,
        burn_in=0.05 * burn_in,
        climatology=3.63,
    )
