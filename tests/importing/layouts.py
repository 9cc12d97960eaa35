"""Small datasets in others' layouts."""

import json

import cv2
import nibabel
import numpy as np

AFFINE = np.array([[-1.5, 0, 0, 30], [0, 2, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1.0]])


def write_json(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return path


def write_png(path, pixels):
    """Grey [H, W], or RGB [H, W, 3]; the suffix may name another format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(pixels)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    return path


def write_nifti(path, values, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def read_nifti(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def picture(height=12, width=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ids(height=12, width=16, classes=3, seed=0):
    """Every class is there."""
    found = np.random.default_rng(seed).integers(0, classes, (height, width), dtype=np.uint8)
    found[0, :classes] = range(classes)
    return found


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def nnunet_pictures(folder, *, cases=6, classes=3, **changes):
    """Version 2, in PNG: RGB pictures with class ids."""
    names = {"background": 0, **{f"class_{number}": number for number in range(1, classes)}}
    about = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": names,
        "file_ending": ".png",
        "numTraining": cases,
    }
    write_json(folder / "dataset.json", {key: value for key, value in (about | changes).items() if value is not None})
    for number in range(cases):
        write_png(folder / "imagesTr" / f"cell_{number}_0000.png", picture(seed=number))
        write_png(folder / "labelsTr" / f"cell_{number}.png", ids(classes=classes, seed=number))
    return folder


def nnunet_volumes(folder, *, cases=3, channels=("CT",), dtype=np.int16, **changes):
    """Version 2, in NIfTI: volumes with ids 0, 1 and 2."""
    about = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": {"background": 0, "liver": 1, "tumour": 2},
        "file_ending": ".nii.gz",
    }
    write_json(folder / "dataset.json", {key: value for key, value in (about | changes).items() if value is not None})
    for number in range(cases):
        for channel in range(len(channels)):
            write_nifti(folder / "imagesTr" / f"case_{number}_{channel:04d}.nii.gz", volume(number, channel, dtype))
        write_nifti(folder / "labelsTr" / f"case_{number}.nii.gz", labels(number))
    return folder


def volume(number, channel=0, dtype=np.int16):
    rng = np.random.default_rng([number, channel])
    return rng.integers(-1000 if np.dtype(dtype).kind != "u" else 0, 1000, (4, 5, 6)).astype(dtype)


def labels(number, classes=3):
    found = np.random.default_rng(number).integers(0, classes, (4, 5, 6), dtype=np.uint8)
    found[0, 0, :classes] = range(classes)
    return found
