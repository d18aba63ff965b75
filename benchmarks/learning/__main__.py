"""The learning loop: what corrections are worth, what they cost those who predict, and what can not break it.

    python -m benchmarks.learning [gain|latency|worth|poison|activations|kills ...] [--usps FILE] [--data FOLDER]

Each part starts services of its own on loopback. Without a part, all of them run, which takes most of an hour.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.arguments import positive
from benchmarks.learning import activations, gain, hand, kills
from benchmarks.learning.gain import Gain
from benchmarks.machine import end_in_order
from models.errors import DataError

CORRECTIONS, POISON = 500, 2_000
CURVE = (10, 50, 100, 500)

console = Console(soft_wrap=True, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description="What the learning loop gains, costs and survives.")
    data = Path(os.environ.get("INKLING_DATA", "data"))
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, default=data, help="holds MNIST/raw")
    parser.add_argument("--usps", type=Path, help="zip.train.gz; under DATA/usps if not given")
    parser.add_argument("--seeds", type=positive, help="how many: 3 for gain and worth, 5 for poison if not given")
    parser.add_argument("--count", type=positive, help="activations (20) or kills (50)")
    parser.add_argument("--plot", type=Path, default=Path("docs/pictures/corrections.svg"), help="what `worth` draws")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: expected {', '.join(PARTS)}")
    end_in_order()
    options.usps = options.usps or options.data / "usps" / "zip.train.gz"
    try:
        options.hand = hand.load(options.usps)
    except DataError as error:
        parser.error(str(error))
    for part in options.parts or PARTS:
        console.rule(part)
        PARTS[part](options)


def _gain(options: argparse.Namespace) -> None:
    """500 corrections, and the other digits."""
    found = [_measure(options, CORRECTIONS, seed) for seed in range(options.seeds or 3)]
    errors = [(1 - one.before, 1 - one.after) for one in found]
    halved = statistics.mean(after for _, after in errors) / statistics.mean(before for before, _ in errors)
    fallen = statistics.mean(before - after for before, after in (one.mnist for one in found))
    console.print(f"error on the other digits: {halved:.2f} of what it was; held-out MNIST: {-fallen:+.3%}")


def _latency(options: argparse.Namespace) -> None:
    """The same, at a steady 50 requests a second."""
    found = _measure(options, CORRECTIONS, 0, loaded=True)
    table = Table("at 50 requests a second", "requests", "failed", "median", "99 %", "longest")
    for name, outcome in (("the trainer stopped", found.idle), ("the trainer at work", found.busy)):
        times = [f"{1000 * outcome.percentile(share):.1f} ms" for share in (0.5, 0.99, 1.0)]
        table.add_row(name, f"{len(outcome.seconds):,}", str(len(outcome.failures)), *times)
    console.print(table)


def _worth(options: argparse.Namespace) -> None:
    """A curve: how much right with how many corrections."""
    found = {count: [_measure(options, count, seed) for seed in range(options.seeds or 3)] for count in CURVE}
    points = {0: statistics.mean(one.before for one in found[CURVE[0]])}
    points |= {count: statistics.mean(one.after for one in measured) for count, measured in found.items()}
    _plot(points, options.plot)
    console.print(f"wrote {options.plot}: {json.dumps(points)}")


def _poison(options: argparse.Namespace) -> None:
    """Labels drawn at random have to be rejected."""
    states = [_measure(options, POISON, seed, random_labels=True).job["state"] for seed in range(options.seeds or 5)]
    console.print(f"{states.count('rejected')} of {len(states)} rejected")


def _activations(options: argparse.Namespace) -> None:
    outcome, latest = activations.measure(options.hand, options.data, options.count or 20)
    console.print(
        f"{options.count or 20} activations, {len(outcome.answers):,} answers, {len(outcome.failures)} failed, "
        f"the old version took none that was sent later than {latest:.1f} s after an activation"
    )
    for failure in outcome.failures[:5]:
        console.print(failure)


def _kills(options: argparse.Namespace) -> None:
    found = kills.measure(options.data, options.count or 50)
    console.print(", ".join(f"{name}: {count}" for name, count in found.items()) + "; all survived")


def _measure(options: argparse.Namespace, count: int, seed: int, **how: bool) -> Gain:
    found = gain.measure(options.hand, options.data, count, seed, **how)
    console.print(
        f"{count} corrections, seed {seed}: {found.job['state']} after {found.seconds:.0f} s; other digits "
        f"{found.before:.2%} -> {found.after:.2%}, held-out MNIST {found.mnist[0]:.2%} -> {found.mnist[1]:.2%}"
    )
    console.print(f"  {found.job['reason']}")
    return found


def _plot(points: dict[int, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(range(len(points)), [100 * share for share in points.values()], "o-")
    axes.set_xticks(range(len(points)), [str(count) for count in points])
    for position, share in enumerate(points.values()):
        axes.annotate(f"{share:.1%}", (position, 100 * share), (0, 7), textcoords="offset points", ha="center")
    axes.set(xlabel="corrections", ylabel="other digits of that hand right, %", ylim=(75, 101))
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "gain": _gain,
    "latency": _latency,
    "worth": _worth,
    "poison": _poison,
    "activations": _activations,
    "kills": _kills,
}


if __name__ == "__main__":
    main()
