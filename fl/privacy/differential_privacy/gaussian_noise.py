"""Normal noise: from a named stream in a simulation, from the system's secret one in a hospital.

Whoever knows the noise can take it away. A simulation repeats a run bit for bit, so its noise
follows from the seed; a hospital's must follow from nothing that anybody knows.
"""

import os
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from fl.util.random_streams import stream

Floats = NDArray[np.float64]
NormalNoise = Callable[[int], Floats]  # how many -> standard normal numbers
SUMMANDS = 4


def seeded_noise(seed: int, *name: str | int) -> NormalNoise:
    """Noise that the same seed and name give again."""
    return stream(seed, "privacy noise", *name).standard_normal


def secret_generator() -> np.random.Generator:
    """A generator whose state is drawn from the system, for draws that nobody is shown."""
    return np.random.default_rng(int.from_bytes(os.urandom(32), "big"))


def secret_noise() -> NormalNoise:
    """Noise of a ChaCha20 key stream under a key that is drawn from the system and kept nowhere.

    Each number is the sum of four normal ones, halved: from the last bits of a single one, made by
    floating-point arithmetic, what it was added to can sometimes be read (Mironov 2012,
    doi:10.1145/2382196.2382264; Holohan & Braghin 2021, arXiv:2107.10138).
    """
    cipher = Cipher(algorithms.ChaCha20(os.urandom(32), bytes(16)), mode=None)
    generated = cipher.encryptor()

    def draw(n: int) -> Floats:
        pairs = n * SUMMANDS // 2
        words = np.frombuffer(generated.update(bytes(16 * pairs)), dtype="<u8").reshape(2, pairs)
        # 53 random bits: (0, 1] for the logarithm, [0, 1) for the angle (Box & Muller 1958).
        first, second = (words >> np.uint64(11)) * 2.0**-53
        radius, angle = np.sqrt(-2 * np.log(1 - first)), 2 * np.pi * second
        normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])
        return np.asarray(normal.reshape(SUMMANDS, n).sum(axis=0) / np.sqrt(SUMMANDS))

    return draw
