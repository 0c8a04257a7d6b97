"""Execute notebooks from top to bottom, each in a fresh kernel of the interpreter that runs this file.

    python handouts/execute.py                executed copies go to handouts/_build/notebooks
    python handouts/execute.py --inplace      refreshes the committed notebooks and their outputs

Seconds and peak memory of each notebook go to handouts/_build/timings.json, which the handouts show as a table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from lecture_course.engine import grading
from lecture_utils import checkpoints

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "handouts" / "_build"
MARK = ".executed"  # in a folder of executed copies, which may be written over
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

# Run last in each kernel. Linux hands the peak of the process that starts a kernel on to it, so that ru_maxrss may be
# ours; VmHWM is the kernel's own. macOS counts bytes, other systems kibibytes, Windows has no such module.
PEAK_MEMORY = """
import sys
from pathlib import Path
if Path("/proc/self/status").exists():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(fields["VmHWM"].split()[0]) // 2**10)
else:
    try:
        import resource
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if sys.platform == "darwin" else 2**10))
    except ImportError:
        print(0)
"""


@dataclass(frozen=True)
class Run:
    """One executed notebook, or the message that says which cell failed and how."""

    notebook: NotebookNode
    seconds: float
    peak_mib: int
    failure: str = ""


def execute(path: Path, *, timeout: float = 900) -> Run:
    """Run every cell of the notebook at `path` in its own folder; `timeout` is in seconds and for one cell."""
    notebook = nbformat.read(path, as_version=4)
    # Without folders to look in, the only kernel is this interpreter's, whatever a user has installed as "python3".
    kernels = KernelSpecManager(kernel_dirs=[], ensure_native_kernel=True)
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels),
        resources={"metadata": {"path": str(path.parent)}},
        timeout=timeout,
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
    )
    peak = nbformat.v4.new_code_cell(PEAK_MEMORY)
    start = time.perf_counter()
    with client.setup_kernel(cleanup_kc=True):
        for index, cell in enumerate(notebook.cells):
            try:
                client.execute_cell(cell, index)
            except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                return Run(notebook, time.perf_counter() - start, 0, _failure(path, index, cell, error))
        seconds = time.perf_counter() - start
        notebook.cells.append(peak)
        client.execute_cell(notebook.cells[-1], len(notebook.cells) - 1)
    return Run(tidy(notebook), seconds, int(notebook.cells.pop().outputs[0].text))


def _failure(path: Path, index: int, cell: NotebookNode, error: Exception) -> str:
    if isinstance(error, CellExecutionError):
        reason = error.traceback
    elif isinstance(error, DeadKernelError):
        reason = "The kernel died; the memory may have run out."
    else:
        reason = str(error)
    return f"{path.name}: cell {index} failed.\n\n{cell.source}\n\n{reason}"


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Remove from an executed notebook, in place, what differs from run to run or is alive only beside a kernel."""
    notebook.nbformat_minor = max(notebook.nbformat_minor, 5)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata.language_info = {"name": "python"}
    count = 0
    for cell in notebook.cells:
        for key in ("execution", "ExecuteTime", "collapsed", "scrolled", "trusted"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        cell.outputs = _tidy_outputs(cell.outputs)
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = cell.execution_count
    return notebook


def _tidy_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    for output in outputs:
        output.get("data", {}).pop(WIDGET_VIEW, None)
    outputs = [output for output in outputs if output.get("data", True)]
    kept: list[NotebookNode] = []
    # The two streams reach us in an order that changes from run to run: those between two pictures become at most two
    # outputs, progress bars (stderr) first.
    for is_stream, group in groupby(outputs, key=lambda output: output.output_type == "stream"):
        if not is_stream:
            kept += group
            continue
        texts = {"stderr": "", "stdout": ""}
        for output in group:
            texts[output.name] += output.text
        for name, text in texts.items():
            # A progress bar rewrites its line: keep what a terminal would show in the end. Of a bar that is nothing,
            # because its speed is true of one machine on one day.
            text = re.sub(r"[^\n]*\r(?=[^\r\n])", "", text)
            text = re.sub(r"[^\n]*(\d+%\||\d+it \[)[^\n]*\n?", "", text) if name == "stderr" else text
            if text.strip():
                kept.append(nbformat.v4.new_output("stream", name=name, text=text))
    return kept


def machine_paths(notebook: NotebookNode) -> list[str]:
    """Absolute paths of somebody's machine in the sources and textual outputs, each with its cell's index."""
    path = re.compile(
        r"(?:file://|(?<![\w.:/]))/(?:home|Users|root|tmp|private|var/folders|mnt|opt|usr)/[^\s\"'<>)\],:]*"
        r"|\b[A-Za-z]:\\+Users\\+[^\s\"'<>]*|" + re.escape(str(ROOT)) + r"\b[^\s\"'<>)\],:]*"
    )
    found = []
    for index, cell in enumerate(notebook.cells):
        texts = [cell.source]
        for output in cell.get("outputs", []):
            texts += [output.get("text", ""), *output.get("traceback", [])]
            texts += [str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
        # Pictures inside HTML are base64, whose letters may spell anything.
        text = re.sub(r"base64,[A-Za-z0-9+/=\s]*", "", "\n".join(texts))
        found += [f"cell {index}: {match}" for match in dict.fromkeys(path.findall(text))]
    return found


def _unfit(notebook: NotebookNode, path: Path) -> str:
    """Mark the exercises for nbgrader, and say what speaks against storing the notebook."""
    if strangers := machine_paths(notebook):
        return f"{path.name}: paths of this machine in it, not written: {'; '.join(strangers)}"
    try:
        grading.stamp(notebook)
    except ValueError as error:
        return f"{path.name}: not written: {error}"
    return ""


def write(notebook: NotebookNode, path: Path) -> None:
    """Write the notebook whole or not at all."""
    checkpoints.write(path, nbformat.writes(notebook).encode() + b"\n")


def record(runs: dict[str, Run], path: Path) -> None:
    """Add the runs' seconds and memory to the timings at `path`, beside the notebooks that were not run now."""
    timings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"notebooks": {}}
    timings["machine"] = {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "date": date.today().isoformat(),
    }
    for name, run in runs.items():
        timings["notebooks"][name] = {"seconds": round(run.seconds, 1), "peak_mib": run.peak_mib}
    checkpoints.write(path, (json.dumps(timings, indent=1, sort_keys=True) + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    """Execute the notebooks asked for; 1 when one of them failed, 0 otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    parser.add_argument("--inplace", action="store_true", help="refresh the notebooks themselves")
    parser.add_argument("--out", type=Path, default=BUILD / "notebooks", help="folder of the executed copies")
    parser.add_argument("--timings", type=Path, default=BUILD / "timings.json")
    # One by default: torch takes all cores already.
    parser.add_argument("--jobs", type=int, default=1, help="notebooks executed at the same time")
    parser.add_argument("--timeout", type=float, default=900, help="seconds that one cell may take")
    options = parser.parse_args(arguments)

    paths = [path.resolve() for path in options.notebooks] or sorted((ROOT / "notebooks").glob("*.ipynb"))
    for path in paths:
        if not path.is_file():
            parser.error(f"there is no notebook {path.name}")
    targets = {path: path if options.inplace else options.out / path.name for path in paths}
    copies = options.inplace or options.out.resolve() == BUILD / "notebooks" or (options.out / MARK).exists()
    if others := [target.name for target in targets.values() if not copies and target.exists()]:
        parser.error(f"{options.out}: would lose {', '.join(others[:3])}; choose another folder, or --inplace")
    done, failed = {}, 0
    sources = {path: path.read_bytes() for path in paths}
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {path: pool.submit(execute, path, timeout=options.timeout) for path in paths}
        for path, future in futures.items():
            run = future.result()
            failure = run.failure or (_unfit(run.notebook, path) if options.inplace else "")
            if options.inplace and not failure and path.read_bytes() != sources[path]:
                failure = f"{path.name}: was changed while it ran; not written, run it again"
            if failure:
                failed += 1
                print(failure, file=sys.stderr, flush=True)
                continue
            if not options.inplace:
                checkpoints.write(options.out / MARK, b"")
            write(run.notebook, targets[path])
            done[path.stem] = run
            print(f"{path.stem:<24}{run.seconds:>7.1f} s {run.peak_mib:>7} MiB", flush=True)
    if done:
        record(done, options.timings)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
