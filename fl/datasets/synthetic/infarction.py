"""A simulated heart after an infarction: a wall that no longer takes part.

The dead wall gives no forces, so that the first part of the QRS points away from it (Q waves in the
leads that face it). Early, the ST segment points towards it: elevation in those leads, depression
in the opposite ones. The T wave turns away from it. After Thygesen et al. 2018,
10.1016/j.jacc.2018.08.1038; all numbers are our own.
"""

from dataclasses import replace

import numpy as np

from fl.datasets.synthetic.heart import Heart, Wave

SHARE = 0.4  # of the patients of a cohort with infarctions; the others are healthy

# Directions of the walls along Frank's axes: to the left, to the feet, to the back.
WALLS = {
    "inferior": (0.0, 1.0, 0.1),
    "anterior": (0.35, 0.1, -0.95),
    "lateral": (0.95, -0.15, 0.15),
}
ACUTE = 0.5  # share of the infarctions with ST elevation; the others are old


def with_infarction(heart: Heart, rng: np.random.Generator) -> Heart:
    """The same heart with an infarction of a random wall, acute or old."""
    wall = np.array(WALLS[rng.choice(list(WALLS))]) + rng.normal(0, 0.12, 3)
    wall /= np.linalg.norm(wall)
    early = Wave(
        peak=rng.uniform(0.018, 0.026),
        rise=rng.uniform(0.009, 0.012),
        fall=rng.uniform(0.010, 0.014),
        vector=-rng.uniform(0.35, 0.75) * wall,
    )
    acute = rng.random() < ACUTE
    elevation = rng.uniform(0.10, 0.28) if acute else rng.uniform(0.0, 0.04)
    # An acute T wave may still be upright; an old one points away from the wall.
    turned = rng.uniform(-0.1, 0.3) if acute else -rng.uniform(0.15, 0.35)
    towards = float(heart.t @ wall)
    return replace(
        heart,
        qrs=(early, *heart.qrs),
        st=heart.st + elevation * wall,
        t=heart.t + (turned - towards) * wall,
    )
