"""The course from the shell: python -m lecture_utils doctor | data | train | evaluate | study."""

import argparse
import json
import os
import platform
import shlex
import sys
from pathlib import Path

ROOT = "a folder of Cityscapes pairs, or in the layout of COCO or (captions) Flickr8k; the toy city by default"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status. Wrong input is answered with one line, without a traceback."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError, ImportError) as problem:
        print(f"{options.command}: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'stopped'}", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m lecture_utils", description="The computer-vision lecture that runs.")
    commands = top.add_subparsers(dest="command", required=True)

    doctor = commands.add_parser("doctor", help="say what is missing on this machine, and how to mend it")
    doctor.add_argument("--all", action="store_true", help="also what only the handouts and the tests need")
    doctor.set_defaults(run=run_doctor)

    data = commands.add_parser("data", help="generate scenes of the toy city in the layouts of real data sets")
    data.add_argument("--out", type=Path, help="the folder to write to")
    data.add_argument("--scenes", type=int, help="how many")
    data.add_argument("--size", type=int, default=128, help="pixels a side, 64 to 512")
    data.add_argument("--split", default="train", help="train, val or test: each has seeds of its own")
    data.add_argument("--workers", type=int, help="processes; all cores by default")
    data.add_argument("--quick", action="store_true", help="the set the notebooks use, unless it is there and whole")
    data.set_defaults(run=run_data)

    train = commands.add_parser("train", help="train a model by its recipe")
    train.add_argument("name", help="unet, fcn, … one of those in data/README.md")
    train.add_argument("--root", type=Path, help=ROOT)
    train.add_argument("--size", type=int, help="resize pictures to this many pixels a side")
    train.add_argument("--steps", type=int)
    train.add_argument("--batch-size", type=int)
    train.add_argument("--lr", type=float)
    train.add_argument("--workers", type=int, help="processes that load pictures while the others are learnt from")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--checkpoint", type=Path, help="write here, and go on from here; runs/NAME.safetensors by default"
    )
    train.add_argument("--anew", action="store_true", help="begin again, whatever the checkpoint holds")
    train.add_argument("--ship", action="store_true", help="store the weights and their card in data/checkpoints")
    train.set_defaults(run=run_train)

    evaluate = commands.add_parser("evaluate", help="score a shipped model on unseen scenes")
    evaluate.add_argument("name", help="unet, fcn, … one of those in data/README.md")
    evaluate.add_argument("--checkpoint", type=Path, help="score this file that train wrote instead")
    evaluate.add_argument("--root", type=Path, help=ROOT)
    evaluate.add_argument("--split", default="test", help="test by default; Kaggle's pairs have train and val")
    evaluate.add_argument("--size", type=int, help="resize pictures to this many pixels a side")
    evaluate.add_argument("--json", action="store_true", help="end with one line of JSON")
    evaluate.set_defaults(run=run_evaluate)

    study = commands.add_parser("study", help="compare models over several seeds, and store the result in data/studies")
    study.add_argument("name", help="bottleneck, … one of those in data/README.md")
    study.add_argument("--anew", action="store_true", help="begin each training again, whatever runs/ holds")
    study.set_defaults(run=run_study)
    return top


def run_doctor(options: argparse.Namespace) -> int:
    from lecture_utils import doctor

    text, able = doctor.report(everything=options.all)
    print(text)
    return 0 if able else 1


def run_data(options: argparse.Namespace) -> int:
    if options.quick:
        from lecture_utils.datasets import toy_city

        toy_city()
        return 0
    from lecture_utils import toycity

    if options.out is None or options.scenes is None:
        raise ValueError("--out and --scenes: expected both, or --quick")
    kind = {"split": options.split, "scenes": options.scenes, "size": options.size}
    toycity.export(options.out, **kind, workers=options.workers)
    print(f"{options.scenes} scenes of {options.size} × {options.size} pixels in {options.out}")
    return 0


