"""The good files that damaged ones are made of: drawn ones, and what is small of real datasets."""

import shutil
from pathlib import Path

import cv2
import SimpleITK
import torch
import yaml

import segkit
from segkit.data.synthetic import draw_cells
from segkit.medical.synthetic_volumes import draw_study, draw_volumes

CONFIGS = Path(__file__).parent.parent / "configs"


def make_good(place: Path) -> dict[str, list[Path]]:
    """The folders that inputs are made of, by target."""
    place.mkdir(parents=True)
    cells = draw_cells(place / "dataset", images=6, size=32)
    pictures = place / "picture"
    pictures.mkdir()
    image = cv2.imread(str(next((cells / "images").iterdir())))
    for suffix in ("png", "jpg", "tif", "webp", "bmp"):
        cv2.imwrite(str(pictures / f"cells.{suffix}"), image)
    body = draw_volumes(place / "bodies", cases=3, shape=(12, 10, 6), spacing=(30, 30, 30))
    nifti = next((body / "images").iterdir())
    shutil.copy(nifti, pictures / "body.nii.gz")
    volume = SimpleITK.ReadImage(str(nifti))
    for name in ("body.nrrd", "body.mha", "body.mhd"):
        SimpleITK.WriteImage(volume, str(pictures / name))
    draw_study(pictures / "study", shape=(12, 10, 6), spacing=(30, 30, 30))
    (place / "recipe").mkdir()
    for recipe in CONFIGS.glob("*.yaml"):
        shutil.copy(recipe, place / "recipe" / recipe.name)
    torch.manual_seed(0)
    model = segkit.Segmenter.create({"name": "stem", "width": 2}, neck="unet", classes=["background", "cell"])
    segkit.save(segkit.Ensemble([model, model], names=["a", "b"]).eval(), place / "model")
    return {name: [place / name] for name in ("recipe", "dataset", "model", "picture")}


def add_real(place: Path, data: Path, good: dict[str, list[Path]]) -> None:
    """Add to the good folders what is small of real datasets: of each a picture a split, and pictures of all."""
    pictures, series = place / "picture", place / "picture" / "study"
    series.mkdir(parents=True)
    for source in sorted(path for path in data.iterdir() if path.is_dir()):
        if not (source / "dataset.yaml").is_file():
            for number, file in enumerate(sorted(source.glob("images/*.dcm"))):
                shutil.copyfile(file, (series if number < 3 else pictures) / file.name)
            continue
        description = yaml.safe_load((source / "dataset.yaml").read_text())
        splits = {name: stems[:1] for name, stems in description["splits"].items()}
        (place / source.name).mkdir()
        (place / source.name / "dataset.yaml").write_text(yaml.safe_dump({**description, "splits": splits}))
        stems = {stem for listed in splits.values() for stem in listed}
        for file in source.glob("*/*"):
            if file.name.split(".")[0] in stems:
                (place / source.name / file.parent.name).mkdir(exist_ok=True)
                shutil.copyfile(file, place / source.name / file.parent.name / file.name)
        shown = min((place / source.name / "images").iterdir())
        shutil.copyfile(shown, pictures / f"{source.name}_{shown.name}")
        good["dataset"].append(place / source.name)
    good["picture"].append(pictures)
