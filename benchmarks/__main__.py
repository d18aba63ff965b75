"""Lists the benchmarks: `python -m benchmarks`. Each runs as `python -m benchmarks.NAME`; `-h` shows its options."""

import ast
from pathlib import Path

NAMES = (
    "serving",
    "bounds",
    "steps",
    "sizing",
    "devices",
    "learning",
    "tutorial",
    "seeds",
    "time_to_accuracy",
    "optdigits",
)


def summary(name: str) -> str:
    """The first line of a benchmark's docstring, read without importing its libraries."""
    folder = Path(__file__).parent
    module = folder / name / "__main__.py"
    source = (module if module.is_file() else folder / f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def main() -> None:
    for name in NAMES:
        print(f"python -m benchmarks.{name:<18} {summary(name)}")


if __name__ == "__main__":
    main()
