"""How many threads PyTorch computes with, and how long they spin while they wait for each other.

Beside other work, a thread that spins takes the core from the thread that it waits for. Seconds on two cores of an AMD
EPYC, idle and beside one busy loop on each core (2026-11-27):

    6,400 digits of `quick` (convnet)   one thread 5.0 and 8.7; two 4.2 and 34 to over 50; two with SPINS 4.2 and 8.7
    an epoch of `tutorial` (net)        one thread 3.2 and 5.5; two 3.7 and over 30; two with SPINS 4.1 and 7 to 32
"""

import os

from models import cpus

SPINS = 20_000
"""Rounds that a thread spins before it sleeps. OpenMP's default is billions."""
SINGLE_THREADED = ("net", "sequential")
"""Networks whose steps are too short to share between threads."""


def limit_spinning() -> None:
    """Keeps the setting of a user who has one. Must be called before torch is imported."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


def limit_threads(network: str | None = None) -> None:
    """At most one thread per core that the container's quota grants, and one for a network in SINGLE_THREADED."""
    import torch

    most = 1 if network in SINGLE_THREADED else cpus.usable()
    torch.set_num_threads(min(torch.get_num_threads(), most))
