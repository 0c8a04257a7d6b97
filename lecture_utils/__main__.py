"""The course from the shell: python -m lecture_utils doctor | data | train | evaluate | study."""

import argparse
import json
import os
import platform
import shlex
import sys
from pathlib import Path

from lecture_utils.processes import interrupt_when_terminated

PROFILE = "quick, or full: a wider model on larger images; full by default where there is a GPU"
ROOT = "a folder of Cityscapes pairs, or in the layout of COCO or (captions) Flickr8k; the toy city by default"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status. Wrong input is answered with one line, without a traceback."""
    options = parser().parse_args(arguments)
    try:
        with interrupt_when_terminated():
            return options.run(options)
    except (ValueError, OSError, ImportError) as problem:
        print(f"{options.command}: {plain(problem)}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as problem:
        if not (sentence := want_of_memory(problem)):
            raise  # a fault of the course's own: it should be seen
        print(f"{options.command}: {sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\n{str(stop) or 'stopped'}", file=sys.stderr)
        return 130


def plain(problem: Exception) -> str:
    """A message without the traceback that a process which loads images puts around it."""
    text = str(problem)
    return text.strip().splitlines()[-1].partition(": ")[2] if "Original Traceback" in text else text


def want_of_memory(problem: RuntimeError | MemoryError) -> str:
    """A sentence for what torch says, in many ways, where memory is short; "" for any other problem."""
    text = str(problem)
    if isinstance(problem, MemoryError) or any(word in text for word in ("out of memory", "allocate memory")):
        return "out of memory; give a smaller --batch-size, or a smaller --size"
    if "DataLoader worker" in text:  # a killed process, and full shared memory in a container
        return "a process that loads images was ended, most likely for want of memory; give --workers 0"
    return ""


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
    train.add_argument("--size", type=int, help="resize images to this many pixels a side, as they are read")
    train.add_argument("--profile", help=PROFILE)
    train.add_argument("--steps", type=int)
    train.add_argument("--batch-size", type=int)
    train.add_argument("--lr", type=float)
    train.add_argument("--workers", type=int, help="processes that load images while the others are learnt from")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument(
        "--checkpoint", type=Path, help="write here, and go on from here; runs/NAME.safetensors by default"
    )
    train.add_argument("--restart", action="store_true", help="begin again; the first new checkpoint replaces the old")
    train.add_argument("--ship", action="store_true", help="store the weights and their card in data/checkpoints")
    train.set_defaults(run=run_train)

    evaluate = commands.add_parser("evaluate", help="score a shipped model on unseen scenes")
    evaluate.add_argument("name", help="unet, fcn, … one of those in data/README.md")
    evaluate.add_argument("--checkpoint", type=Path, help="score this file that train wrote instead")
    evaluate.add_argument("--root", type=Path, help=ROOT)
    evaluate.add_argument("--split", default="test", help="test by default; Kaggle's pairs have train and val")
    evaluate.add_argument("--size", type=int, help="resize images to this many pixels a side")
    evaluate.add_argument("--json", action="store_true", help="end with one line of JSON")
    evaluate.add_argument("--ship", action="store_true", help="store the scores in other precisions on the card, too")
    evaluate.set_defaults(run=run_evaluate)

    study = commands.add_parser("study", help="compare models over several seeds, and store the result in data/studies")
    study.add_argument("name", help="bottleneck, … one of those in data/README.md")
    study.add_argument("--profile", default="quick", help="quick by default; full trains all of it, on a GPU")
    study.add_argument("--restart", action="store_true", help="begin each training again, whatever runs/ holds of it")
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
    from lecture_utils import own_data, recipes, resuming, runtime

    recipes.recipe(options.name)  # first: the name of the checkpoint is made of it
    if options.ship and (options.root or options.size):
        raise ValueError("--ship: expected neither --root nor --size, because the cards speak of the quick toy city")
    if options.ship and options.checkpoint:
        raise ValueError("--ship: expected no --checkpoint, because the cards show the command and no machine's paths")
    if options.ship and runtime.checkout() is None:
        raise ValueError("--ship: expected to run in a checkout of the course")
    if options.ship and options.profile == "full":
        raise ValueError("--ship: expected the quick profile, because the shipped weights are those of its models")
    profile = "quick" if options.ship else options.profile
    run = runtime.setup(options.seed, profile=profile, quiet=not is_first_process())
    chosen = recipes.recipe(options.name, run.profile)
    checkpoint = options.checkpoint or Path("runs") / f"{options.name}.safetensors"
    given = {key: getattr(options, key) for key in ("steps", "batch_size", "lr", "workers")}
    changes = {key: value for key, value in given.items() if value is not None}
    kind = {"root": options.root, "size": options.size, "checkpoint": checkpoint, "restart": options.restart}
    model, history = recipes.train(options.name, run, **kind, **changes)
    if is_first_process():
        recent = history.losses[-20:]
        print(f"{history.steps} steps in {history.seconds:.0f} s; loss {sum(recent) / len(recent):.3f}")
        data = {"root": options.root, "size": recipes.city_size(chosen, options.root, options.size)}
        print(own_data.evaluation(options.name, checkpoint, **data, layout=chosen.task.layout))
    if options.ship:
        ship(options.name, model, history, run)
        if is_first_process():
            resuming.remove_finished(checkpoint, history)
    return 0


def ship(name: str, model, history, run) -> None:
    """Score the weights as they are stored, in half precision, and store them with their card."""
    from lecture_utils import checkpoints, recipes

    # In every process: each scores its part of the scenes.
    scenes, scores = recipes.evaluate(name, checkpoints.round_to_fp16(model), run)
    others = recipes.in_other_precisions(name, model, run, run.precision)
    if not is_first_process():
        return
    card = {
        "name": name, "command": f"python -m lecture_utils {shlex.join(sys.argv[1:])}", "seed": run.seed,
        "data": recipes.recipe(name).task.description, "steps": history.steps, "seconds": round(history.seconds),
        "machine": machine(run), "precision": run.precision, "scenes": scenes, "metrics": recipes.metrics(scores),
        "metrics_by_precision": others,
    }  # fmt: skip
    checkpoints.ship(name, model, card)
    print_scores(name, scenes, scores)


def run_evaluate(options: argparse.Namespace) -> int:
    from lecture_utils import recipes, runtime

    run = runtime.setup(quiet=True)
    if options.ship:
        return score_again(options, run)
    model = recipes.load(options.name, options.checkpoint)
    for line in recipes.compatibility_warnings(options.name, options.checkpoint, root=options.root, size=options.size):
        print(f"{options.command}: {line}", file=sys.stderr)
    chosen = recipes.of_checkpoint(options.name, options.checkpoint)
    size = recipes.city_size(chosen, options.root, options.size)
    scenes, scores = recipes.evaluate(chosen, model, run, root=options.root, size=size, split=options.split)
    print_scores(options.name, scenes, scores)
    if options.json:
        print(json.dumps({"name": options.name, "scenes": scenes, "metrics": recipes.metrics(scores)}))
    return 0


def score_again(options: argparse.Namespace, run) -> int:
    """Score shipped weights in the precisions that their card's metrics are not in, and add that to the card."""
    from lecture_utils import checkpoints, recipes, runtime

    if options.checkpoint or options.root or options.size or options.split != "test":
        raise ValueError("--ship: expected the name alone; cards tell what shipped weights score on the test scenes")
    model, card = recipes.load(options.name), checkpoints.card(options.name)
    card["metrics_by_precision"] = recipes.in_other_precisions(options.name, model, run, card["precision"])
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    print(checkpoints.write(runtime.resource_path(f"checkpoints/{options.name}.json"), text.encode()))
    return 0


def run_study(options: argparse.Namespace) -> int:
    from lecture_utils import checkpoints, runtime, studies

    if runtime.checkout() is None:
        raise ValueError("study: expected to run in a checkout of the course")
    result = studies.make(options.name, restart=options.restart, profile=options.profile)
    command = f"python -m lecture_utils study {options.name}" + " --profile full" * (options.profile == "full")
    card = {"command": command, "machine": machine(runtime.setup(quiet=True))}
    text = json.dumps(result | card, indent=2, ensure_ascii=False) + "\n"
    file = options.name + "_full" * (options.profile == "full")
    print(checkpoints.write(runtime.checkout() / f"data/studies/{file}.json", text.encode()))
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
