"""
A sensor that saturates
=======================

The arctangent of a variable is observed. Beyond a certain value the sensor hardly tells
more, so that the posterior is skewed: a filter that takes the sensor for linear (ETKF)
puts it at the wrong place. LETSF follows the likelihood along the score flow. The exact
posterior is known here by quadrature.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

import ensf

rng = np.random.default_rng(1)
members = norm.ppf((np.arange(400) + 0.5) / 400)[
    :, None
]  # N(0, 1) without sampling noise
prior = 1.0 + 2.0 * rng.permutation(members)
observation = ensf.Observation(np.arctan([4.0]), ensf.Pointwise(ensf.arctan), error=0.1)

x = np.linspace(-4, 12, 2001)
density = norm.pdf(x, 1.0, 2.0) * norm.pdf(np.arctan(4.0), np.arctan(x), 0.1)
density /= np.trapezoid(density, x)
mean = np.trapezoid(x * density, x)
deviation = np.sqrt(np.trapezoid((x - mean) ** 2 * density, x))

# %%
# The published score filter stands beside them.

filters = {
    "ETKF": ensf.ETKF(),
    "EnSF, published": ensf.published("cmame"),
    "LETSF": ensf.LETSF(ensf.Localization(ensf.Euclidean(), half_width=1.0), steps=8),
}
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True, layout="constrained")
print(f"exact: mean {mean:.2f}, deviation {deviation:.2f}")
for axis, (name, method) in zip(axes, filters.items(), strict=True):
    analysis = method.analyse(prior, observation, rng).ensemble[:, 0]
    print(f"{name}: mean {analysis.mean():.2f}, deviation {analysis.std():.2f}")
    axis.hist(
        analysis,
        bins=np.arange(-4, 12, 0.4),
        density=True,
        color="C0",
        alpha=0.5,
        label=f"{name}, 400 members",
    )
    axis.plot(x, density, "k--", label="exact posterior")
    axis.plot(x, norm.pdf(x, 1.0, 2.0), color="0.6", label="prior")
    axis.set(xlabel="state", title=name)
axes[0].set_ylabel("density")
axes[0].legend(fontsize="small")
plt.show()
