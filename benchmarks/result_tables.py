"""The tables of ``docs/results.md``, each made of one file of ``benchmarks/results/``.

    python benchmarks/result_tables.py            write them into the page
    python benchmarks/result_tables.py --check    say which differ from what is there, and end with 1 if any do

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` and ends with what it was measured on. The text
around it is written by hand.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from statistics import mean
from typing import Any

from ensemble_tables import accuracy, against_best, memory, predicted_dice
from pretraining_tables import captions, cifar10, cifar10_speed, fusion, retrieval, started
from table_parts import SEEDS, Lines, Rows, differences, of_seeds, with_spread

ROOT = Path(__file__).parent.parent
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "results.md"
MARKED = re.compile(r"(?<=<!-- table: )([\w ]+)( -->\n).*?(?=<!-- end -->)", re.DOTALL)
TIMES = {"seconds a picture": 2, "minutes": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    if arguments.check:
        different = [name for name, table in tables_of(page) if table != made(name)]
        print("\n".join(different) or "the page holds what the result files say")
        sys.exit(bool(different))
    PAGE.write_text(MARKED.sub(lambda found: found[1] + found[2] + made(found[1]), page), encoding="utf-8")


def tables_of(page: str) -> Iterator[tuple[str, str]]:
    """The tables of a page: name and text."""
    for found in MARKED.finditer(page):
        yield found[1], found[0].partition("-->\n")[2]


def made(name: str) -> str:
    """A table's text as its result file gives it."""
    stem, table = TABLES[name]
    rows = json.loads((RESULTS / f"{stem}.json").read_text(encoding="utf-8"))
    header, *lines = table(rows)
    text = [f"| {' | '.join(line)} |" for line in (header, *lines)]
    text.insert(1, "|" + "---|" * len(header))
    return "\n".join([*text, "", f"{measured(rows)} `benchmarks/results/{stem}.json`.", ""])


def measured(rows: Any) -> str:
    """Processor, cores, versions and days of a result file."""
    machines = list(_each("machine", rows))
    kinds = sorted({f"{each['processor']}, {each['cores']} cores, torch {each['torch']}" for each in machines})
    days = sorted({each["date"] for each in machines})
    peers = sorted({f"{name} {version}" for found in _each("peers", rows) for name, version in found.items()})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return "; ".join([*kinds, *([", ".join(peers)] if peers else []), when]) + "."


def _each(key: str, rows: Any) -> Iterator[dict[str, str]]:
    """What stands under a key, at any depth."""
    for name, value in rows.items() if isinstance(rows, dict) else enumerate(rows) if isinstance(rows, list) else ():
        if name == key and isinstance(value, dict):
            yield value
        else:
            yield from _each(key, value)


def retina(rows: Rows) -> Lines:
    names = {
        "second human": "second human",
        **{f"retina_ensemble, seed {seed}": f"`retina_ensemble`, seed {seed}" for seed in SEEDS},
        **{name: f"plain loop, {name}" for name in rows if name.startswith("smp ")},
    }
    members = {"unet": "its plain U-Net alone", "attention_unet": "its attention U-Net alone"}
    return _vessels(rows, {key: name for key, name in names.items() if key in rows}, members)


def older_retina(rows: Rows) -> Lines:
    names = {
        "older recipe (Swin-FPN and ResNet50-U-Net), seed 0": "Swin-FPN and ResNet50-U-Net averaged",
        "older recipe, the stem alone, seed 0": "control: the stem alone under a U-Net (84,305 parameters, 40 epochs)",
    }
    return _vessels(rows, names, {"swin_fpn": "its Swin-tiny FPN alone", "resnet50_unet": "its ResNet50 U-Net alone"})


def _vessels(rows: Rows, names: dict[str, str], members: dict[str, str]) -> Lines:
    scores = ("f1_pooled", "f1_mean_over_images", "precision", "recall")
    lines = [["system", "F1 pooled", "F1, mean over images", "precision", "recall", "minutes of training"]]
    for key, name in names.items():
        row = rows[key]
        lines.append([name, *(f"{row[score]:.4f}" for score in scores), str(row.get("minutes", ""))])
        for member, found in row.get("members", {}).items():
            lines.append([members[member], *(f"{found[score]:.4f}" for score in scores), ""])
    return lines


