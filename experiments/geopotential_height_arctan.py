"""As geopotential_height, seen through a sensor that saturates: arctan of the anomaly over its standard deviation.

Its error is worth 10 m where the anomaly is small, as in geopotential_height, and 50 m at two standard deviations.
Optimal interpolation linearises the sensor at the mean winter.
"""

from dataclasses import replace

from ensf.experiments._geopotential import Saturating
from ensf.experiments.geopotential_height import EXPERIMENT as LINEAR

EXPERIMENT = replace(
    LINEAR,
    name="geopotential_height_arctan",
    summary="as geopotential_height, through a sensor that saturates",
    sensor=Saturating(10.0),
)

EXPECTED = {
    "climatology": {"rmse_analysis": (42.60, 0.02), "spread_analysis": (44.43, 0.02)},
    "oi": {"rmse_analysis": (25.52, 0.05), "spread_analysis": (20.89, 0.05)},
    "etkf": {"rmse_analysis": (21.85, 0.05), "spread_analysis": (18.88, 0.05)},
    "letkf": {"rmse_analysis": (21.42, 0.05), "spread_analysis": (20.53, 0.05)},
    "letsf": {"rmse_analysis": (20.53, 0.20), "spread_analysis": (20.30, 0.20)},
    "ensf": {"rmse_analysis": (42.41, 0.10), "spread_analysis": (44.53, 0.20)},
    "ensf_gaussian": {"rmse_analysis": (21.19, 0.40), "spread_analysis": (17.72, 0.40)},
}
