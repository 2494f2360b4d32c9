"""The same observations as `lorenz96_asynchronous`, all taken for observations of the end of their window."""

from ensf.experiments._asynchronous import windows

EXPERIMENT = windows(
    "lorenz96_asynchronous_end",
    "Lorenz-96, windows of 0.2, all observed every 0.05, error 1, taken at the end",
    told=(0.2, 0.2, 0.2, 0.2),
)

EXPECTED = {
    "letkf": {"rmse_analysis": (1.37, 0.05)},
    "letsf": {"rmse_analysis": (1.40, 0.05)},
}
