"""Tables of ``docs/results.md`` on ensembles: what they are worth, and what they cost."""

from collections.abc import Callable

from table_parts import Lines, Rows, of_seeds, with_spread

MEMBERS = {"unet": "U-Net", "attention_unet": "attention U-Net", "fpn": "FPN"}
SYSTEMS = {
    **MEMBERS,
    "uniform": "mean of the three",
    "score": "weighted by Dice on val",
    "member": "weights fitted, one a member",
    "class": "weights fitted, one a member and class",
    "gate": "a gate, pixel by pixel",
    "mean of logits": "mean of logits",
    "best member, four views": "best member, four views",
    "uniform, four views": "mean of the three, four views",
    "stack": "stacked: a small network on the maps",
    "early fusion": "early fusion: two backbones, one neck",
    "joint": "the three trained in one pass over the data",
    "folds": "the U-Net three times, by folds",
    "trained on": "the U-Net trained on, once",
    "soup's mean": "the same with three seeds, mean",
    "soup": "their weights averaged",
    "weak": "ResNet18 with a stem",
    "uniform with the weak one": "mean of the three and it",
    "member with the weak one": "weights fitted, of the three and it",
    "small": "a U-Net of half the width",
    "student": "the same, taught by the mean of the three and the masks",
    "student1": "the same, taught by the mean alone",
    "deeper": "one of five levels, taught by both",
    "narrow_decoder": "a U-Net with half the width on the way up alone, taught by both",
    "taught_on": "the U-Net trained on, taught by both",
}


def accuracy(data: str) -> Callable[[Rows], Lines]:
    """Scores and costs of each system of one dataset, over its seeds."""

    def table(rows: Rows) -> Lines:
        scores = {"dice": 4, "ece": 4, "nll": 4, "aurc": 5, "errors in the most uncertain tenth": 3}
        header = ["system", "Dice", "ECE", "NLL", "AURC", "errors in the least certain tenth", "s an image"]
        lines = [[*header, "peak MiB", "longest training, minutes", "seeds", "fits kept"]]
        for key, name in SYSTEMS.items():
            found = of_seeds(rows, f"{data}, seed {{seed}}, {key}")
            if found:
                shown = [with_spread([row[score] for row in found], digits) for score, digits in scores.items()]
                cost = [f"{found[0]['seconds an image']:.2f}", f"{found[0]['peak MiB']:.0f}"]
                longest = max(minutes for row in found for minutes in row["minutes of training"])
                fits = [row["fit kept"] for row in found if "fit kept" in row]
                kept = f"{sum(fits)} of {len(fits)}" if fits else ""
                lines.append([name, *shown, *cost, f"{longest:.1f}", str(len(found)), kept])
        return lines

    return table


def against_best(rows: Rows) -> Lines:
    """The uniform mean held against the member that is best on val, of each dataset and seed."""
    lines = [["data, seed", "best member on val", "Dice, mean minus member", "NLL, mean minus member"]]
    for key, row in rows.items():
        if key.endswith(", uniform against best member"):
            shown = [
                f"{row[f'{score} difference']:+.4f}, {low:+.4f} to {high:+.4f}"
                for score in ("dice", "nll")
                for low, high in [row[f"{score} interval"]]
            ]
            lines.append([key.removesuffix(", uniform against best member"), MEMBERS[row["best member"]], *shown])
    return lines


def memory(rows: Rows) -> Lines:
    """Seconds and memory of many members, by system."""
    counts = list(rows["members"])
    systems = rows["members"][counts[0]]["seconds"]
    header = [f"seconds, {count} members" for count in counts] + [f"MiB, {count}" for count in counts]
    lines = [["system", *header, f"MiB, {counts[-1]} over {counts[0]}", f"MiB with copies, {counts[-1]}"]]
    for name in systems:
        seconds = [f"{rows['members'][count]['seconds'][name]:.2f}" for count in counts]
        used = [f"{rows['members'][count]['MiB'][name]:.0f}" for count in counts]
        growth = next(value for key, value in rows.items() if key.startswith("memory of"))[name]
        copies = f"{rows['members'][counts[-1]]['MiB with copies'][name]:.0f}"
        lines.append([name, *seconds, *used, f"{growth:.2f}", copies])
    return lines


def predicted_dice(rows: Rows) -> Lines:
    """How well Dice is foretold, of each dataset and system, and what single signs would say."""
    signs = {"expected_dice": "Dice if probabilities are right", "entropy": "entropy", "disagreement": "disagreement"}
    lines = [["data, system", "judged on", "images", "true Dice", "correlation", "mean error", *signs.values()]]
    for key, row in rows.items():
        for judged, found in row.items():
            if judged != "machine":
                single = [f"{found['signs alone'][sign]:.2f}" if sign in found["signs alone"] else "" for sign in signs]
                true = f"{found['dice']:.3f} ± {found['spread of dice']:.3f}"
                told = [f"**{found['correlation']:.2f}**", f"{found['mean error']:.3f}"]
                lines.append([key, judged, str(found["images"]), true, *told, *single])
    return lines
