"""As sqg_linear; in half of the cycles a shock of 600 to 1500 m/s (1.8 to 4.6 K).

As published it is gone in the next cycle; with ``--lasting true`` it stays in the truth.
"""

from ensf.experiments._sqg import LINEAR, Shocks, experiment
from ensf.observations import Identity
from ensf.twin import Network

EXPERIMENT = experiment(
    "sqg_linear_shocks",
    "as sqg_linear, white noise of 1.8 to 4.6 K on the truth in half of the cycles",
    network=Network(Identity(), error=1.0),
    methods=LINEAR,
    shocks=Shocks(0.5, (1500.0, 1200.0, 900.0, 600.0), (0.1, 0.2, 0.3, 0.4)),
)

EXPECTED = {
    "ensf": {"rmse_analysis": (1.03, 0.10)},
    "letkf": {"rmse_analysis": (1.93, 0.25)},
    "map": {"rmse_analysis": (1.36, 0.15)},
    "letsf": {"rmse_analysis": (0.92, 0.05)},
}
