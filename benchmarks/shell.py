"""How soon the command line answers: the median of several runs of `inkling --help` and of the other commands.

    python -m benchmarks.shell [--runs N]

Seconds from the start of the process to its end, warm: each command has run once before it is timed.
"""

import argparse
import subprocess
import sys
import time

from benchmarks.arguments import positive
from benchmarks.machine import ROOT, describe
from benchmarks.pictures import SEVEN
from benchmarks.tables import Target, spread, table, targets_table

INKLING = [sys.executable, str(ROOT / "inkling.py")]
FORM = "{:.2f}"
COMMANDS = ("serve", "train", "evaluate", "predict", "models", "retrain", "feedback")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shell", description="How soon the shell is answered.")
    parser.add_argument("--runs", type=positive, default=5, help="of each command; the table has their median")
    runs = parser.parse_args().runs
    front = seconds(["--help"], runs)
    rows = [["inkling --help", spread(front, FORM)]]
    rows += [[f"inkling {name} --help", spread(seconds([name, "--help"], runs), FORM)] for name in COMMANDS]
    rows.append(["inkling predict FILE", spread(seconds(["predict", str(SEVEN)], runs), FORM)])
    print(table(["command", "seconds"], rows))
    print()
    print(targets_table([Target("inkling --help, seconds", 0.3, None, front, at_most=True)]))
    print()
    print(describe())


def seconds(arguments: list[str], runs: int) -> list[float]:
    return [_once(arguments) for _ in range(runs + 1)][1:]


def _once(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([*INKLING, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