def small_budgets(rows: Rows) -> Lines:
    scores = [
        ("dsb2018_nuclei", 4, "nucleus Dice, pooled", "dice nucleus"),
        ("dsb2018_nuclei", 4, "nucleus Dice, mean over images", "dice, mean over images"),
        ("rgbd_tools", 4, "mean IoU of the four classes in test, colour alone", "mean iou of classes in test"),
        ("rgbd_pothole", 4, "pothole Dice, pooled, colour alone", "dice pothole"),
        ("em_isbi2012", 6, "membrane Dice, pooled", "dice membrane"),
        (
            "msd_hippocampus_nifti",
            6,
            "mean Dice of both parts, mean over volumes",
            "dice of the foreground, mean over images",
        ),
        ("camvid_320x240", 12, "mean IoU of 11 classes", "mean iou"),
        ("drive", 20, "vessel Dice, pooled in the field of view", "dice vessel"),
    ]
    header = ["data", "minutes", "score on test", "plain smp loop", *(f"`segkit init`, seed {seed}" for seed in SEEDS)]
    lines = [header]
    for data, minutes, score, key in scores:
        start = f"{data}, {minutes} minutes"
        peers = [row for name, row in rows.items() if name.startswith(f"{start}, smp Unet") and row.get(key)]
        plain = max(peers, key=itemgetter(key), default=None)
        ours = [rows.get(f"{start}, segkit init, seed {seed}") for seed in SEEDS]
        shown = [f"{row[key]:.3f}" if row else "" for row in [plain, *ours]]
        lines.append([f"`{data}`", str(minutes), score, *shown])
    return lines


def tutorials(rows: Rows) -> Lines:
    lines = [["tutorial", "steps", "minutes", "longest step", "its minutes"]]
    for page, row in rows.items():
        step, seconds = next(iter(row["longest"].items()))
        lines.append([f"[{page}]({page})", str(row["steps"]), str(row["minutes"]), f"`{step}`", f"{seconds / 60:.1f}"])
    return lines


def start_up(rows: Rows) -> Lines:
    return [["command", "seconds"], *([f"`{name}`", f"{taken:.2f}"] for name, taken in rows["seconds"].items())]


def loop_speed(rows: Rows) -> Lines:
    loops = {
        "bare_ms": "bare loop",
        "bare_reusing_memory_ms": "bare loop that reuses memory",
        "segkit_ms": "segkit",
        "segkit_with_loader_ms": "segkit, crops cut while it trains",
    }
    members = {name: row for name, row in rows.items() if name != "loader"}
    lines = [["milliseconds a step", *members]]
    lines += [[name, *(f"{row[key]:.0f}" for row in members.values())] for key, name in loops.items()]
    for key, name in (
        ("segkit_over_bare", "segkit over the bare loop"),
        ("segkit_over_bare_reusing_memory", "over the one that reuses memory"),
        ("segkit_over_bare_reusing_memory_at_most", "the same with checkpoints, curves and samples at their most"),
    ):
        lines.append([name, *(f"{row[key]:.3f}" for row in members.values())])
    return lines


def busy_machine(rows: Rows) -> Lines:
    steps = rows["milliseconds a step"]
    lines = [["milliseconds a step", "alone", "beside a busy process"]]
    for name in ("U-Net", "Swin-T"):
        for waiting, meant in (("usual", "threads wait as usual"), ("segkit", "as `segkit` starts its commands")):
            shown = [f"{steps[f'{name}, {where}, {waiting}']:.0f}" for where in ("alone", "beside a busy process")]
            lines.append([f"{name}, {meant}", *shown])
    return lines


def volumes(rows: Rows) -> Lines:
    names = {
        "2-D": "axial",
        "2.5-D": "axial, one neighbour on either side",
        "three planes": "axial, coronal and sagittal, averaged",
        "three planes, 2.5-D": "the same, one neighbour on either side",
    }
    scores = ("anterior_hippocampus", "posterior_hippocampus", "mean")
    lines = [["slices", "anterior", "posterior", "mean"]]
    for key, name in names.items():
        found = of_seeds(rows, key + ", seed {seed}")
        lines.append([name, *(with_spread([row[score] for row in found], 4) for score in scores)])
    return lines


def demo_seeds(rows: Rows) -> Lines:
    lines = [["seed", "ensemble", "Swin-FPN", "ResNet18-U-Net", "seconds, everything"]]
    for seed in SEEDS:
        row = rows[f"seed_{seed}"]
        lines.append([str(seed), *(f"{score:.4f}" for score in row["dice"].values()), str(row["seconds"])])
    together = [mean(rows[f"seed_{seed}"]["dice"][name] for seed in SEEDS) for name in row["dice"]]
    seconds = mean(rows[f"seed_{seed}"]["seconds"] for seed in SEEDS)
    return [*lines, ["mean", *(f"{score:.4f}" for score in together), f"{seconds:.0f}"]]


