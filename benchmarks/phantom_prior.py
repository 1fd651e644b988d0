"""Fit the couplings of the phantom's label prior to CheXpert's published co-occurrence.

    python benchmarks/phantom_prior.py

Prints the tables ``_COUPLING`` and ``_COUNT`` of ``wsrpn_vl.data.phantom.prior``, and how far the prior in the package
is from the published numbers. Every joint probability of two observations and the histogram of positives per image is
a target, save those of Lung Opacity with its children, which the hierarchy sets. Both cannot be met at once: a child
that always brings its parent widens the histogram. ``HISTOGRAM`` weighs the one against the other.
"""

from __future__ import annotations

import numpy as np
import torch

from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN as CHILDREN
from wsrpn_vl.data.phantom.prior import SITES, STATES, departure, published_priors, state_probabilities
from wsrpn_vl.labels import OBSERVATIONS

HISTOGRAM = 0.02  # weight of a squared error of the histogram over its own height
MOST = 6  # positives; more are rare and share one potential
SMALL = 1e-6  # pulls the tables towards zero, where the data do not care


def main() -> None:
    published = published_priors()["chexpert_train_frontal"]
    share = torch.tensor([published["labels"][name]["positive"] for name in OBSERVATIONS], dtype=torch.double)
    given = torch.tensor(
        [[published["P(column|row)"][a][b] for b in OBSERVATIONS] for a in OBSERVATIONS], dtype=torch.double
    )
    joint = share[:, None] * given
    joint = (joint + joint.T) / 2  # published to three places, so the two readings of a pair differ by a little
    bars = published["positives_per_image"]
    histogram = torch.tensor([bars.get(str(k), 0.0) for k in range(len(OBSERVATIONS) + 1)], dtype=torch.double)
    parent = OBSERVATIONS.index("Lung Opacity")
    below = [OBSERVATIONS.index(name) for name in CHILDREN]
    pairs = [
        (i, j)
        for i in range(len(OBSERVATIONS))
        for j in range(i)
        if not ((i == parent and j in below) or (j == parent and i in below))
    ]
    rows, cols = torch.tensor(pairs).T
    states = torch.tensor(STATES, dtype=torch.double)
    both = states[:, rows] * states[:, cols]
    count = states.sum(1).long()
    level = count.clamp(max=MOST)
    bins = torch.nn.functional.one_hot(count, len(histogram)).double()
    rarity = torch.minimum(share[rows], share[cols]).rsqrt()

    single = torch.logit(share).requires_grad_()
    coupling = torch.zeros(len(pairs), dtype=torch.double, requires_grad=True)
    potential = torch.zeros(MOST + 1, dtype=torch.double, requires_grad=True)
    fit = torch.optim.LBFGS(
        [single, coupling, potential],
        max_iter=1500,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-9,
    )

    def loss() -> torch.Tensor:
        fit.zero_grad()
        p = torch.softmax(states @ single + both @ coupling + potential[level], 0)
        total = (
            10 * ((p @ states - share) ** 2 / share).sum()
            + ((p @ both - joint[rows, cols]) ** 2 * rarity).sum()
            + HISTOGRAM * ((p @ bins - histogram) ** 2 / (histogram + 0.003)).sum()
            + SMALL * (0.3 * (coupling**2).sum() + (potential**2).sum())
        ) * 1e4
        total.backward()
        return total

    fit.step(loss)
    table = np.zeros((len(OBSERVATIONS), len(OBSERVATIONS)))
    table[rows, cols] = coupling.detach().numpy()
    print("_COUPLING = (")
    for i in range(len(OBSERVATIONS)):
        print("    (" + "".join(f"{round(100 * v)}, " for v in table[i, :i]).rstrip() + "),")
    print(f")\n_COUNT = {tuple(round(100 * v) for v in potential.tolist())}")
    print("package:", departure(state_probabilities(SITES["A"].prevalence_vector)))


if __name__ == "__main__":
    main()
