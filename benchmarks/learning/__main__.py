"""The learning loop: what feedback gains, what retraining costs those who predict, and what the loop survives.

worth: the accuracy by the number of digits that were sent as feedback, and held-out MNIST before and after. latency:
/predict while a job runs. poison: random labels, which the gate has to reject. activations: swaps under full load.
kills: SIGKILL at seeded moments. Each part starts services of its own on loopback; all of them take most of an hour.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean

from benchmarks import runner
from benchmarks.client import percentile
from benchmarks.learning import activations, feedback, hand, kills
from benchmarks.learning.feedback import Outcome
from benchmarks.machine import say
from benchmarks.runner import Report
from benchmarks.tables import Target, table

MOST, POISON = 500, 2_000
COUNTS = (10, 50, 100, MOST)


def worth(options: argparse.Namespace, report: Report) -> None:
    rounds = options.rounds or 3
    found = {count: [_measure(options, count, seed) for seed in range(rounds)] for count in options.counts}
    rows = []
    for count, outcomes in found.items():
        before, after = mean(one.before for one in outcomes), mean(one.after for one in outcomes)
        mnist = [mean(shares) for shares in zip(*(one.mnist for one in outcomes), strict=True)]
        passed = sum(one.job["state"] == "succeeded" for one in outcomes)
        seconds = [one.seconds for one in outcomes]
        rows.append(
            [
                str(count),
                f"{before:.1%}",
                f"{after:.1%}",
                f"{(1 - after) / (1 - before):.2f}",
                f"{mnist[0]:.2%}",
                f"{mnist[1]:.2%}",
                f"{passed} of {len(outcomes)}",
                f"{min(seconds):.0f} to {max(seconds):.0f} s",
            ]
        )
    header = ["feedback", "other digits before", "after", "errors after / before", "held-out MNIST before", "after"]
    report.blocks += [
        f"Worth of feedback, means of {rounds} seeds; the other digits are those that were not sent.",
        table([*header, "passed the gate", "job"], rows),
    ]
    points = {0: mean(one.before for one in found[options.counts[0]])}
    points |= {count: mean(one.after for one in outcomes) for count, outcomes in found.items()}
    report.figures["worth"] = points
    if options.plot:
        _plot(points, options.plot)


def latency(options: argparse.Namespace, report: Report) -> None:
    found = _measure(options, MOST, 0, loaded=True)
    rows = []
    for name, answers in (("stopped", found.paused), ("running", found.running)):
        failed = sum(answer.status != 200 for answer in answers)
        times = [f"{1000 * percentile(answers, share):.1f}" for share in (0.5, 0.99, 1)]
        rows.append([name, f"{len(answers):,}", str(failed), *times])
        report.failed |= failed > 0
    report.blocks += [
        f"/predict at {feedback.RATE} requests per s, in turns of {feedback.TURN_SECONDS} s:",
        table(["trainer", "requests", "failed", "median ms", "p99 ms", "longest ms"], rows),
    ]


def poison(options: argparse.Namespace, report: Report) -> None:
    rounds = options.rounds or 5
    states = [_measure(options, POISON, seed, random_labels=True).job["state"] for seed in range(rounds)]
    name = f"{POISON:,} digits with random labels as feedback: jobs that the gate rejects"
    report.targets.append(Target(name, rounds, None, [states.count("rejected")], form="{:.0f}"))


def activate(options: argparse.Namespace, report: Report) -> None:
    count = options.count or 20
    answers, latest = activations.measure(options.hand, options.data, count)
    failed = sum(answer.status != 200 for answer in answers)
    name = f"{count} activations under full load: requests without an answer of 200"
    report.targets.append(Target(name, 0, None, [failed], True, "{:.0f}", f"{len(answers):,} requests"))
    report.targets.append(Target("an old version still takes requests after an activation, s", 2, None, [latest], True))


def kill(options: argparse.Namespace, report: Report) -> None:
    count = options.count or 50
    found = kills.measure(options.data, count)
    rows = [[name, str(number)] for name, number in found.counts.items()]
    report.blocks += [f"After each of {count} SIGKILLs the service was ready, on a version that loads:"]
    report.blocks += [table(["process killed, or state of the job", "count"], rows)]
    note = f"accepted: {len(found.accepted):,}, stored: {len(found.stored):,}"
    report.targets.append(
        Target("corrections that were accepted and are lost", 0, None, [found.lost], True, "{:.0f}", note)
    )


PARTS: dict[str, Callable[[argparse.Namespace, Report], None]] = {
    "worth": worth,
    "latency": latency,
    "poison": poison,
    "activations": activate,
    "kills": kill,
}


def measure(options: argparse.Namespace) -> Report:
    options.hand = hand.load(options.usps or options.data / "usps" / "zip.train.gz")
    report = Report()
    for part in options.only or PARTS:
        say(part)
        PARTS[part](options, report)
    report.failed |= any(target.met == "no" for target in report.targets)
    return report


def _measure(options: argparse.Namespace, count: int, seed: int, **how: bool) -> Outcome:
    found = feedback.measure(options.hand, options.data, count, seed, **how)
    say(
        f"{count} digits, seed {seed}: {found.job['state']} after {found.seconds:.0f} s; other digits "
        f"{found.before:.2%} -> {found.after:.2%}, held-out MNIST {found.mnist[0]:.2%} -> {found.mnist[1]:.2%}; "
        f"{found.job['reason']}"
    )
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
    axes.set(xlabel="digits sent as feedback", ylabel="other digits of that hand right, %", ylim=(75, 101))
    axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = runner.parser("learning", __doc__, parts=PARTS, data=True)
    parser.add_argument("--usps", type=Path, metavar="FILE", help="zip.train.gz (usps/zip.train.gz in --data)")
    parser.add_argument("--rounds", type=runner.positive, help="seeds of worth (3) and of poison (5)")
    parser.add_argument("--counts", type=runner.positive, nargs="+", default=COUNTS, help="of worth: digits sent")
    parser.add_argument("--count", type=runner.positive, help="activations (20) or kills (50)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the curve of `worth` as SVG")
    runner.main(parser, measure)


if __name__ == "__main__":
    main()