def backbones(rows: Rows) -> Lines:
    works = [
        ("swin_tiny 4×3×256², fp32", "Swin-T levels, 4×3×256², fp32", "2.0"),
        ("swin_tiny 1×3×512², fp32", "Swin-T levels, 1×3×512², fp32", "2.0"),
        ("swin_tiny 4×3×256², bf16", "Swin-T levels, 4×3×256², bf16", "1.4"),
        ("swin_tiny 1×3×512², bf16", "Swin-T levels, 1×3×512², bf16", "1.4"),
        ("swin_tiny 4×3×256², fp32, forward and backward", "the same, fp32, forward and backward", "1.8"),
        ("resnet50 fpn, 512²", "ResNet50 FPN, one tile of 512²", "2.5"),
        ("resnet50 unet, 512²", "ResNet50 U-Net, one tile of 512²", "2.5"),
    ]
    peers = ("timm", "torchvision", "transformers", "smp")
    lines = [["work", "segkit", *peers, "ratio", "aim"]]
    for key, name, aim in works:
        times = rows[key]["ms"]
        ours = times.get("segkit", times.get("segkit Predictor"))
        shown = [f"{times[peer]:.0f} ms" if peer in times else "" for peer in peers]
        lines.append([name, f"{ours:.0f} ms", *shown, f"**{rows[key]['ratio']:.2f}**", aim])
    memory = rows["swin_tiny 4×3×512², memory"]
    shown = [f"{memory['MiB'][peer]:.0f} MiB" if peer in memory["MiB"] else "" for peer in peers]
    leanest = f"**{memory['of the leanest peer']:.2f}** of the leanest"
    name = "Swin-T, 4×3×512², fp32, memory of forward and backward"
    return [*lines, [name, f"{memory['MiB']['segkit']:.0f} MiB", *shown, leanest, "≤ 0.80"]]


def tiles(rows: Rows) -> Lines:
    lines = [["", "seconds", "MONAI takes", "labels equal", "99.9th percentile of abs. difference"]]
    aims = {"segkit": ("4", "0.01"), "segkit fp32": ("2", "1e-4")}
    names = {"segkit": f"segkit as it comes ({rows['precision']})", "segkit fp32": "segkit fp32"}
    for key, name in names.items():
        far = rows["difference from monai"][key]
        ratio = f"{rows['monai / segkit'][key]:.2f} times as long (aim: {aims[key][0]})"
        equal = f"{100 * far['labels equal']:.3f} % (aim: 99.9 %)"
        lines.append(
            [
                name,
                f"{rows['seconds'][key]:.1f}",
                ratio,
                equal,
                f"{far['99.9th percentile']:.1g} (aim: at most {aims[key][1]})",
            ]
        )
    lines.append(["MONAI", f"{rows['seconds']['monai']:.1f}", "", "", ""])
    loop = f"the loop takes {rows['smp loop / segkit, ResNet50-FPN']:.2f} times as long"
    lines.append(["segkit, ResNet50-FPN alone", f"{rows['seconds']['segkit, ResNet50-FPN']:.1f}", loop, "", ""])
    return [*lines, ["plain loop over smp's ResNet50-FPN", f"{rows['seconds']['smp loop']:.1f}", "", "", ""]]


def export(rows: Rows) -> Lines:
    lines = [["model", "difference", "ONNX Runtime", "PyTorch fp32", "PyTorch bf16", "file"]]
    for name in ("demo", "retina_ensemble", "nyuv2", "seven_member_ensemble", "two members"):
        row = rows[name]
        times = [f"{row['seconds'][key]:.3f} s" for key in ("onnxruntime", "torch_fp32", "torch_bf16")]
        shown = "a Swin-FPN and an attention U-Net" if name == "two members" else f"`{name}`"
        lines.append([shown, f"{row['difference']:.1e}", *times, f"{row['megabytes']:.0f} MB"])
    return lines


def coarse_maps(data: str) -> Callable[[Rows], Lines]:
    def table(rows: Rows) -> Lines:
        scores = ("dice", "iou", "share_dice", "ece", "share_error")
        found = rows[data]["scores"]
        members = [row for name, row in found.items() if name != "ensemble"]
        average = {score: mean(row[score] for row in members) for score in scores}
        shown = {**found, "mean of the members": average, "ensemble": found["ensemble"]}
        order = [*(name for name in shown if name != "ensemble"), "ensemble"]
        lines = [["model", "Dice", "IoU", "Dice of shares", "ECE", "error of shares"]]
        return lines + [[name, *(f"{shown[name][score]:.4f}" for score in scores)] for name in order]

    return table


