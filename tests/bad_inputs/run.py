"""Ten thousand bad inputs, and what becomes of each: `python tests/bad_inputs/run.py --count 10000`.

Everything that a file, a folder, an option or a tensor of the wrong shape can be is generated from seeds, handed to the
public function or command that takes it, and judged (`judge.py`): it must be refused, or warned of, in words that name
it; nothing may be accepted in silence, no error come from inside, no process die, no file of the user's change. Right
input is tried first: what refuses everything is no guard. The exit status is 1 where anything else happened.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))
CHUNK = 250
FINE = ("refused", "warned")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--count", type=int, default=10_000)
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--chunk", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    numbers = range(given.first, given.first + given.count)
    if given.chunk:
        return run_chunk(numbers)
    results = [result for first in numbers[::CHUNK] for result in chunk(first, min(CHUNK, numbers.stop - first))]
    print(table(results))
    return 0 if all(kind in FINE for _, _, kind in results) else 1


def chunk(first: int, count: int) -> list[tuple[str, str, str]]:
    """The judgements of some cases, made in a process of their own, which a crash would end."""
    command = [sys.executable, __file__, "--chunk", "--first", str(first), "--count", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    if done.returncode or len(lines) < count:
        lines += [["process", f"case {first + len(lines)}", f"crash: status {done.returncode}: {done.stderr[-300:]}"]]
    print(f"{first + count:,}", file=sys.stderr)
    return lines


def run_chunk(numbers: range) -> int:
    from judge import judge

    for number in numbers:
        with tempfile.TemporaryDirectory() as folder:
            case = make(number, Path(folder))
            print(json.dumps([case.family, case.what.replace(folder, "FOLDER"), judge(case)]), flush=True)
    return 0


def make(number: int, folder: Path):
    """Case `number`: of tensors, models, files or commands."""
    from bad_commands import bad_commands
    from bad_files import bad_files
    from bad_models import bad_models
    from bad_tensors import bad_tensors

    dice = Random(number)
    kind = dice.choices(("tensors", "models", "files", "commands"), weights=(3, 2, 4, 1))[0]
    if kind in ("tensors", "models"):
        return {"tensors": bad_tensors, "models": bad_models}[kind](dice)
    return {"files": bad_files, "commands": bad_commands}[kind](dice, folder / "data")


def table(results: list[tuple[str, str, str]]) -> str:
    """How many of each family were refused, warned of or neither, and the first of those that were neither."""
    counts = Counter((family, kind.split(":")[0]) for family, _, kind in results)
    kinds = list(dict.fromkeys([*FINE, *(kind for _, kind in counts)]))
    lines = [f"{'':12}" + "".join(f"{kind:>10}" for kind in kinds)]
    for family in sorted({family for family, _ in counts}):
        lines.append(f"{family:12}" + "".join(f"{counts[family, kind]:10,}" for kind in kinds))
    wrong = {(family, what): kind for family, what, kind in results if kind not in FINE}
    lines += [f"{family}: {what}\n    {kind}" for (family, what), kind in list(wrong.items())[:200]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
