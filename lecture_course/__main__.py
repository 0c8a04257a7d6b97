"""The commands of the coursework: `python -m lecture_course --help` lists them."""

import argparse
import sys
from pathlib import Path


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status: 0 if all is well, 1 if something was found, 2 for bad input."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError) as problem:
        print(f"{options.command}: {problem}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m lecture_course", description="Students' notebooks.")
    commands = top.add_subparsers(dest="command", required=True)
    inspect = commands.add_parser("inspect", help="say what would hinder the grading of notebooks")
    inspect.add_argument("notebooks", nargs="+", type=Path)
    inspect.set_defaults(run=run_inspect)
    return top


def run_inspect(options: argparse.Namespace) -> int:
    from lecture_course.engine import submission

    found = {path: submission.faults(path) for path in options.notebooks}
    for path, faults in found.items():
        for line in faults or ["nothing hinders its grading"]:
            print(f"{path}: {line}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