def parity(rows: Rows) -> Lines:
    lines = [["ours", "reference", "image", "largest difference", "largest value"]]
    for row in rows["rows"]:
        far, largest = f"{row['difference']:.1e}", f"{row['largest']:.3g}"
        lines.append([row["ours"], row["reference"], row["image"], far, largest])
    return lines


def depth(data: str) -> Callable[[Rows], Lines]:
    names = {
        "colour": "colour alone",
        "depth": "depth alone, as a picture",
        "fourth": "depth as a fourth channel",
        "concat": "bridges: `concat`",
        "se": "bridges: `se`",
        "gated": "bridges: `gated`",
        "attention": "bridges: `attention`",
        "late": "mean of colour alone and depth alone",
        "both": "mean of `{}` and depth alone",
        "dropout": "`{}`, depth taken away from 30 % of the crops",
        "frozen": "`{}` on the model of colour alone, which stays as it is",
    }

    def table(rows: Rows) -> Lines:
        header = ["system", "IoU", "F1", "NLL", "IoU without depth", "IoU, holes filled"]
        lines = [[*header, "million", "GFLOPs", "s a picture", "minutes", "seeds"]]
        for key, name in names.items():
            found = of_seeds(rows, f"{data}, {key}, seed {{seed}}")
            if not found:
                continue
            scores = [with_spread([row[score] for row in found]) for score in ("iou", "f1", "nll")]
            ways = [
                with_spread([row[how]["iou"] for row in found if how in row]) for how in ("no depth", "holes filled")
            ]
            size = [f"{found[0]['parameters'] / 1e6:.1f}", f"{found[0]['gflops']:.1f}"]
            times = [f"{mean(row[key] for row in found):.{digits}f}" for key, digits in TIMES.items()]
            lines.append([name.format(found[0].get("bridge")), *scores, *ways, *size, *times, str(len(found))])
        return lines

    return table


def depth_differences(rows: Rows) -> Lines:
    lines = [["on", "what, minus what", "IoU, 95 % interval", "F1, 95 % interval", "NLL, 95 % interval"]]
    for key, row in rows.items():
        if " minus " in key:
            data, _, what = key.partition(", ")
            lines.append([f"`{data}`", what, *differences(row)])
    return lines


TABLES: dict[str, tuple[str, Callable[[Rows], Lines]]] = {
    "retina": ("retina", retina),
    "older retina": ("retina", older_retina),
    "small budgets": ("small_budgets", small_budgets),
    "tutorials": ("tutorials", tutorials),
    "loop speed": ("loop_speed", loop_speed),
    "busy machine": ("busy_machine", busy_machine),
    "volumes": ("volumes", volumes),
    "captions": ("captions", captions),
    "fusion": ("classifier_fusion", fusion),
    "cifar10": ("cifar10", cifar10),
    "cifar10 speed": ("cifar10_speed", cifar10_speed),
    "retrieval": ("contrastive_depth", retrieval),
    "started": ("contrastive_depth", started),
    "demo seeds": ("demo_seeds", demo_seeds),
    "ensembles drive": ("ensemble_accuracy", accuracy("drive")),
    "start up": ("start_up", start_up),
    "ensembles membranes": ("ensemble_accuracy", accuracy("em_isbi2012")),
    "ensembles against best": ("ensemble_accuracy", against_best),
    "ensemble memory": ("ensemble_memory", memory),
    "predicted dice": ("predicted_dice", predicted_dice),
    "backbones": ("backbones", backbones),
    "tiles": ("tiles", tiles),
    "export": ("export", export),
    "coarse maps drive": ("coarse_maps", coarse_maps("drive")),
    "coarse maps nuclei": ("coarse_maps", coarse_maps("dsb2018_nuclei")),
    "parity": ("parity", parity),
    "depth potholes": ("depth_accuracy", depth("rgbd_pothole")),
    "depth tools": ("depth_accuracy", depth("rgbd_tools")),
    "depth differences": ("depth_accuracy", depth_differences),
    "depth potholes longer": ("depth_accuracy_longer", depth("rgbd_pothole")),
    "depth tools longer": ("depth_accuracy_longer", depth("rgbd_tools")),
    "depth differences longer": ("depth_accuracy_longer", depth_differences),
}

if __name__ == "__main__":
    main()
