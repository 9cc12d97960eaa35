"""Make the results again that one sweep can, then the tables of ``docs/results.md``.

    python benchmarks/run_all.py DATA [--only NAME...] [--list]

DATA is the folder that holds the datasets under their own names (``drive``, ``rgbd_tools``, ``cifar10`` …). Each
benchmark is run in a process of its own; what it says goes to ``runs/NAME.log``. Without --only those run that need no
long trainings, about three hours on two cores, each from nothing: its result file is put aside, and comes back if it
fails, so that no row is lost and no file mixes those of old and new code. The long ones keep the rows that are there
and go on. --list shows all, with their minutes and commands.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
RESULTS = HERE / "results"


class Benchmark(NamedTuple):
    """About how long it takes on two cores; the arguments of each call, ``DATA/…`` below the folder of the datasets."""

    minutes: int
    calls: tuple[str, ...] = ("",)
    long: bool = False


CIFAR = "DATA/cifar10/cifar10_subset_5000_1000_jpeg.npz"
BENCHMARKS = {
    "parity": Benchmark(3),
    "backbones": Benchmark(15),
    "tiles": Benchmark(13),
    "tiles_cost": Benchmark(10),
    "export": Benchmark(15),
    "ensemble_memory": Benchmark(35),
    "demo_seeds": Benchmark(10),
    "loop_speed": Benchmark(20),
    "busy_machine": Benchmark(8),
    "start_up": Benchmark(1),
    "cifar10_speed": Benchmark(10),
    "captions": Benchmark(12, (CIFAR,)),
    "coarse_maps": Benchmark(
        20, ("DATA/drive --change train.batch=2", "DATA/dsb2018_nuclei --epochs 2 --change train.batch=2")
    ),
    "fuzz": Benchmark(15, ("--real DATA",)),
    "mutants": Benchmark(30),
    "tutorials": Benchmark(40),
    "classifier_fusion": Benchmark(45, (CIFAR,), long=True),
    "small_budgets": Benchmark(
        360,
        (
            "DATA/dsb2018_nuclei DATA/rgbd_tools DATA/rgbd_pothole --minutes 4",
            "DATA/em_isbi2012 --minutes 6",
            "DATA/msd_hippocampus_nifti --minutes 6 --seeds 0 --systems segkit",
            "DATA/camvid_320x240 --minutes 12",
            "DATA/drive --minutes 20 --encoder resnet50",
            "DATA/drive --minutes 60 --seeds 0 --systems segkit",
        ),
        long=True,
    ),
    "volumes": Benchmark(90, ("DATA/msd_hippocampus_nifti",), long=True),
    "retina": Benchmark(240, ("DATA/drive",), long=True),
    "ensemble_accuracy": Benchmark(160, ("DATA/drive --membranes DATA/em_isbi2012",), long=True),
    "predicted_dice": Benchmark(45, ("--nuclei DATA/dsb2018_nuclei --camvid DATA/camvid_320x240",), long=True),
    "depth_accuracy": Benchmark(
        480,
        (
            "DATA/rgbd_pothole DATA/rgbd_tools",
            "DATA/rgbd_pothole DATA/rgbd_tools --longer --best concat --bridges concat se --runs runs/longer",
            "DATA/rgbd_pothole --longer --only dropout --best se --runs runs/longer",
        ),
        long=True,
    ),
    "contrastive_depth": Benchmark(90, ("DATA/rgbd_tools",), long=True),
    "cifar10": Benchmark(60, ("DATA/cifar10",), long=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=Path("DATA"))
    parser.add_argument("--only", nargs="+", choices=list(BENCHMARKS), metavar="NAME")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    chosen = arguments.only or [name for name, each in BENCHMARKS.items() if not each.long]
    if arguments.list:
        for name, each in BENCHMARKS.items():
            print(f"{name}, about {each.minutes} minutes{', long' if each.long else ''}")
            print(*(f"    {' '.join(words(name, call, arguments.data))}" for call in each.calls), sep="\n")
        return
    if not arguments.data.is_dir():
        parser.error(f"{arguments.data}: not a folder; the one that holds the datasets was expected")
    failed = [name for name in chosen if not run(name, arguments.data)]
    subprocess.run([sys.executable, str(HERE / "result_tables.py")], check=True)
    if failed:
        sys.exit(f"failed, their result files are as they were: {', '.join(failed)}; see runs/NAME.log")


def words(name: str, call: str, data: Path) -> list[str]:
    """The command of a benchmark's call."""
    given = [str(data / word[5:]) if word == "DATA" or word.startswith("DATA/") else word for word in call.split()]
    return ["python", f"benchmarks/{name}.py", *given]


def run(name: str, data: Path) -> bool:
    """Run a benchmark; whether it came to its end."""
    results, aside = RESULTS / f"{name}.json", RESULTS / f"{name}.before.json"
    if results.is_file() and not BENCHMARKS[name].long:
        results.replace(aside)
    log = HERE.parent / "runs" / f"{name}.log"
    log.parent.mkdir(exist_ok=True)
    began, ended = time.perf_counter(), False
    try:
        with log.open("w") as file:
            calls = [[sys.executable, *words(name, call, data)[1:]] for call in BENCHMARKS[name].calls]
            ended = all(
                subprocess.run(call, cwd=HERE.parent, stdout=file, stderr=subprocess.STDOUT).returncode == 0
                for call in calls
            )
    finally:
        if aside.is_file():
            if ended and results.is_file():
                aside.unlink()
            else:
                aside.replace(results)
    print(f"{name}: {'done' if ended else 'failed'}, {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)
    return ended


if __name__ == "__main__":
    main()