def run_train(options: argparse.Namespace) -> int:
    from lecture_utils import recipes, runtime

    if options.ship and (options.root or options.size):
        raise ValueError("--ship: expected neither --root nor --size, because the cards speak of the quick toy city")
    if options.ship and options.checkpoint:
        raise ValueError("--ship: expected no --checkpoint, because the cards show the command and no machine's paths")
    if options.ship and runtime.checkout() is None:
        raise ValueError("--ship: expected to run in a checkout of the course")
    run = runtime.setup(options.seed, quiet=not is_first_process())
    checkpoint = options.checkpoint or Path("runs") / f"{options.name}.safetensors"
    if options.anew:
        checkpoint.unlink(missing_ok=True)  # in every process, before any of them can write
    given = {key: getattr(options, key) for key in ("steps", "batch_size", "lr", "workers")}
    changes = {key: value for key, value in given.items() if value is not None}
    kind = {"root": options.root, "size": options.size, "checkpoint": checkpoint}
    model, history = recipes.train(options.name, run, **kind, **changes)
    if is_first_process():
        recent = history.losses[-20:]
        print(f"{history.steps} steps in {history.seconds:.0f} s; loss {sum(recent) / len(recent):.3f}")
        print(f"python -m lecture_utils evaluate {options.name} --checkpoint {checkpoint}")
    if options.ship:
        ship(options.name, model, history, run)
        if is_first_process():
            checkpoint.unlink()
    return 0


def ship(name: str, model, history, run) -> None:
    """Score the weights as they are stored, in half precision, and store them with their card."""
    from lecture_utils import checkpoints, recipes

    scenes, scores = recipes.evaluate(name, checkpoints.halve(model), run)  # in every process: each scores its share
    if not is_first_process():
        return
    card = {
        "name": name, "command": f"python -m lecture_utils {shlex.join(sys.argv[1:])}", "seed": run.seed,
        "data": recipes.recipe(name).task.about, "steps": history.steps, "seconds": round(history.seconds),
        "machine": machine(run), "scenes": scenes, "metrics": recipes.metrics(scores),
    }  # fmt: skip
    checkpoints.ship(name, model, card)
    print_scores(name, scenes, scores)


def run_evaluate(options: argparse.Namespace) -> int:
    from lecture_utils import recipes, runtime

    run = runtime.setup(quiet=True)
    model = recipes.load(options.name, options.checkpoint)
    scenes, scores = recipes.evaluate(
        options.name, model, run, root=options.root, size=options.size, split=options.split
    )
    print_scores(options.name, scenes, scores)
    if options.json:
        print(json.dumps({"name": options.name, "scenes": scenes, "metrics": recipes.metrics(scores)}))
    return 0


def run_study(options: argparse.Namespace) -> int:
    from lecture_utils import checkpoints, runtime, studies

    if runtime.checkout() is None:
        raise ValueError("study: expected to run in a checkout of the course")
    result = studies.make(options.name, anew=options.anew)
    card = {"command": f"python -m lecture_utils study {options.name}", "machine": machine(runtime.setup(quiet=True))}
    text = json.dumps(result | card, indent=2, ensure_ascii=False) + "\n"
    print(checkpoints.write(runtime.checkout() / f"data/studies/{options.name}.json", text.encode()))
    return 0


def print_scores(name: str, scenes: int, scores: dict) -> None:
    from lecture_utils import recipes

    print(f"{name} on {scenes} unseen scenes")
    for key, value in recipes.metrics(scores).items():
        print(f"  {key:<16}{value:8.3f}")
    for measure, classes in scores.items():
        for key, value in classes.items() if isinstance(classes, dict) else ():
            if value == value:  # not the classes that no scene holds
                print(f"    {measure.replace('iou', 'IoU').replace('ap', 'AP')} {key:<14}{value:6.3f}")


def machine(run) -> str:
    import torch

    chip = f"{'GPU' if run.device == 'mps' else f'{os.cpu_count()} cores'} of {platform.machine()}"
    device = torch.cuda.get_device_name(0) if run.device == "cuda" else chip
    return f"{device}, {run.precision}, torch {torch.__version__}"


def is_first_process() -> bool:
    """Whether this is the only process or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


if __name__ == "__main__":
    sys.exit(main())
