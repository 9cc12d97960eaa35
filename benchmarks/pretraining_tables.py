"""Tables of ``docs/results.md`` on what is learnt without masks: classes, captions, colour and depth."""

from statistics import mean

from table_parts import Lines, Rows, differences, of_seeds, with_spread


def captions(rows: Rows) -> Lines:
    found = of_seeds(rows, "without bird, horse, truck; 14 epochs, seed {seed}")
    shown = [
        ("7 seen classes", "wordings of training", "seen classes, wordings of training, together", "seen classes"),
        ("7 seen classes", "other wordings, averaged", "seen classes, held-out wordings, together", "seen classes"),
        (
            "7 seen classes",
            "other wordings, one at a time",
            "seen classes, held-out wordings, one at a time",
            "seen classes",
        ),
        ("3 held-out classes", "their attributes", "held-out classes, by attributes", "held-out classes"),
        ("3 held-out classes", "their names, never seen", "held-out classes, by names never seen", "held-out classes"),
        (
            "all 10, images of held-out classes",
            "their attributes",
            "held-out classes among all, by attributes",
            "held-out classes among all",
        ),
        ("all 10, all images", "names and attributes", "all classes, by names and attributes", None),
    ]
    lines = [["which of", "said by", "accuracy", "chance"]]
    for classes, words, key, chance in shown:
        by_chance = 0.1 if chance is None else found[0][f"{chance}, chance"]
        lines.append([classes, words, with_spread([row[key] for row in found]), f"{by_chance:.3f}"])
    return lines


def fusion(rows: Rows) -> Lines:
    names = {
        "swin": "Swin",
        "resnet50": "ResNet50",
        "uniform": "mean of both",
        "score": "weighted by accuracy on val",
        "member": "weights fitted, one a member",
        "class": "weights fitted, one a member and class",
        "early": "features of both under a joint head",
    }
    lines = [["system", "accuracy", "NLL", "ECE", "NLL as trained", "ECE as trained", "seeds"]]
    for key, name in names.items():
        found = of_seeds(rows, f"8 epochs, seed {{seed}}, {key}")
        scores = ("accuracy", "nll", "ece", "nll as trained", "ece as trained")
        shown = [with_spread([row[score] for row in found if score in row]) for score in scores]
        lines.append([name, *shown, str(len(found))])
    return lines


def cifar10(rows: Rows) -> Lines:
    header = ["run", "passes", "minutes", "images/s", "top-1 on val", "top-1", "top-5", "NLL", "ECE"]
    lines = [header]
    for name, row in rows.items():
        test = row["test"]
        lines.append(
            [
                name,
                str(row["epochs"]),
                f"{row['minutes']:.1f}",
                f"{row['images per second']:.0f}",
                f"{row['validation']['top1']:.4f}",
                *(f"{test[score]:.4f}" for score in ("top1", "top5")),
                *(f"{test[score]:.3f}" for score in ("nll", "ece")),
            ]
        )
    return lines


def cifar10_speed(rows: Rows) -> Lines:
    lines = [["work", "segkit, images/s", "timm, images/s", "segkit over timm"]]
    for name, row in rows.items():
        if isinstance(row, dict) and "ratio" in row:
            found = row["images per second"]
            lines.append([name, f"{found['segkit']:.0f}", f"{found['timm']:.0f}", f"{row['ratio']:.2f}"])
    return lines


def retrieval(rows: Rows) -> Lines:
    found = of_seeds(rows, "pretrain, seed {seed}")
    header = [
        "split",
        "pictures",
        "chance",
        "R@1",
        "times chance",
        "R@5",
        "R@1 by the holes' shape alone",
        "same place",
    ]
    lines = [header]
    for split in (name for name, value in found[0].items() if isinstance(value, dict) and "chance" in value):
        each = [row[split] for row in found]
        r1, alone = [row["r1"] for row in each], [row["validity alone"]["r1"] for row in each]
        chance = each[0]["chance"]
        lines.append(
            [
                split,
                str(each[0]["pictures"]),
                f"{chance:.4f}",
                with_spread(r1),
                f"{mean(r1) * each[0]['pictures']:.0f}",
                with_spread([row["r5"] for row in each]),
                with_spread(alone),
                with_spread([row["dense_r1"] for row in each]),
            ]
        )
    return lines


def started(rows: Rows) -> Lines:
    lines = [["masks of", "both backbones from", "IoU", "F1", "NLL", "seeds"]]
    for few, masks in (("", "200 pictures"), ("few ", "21 pictures")):
        for system, start in (("scratch", "random weights"), ("pretrained", "the shared space of that seed")):
            found = of_seeds(rows, f"{few}{system}, seed {{seed}}")
            scores = [with_spread([row[score] for row in found]) for score in ("iou", "f1", "nll")]
            lines.append([masks, start, *scores, str(len(found))])
        row = rows[f"{few}pretrained minus {few}scratch"]
        lines.append([masks, "the latter minus the former, 95 % interval", *differences(row), str(row["seeds"])])
    return lines
