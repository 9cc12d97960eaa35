"""A small dataset drawn by the program: stained cells on a slide, their masks and their relief."""

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.data.png import png_bytes
from segkit.errors import UsageError
from segkit.yaml_text import yaml_of

DRAWN = re.compile(r"cells_\d{3,}")  # names of pictures that are drawn here

Array = NDArray[np.float32]

# Optical density of the two stains in red, green and blue: pink cytoplasm, blue-violet nuclei.
EOSIN = np.array([0.10, 0.85, 0.42], dtype=np.float32)
HAEMATOXYLIN = np.array([0.95, 0.88, 0.35], dtype=np.float32)

SLIDE = 3000  # distance of the slide from the camera, in 0.1 mm
HEIGHT = 60  # of the tallest cell, in 0.1 mm


def draw_cells(
    folder: str | Path,
    *,
    images: int = 60,
    size: int = 192,
    seed: int = 0,
    splits: Sequence[float] = (0.7, 0.15, 0.15),
) -> Path:
    """Write a dataset of drawn cells and return its folder: images, 0/1 masks, depth in 0.1 mm, ``dataset.yaml``.

    Cells are deformed ellipses that touch and overlap, some nearly unstained; fibres, bubbles, specks and smears of
    stain are there to be told from them. Light, stain, focus and noise differ from picture to picture. The same
    arguments give the same bytes.

    Args:
        folder: where to write; made if need be.
        images: how many pictures.
        size: their side in pixels.
        seed: of everything drawn.
        splits: shares of train, val and test.

    Raises:
        UsageError: fewer than three pictures, a side below 32, shares that are not three with a sum of 1, or a folder
            that holds another dataset.
    """
    if images < 3 or size < 32:
        raise UsageError(f"drawing cells takes 3 pictures or more of side 32 or more, not {images} of {size}")
    if len(splits) != 3 or min(splits) <= 0 or abs(sum(splits) - 1) > 1e-6:
        raise UsageError(f"splits: expected three positive shares that sum to 1, found {tuple(splits)}")
    folder = Path(folder)
    there = sorted(folder.glob("images/*"))
    if any(not DRAWN.fullmatch(file.stem) for file in there) or ((folder / "dataset.yaml").exists() and not there):
        raise UsageError(f"{folder}: holds a dataset that was not drawn here; choose another folder")
    for part in ("images", "masks", "depth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    names = [f"cells_{number:03d}" for number in range(images)]
    for number, name in enumerate(names):
        image, mask, depth = draw_picture(size, np.random.default_rng([seed, number]))
        _write(folder / "images" / f"{name}.png", image)
        _write(folder / "masks" / f"{name}.png", mask)
        _write(folder / "depth" / f"{name}.png", depth)

    val, test = (max(1, round(share * images)) for share in splits[1:])
    train = max(1, images - val - test)
    description = {
        "name": "cells",
        "task": "binary",
        "classes": ["background", "cell"],
        "depth_unit": "0.1mm",
        "splits": {"train": names[:train], "val": names[train : train + val], "test": names[train + val :]},
    }
    (folder / "dataset.yaml").write_text(yaml_of(description), encoding="utf-8")
    return folder


def draw_picture(
    size: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint16]]:
    """Return one picture: RGB uint8 [S, S, 3], mask uint8 [S, S] of 0 and 1, depth uint16 [S, S] (0.1 mm, 0 = hole)."""
    density = np.zeros((size, size, 3), dtype=np.float32)  # of the stains, summed: where cells overlap it is darker
    relief = np.zeros((size, size), dtype=np.float32)  # 0..1
    mask = np.zeros((size, size), dtype=np.uint8)

    _smears(density, rng)
    for centre, radius in _places(size, rng):
        radial = _radial(size, centre, radius, rng)
        _cell(density, radial, centre, radius, rng)
        mask |= radial < 1
        np.maximum(relief, rng.uniform(0.4, 1) * np.sqrt(np.clip(1 - radial**2, 0, None)), out=relief)
    _bubbles(density, rng)
    _fibres(density, rng)
    _specks(density, rng)
    return _photograph(density, rng), mask, _measure(relief, mask, rng)


def _places(size: int, rng: np.random.Generator) -> list[tuple[tuple[float, float], float]]:
    """Centres and radii; every other cell or so leans on one that is there already."""
    places: list[tuple[tuple[float, float], float]] = []
    unit = 16.0 * max(1.0, size / 384) * min(1.0, size / 96)  # keeps cells a sensible part of very small pictures
    wanted = max(2, int(rng.uniform(0.12, 0.5) * size**2 / (np.pi * unit**2)))
    for _ in range(12 * wanted):
        radius = unit * rng.uniform(0.65, 1.4)
        if places and rng.random() < 0.5:
            (y, x), other = places[rng.integers(len(places))]
            angle, distance = rng.uniform(0, 2 * np.pi), (radius + other) * rng.uniform(0.8, 1.05)
            centre = (y + distance * np.sin(angle), x + distance * np.cos(angle))
        else:
            centre = (rng.uniform(0, size), rng.uniform(0, size))
        inside = all(-0.3 * radius < c < size + 0.3 * radius for c in centre)
        if inside and all(np.hypot(centre[0] - y, centre[1] - x) > 0.75 * (radius + r) for (y, x), r in places):
            places.append((centre, radius))
        if len(places) == wanted:
            break
    return places


def _radial(
    size: int, centre: tuple[float, float], radius: float, rng: np.random.Generator, rough: float = 1.0
) -> Array:
    """[S, S]: distance from the centre over that of the outline in the same direction; below 1 is inside.

    The outline is an ellipse whose radius is deformed by its first few harmonics.
    """
    y, x = np.mgrid[:size, :size].astype(np.float32)
    y, x = y - np.float32(centre[0]), x - np.float32(centre[1])
    angle = np.arctan2(y, x)
    tilt, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.35)
    outline = 1 / np.sqrt((np.cos(angle - tilt) / stretch) ** 2 + (np.sin(angle - tilt) * stretch) ** 2)
    for order in range(2, 7):
        outline += rough * rng.normal(0, 0.11 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.hypot(x, y) / (radius * np.clip(outline, 0.3, None)), dtype=np.float32)


def _cell(density: Array, radial: Array, centre: tuple[float, float], radius: float, rng: np.random.Generator) -> None:
    size = len(radial)
    faint = rng.random() < 0.2
    strength = rng.uniform(0.10, 0.2) if faint else rng.uniform(0.3, 0.8)
    grain = np.clip(1 + 0.3 * _noise(size, 3, rng) + 0.25 * _noise(size, 12, rng), 0.4, None)
    rim = 0.45 * np.exp(-(((radial - 0.93) / 0.07) ** 2))
    body = _inside(radial, radius) * (0.75 + rim) * grain
    density += strength * body[..., None] * (EOSIN + rng.normal(0, 0.06, 3).astype(np.float32))

    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35) * radius
    nucleus = (centre[0] + offset * np.sin(angle), centre[1] + offset * np.cos(angle))
    reach = radius * rng.uniform(0.28, 0.45)
    core = _inside(_radial(size, nucleus, reach, rng, 0.7), reach) * (radial < 1)
    chromatin = np.clip(1 + 0.45 * _noise(size, 2.5, rng), 0.35, None)
    density += strength * rng.uniform(0.8, 1.7) * (core * chromatin)[..., None] * HAEMATOXYLIN


def _inside(radial: Array, radius: float, softness: float = 1.2) -> Array:
    """1 inside an outline, 0 outside, over about two pixels in between."""
    return np.asarray(1 / (1 + np.exp(np.clip((radial - 1) * radius / softness * 3, -30, 30))), dtype=np.float32)


def _smears(density: Array, rng: np.random.Generator) -> None:
    """Stain with no cell under it: clouds without outline or nucleus."""
    size = len(density)
    for _ in range(rng.integers(1, 4)):
        centre, radius = (rng.uniform(0, size), rng.uniform(0, size)), rng.uniform(14, 40)
        cloud = np.exp(-(_radial(size, centre, radius, rng, 1.6) ** 2)) * (1 + 0.5 * _noise(size, 8, rng))
        density += rng.uniform(0.06, 0.22) * cloud[..., None] * EOSIN


def _bubbles(density: Array, rng: np.random.Generator) -> None:
    """Round, hollow and bright within a dark ring."""
    size = len(density)
    for _ in range(rng.poisson(0.8)):
        centre, radius = (rng.uniform(0, size), rng.uniform(0, size)), rng.uniform(5, 15)
        radial = _radial(size, centre, radius, rng, 0.05)
        ring = np.exp(-(((radial - 1) * radius / 1.3) ** 2))
        density *= 1 - 0.6 * _inside(radial, radius)[..., None]
        density += rng.uniform(0.3, 0.7) * ring[..., None] * np.float32(0.7)


def _fibres(density: Array, rng: np.random.Generator) -> None:
    size = len(density)
    for _ in range(rng.poisson(1.0)):
        t = np.linspace(0, 1, 40)
        start, heading, bend = rng.uniform(0, size, 2), rng.uniform(0, 2 * np.pi), rng.uniform(-2.5, 2.5)
        length = rng.uniform(0.3, 0.9) * size
        steps = np.stack([np.cos(heading + bend * t), np.sin(heading + bend * t)], axis=1) * length / len(t)
        points = np.rint((start + np.cumsum(steps, axis=0)) * 16).astype(np.int32)
        drawn = np.zeros((size, size), dtype=np.uint8)
        cv2.polylines(drawn, [points], False, 255, int(rng.integers(1, 4)), cv2.LINE_AA, 4)
        line = cv2.GaussianBlur(drawn, (0, 0), 0.8).astype(np.float32)[..., None] / 255
        density += rng.uniform(0.25, 0.8) * line * (EOSIN + HAEMATOXYLIN) / 2


def _specks(density: Array, rng: np.random.Generator) -> None:
    """Dust and free nuclei, without a cell around them."""
    size = len(density)
    for _ in range(rng.poisson(size**2 / 6000)):
        centre, radius = (rng.uniform(0, size), rng.uniform(0, size)), rng.uniform(1, 4.5)
        speck = _inside(_radial(size, centre, radius, rng, 1.5), radius)
        density += rng.uniform(0.3, 1.2) * speck[..., None] * (HAEMATOXYLIN + rng.normal(0, 0.1, 3).astype(np.float32))


def _photograph(density: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light through the slide (Beer-Lambert), then the lens and the sensor."""
    size = len(density)
    lamp = np.array([0.95, 0.93, 0.94], dtype=np.float32) * (1 + rng.normal(0, 0.025, 3).astype(np.float32))
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    angle, centre = rng.uniform(0, 2 * np.pi), rng.uniform(-0.6, 0.6, 2)
    falloff = rng.uniform(0, 0.09) * (x * np.cos(angle) + y * np.sin(angle))
    falloff -= rng.uniform(0.02, 0.12) * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2)
    glass = 0.04 + 0.04 * np.abs(_noise(size, 24, rng)) + 0.015 * _noise(size, 2, rng)
    stain = rng.uniform(0.6, 1.35)

    light = lamp * np.exp(-stain * density - glass[..., None] * EOSIN) * (1 + falloff)[..., None]
    light = cv2.GaussianBlur(light.astype(np.float32), (0, 0), rng.uniform(0.5, 1.5))
    light = light * rng.uniform(0.85, 1.05)
    shot = rng.normal(0, 1, light.shape) * np.sqrt(np.clip(light, 0, None)) * rng.uniform(0.008, 0.03)
    pixels: NDArray[np.uint8] = np.clip(np.rint((light + shot) * 255), 0, 255).astype(np.uint8)
    return pixels


def _measure(relief: Array, mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint16]:
    """Distance from the camera in 0.1 mm; holes (0) along some steep outlines and in a few patches."""
    size = len(relief)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    tilt = rng.normal(0, 12, 2)
    distance = SLIDE + tilt[0] * x + tilt[1] * y - HEIGHT * cv2.GaussianBlur(relief, (0, 0), 1.0)
    distance += rng.normal(0, 3, distance.shape)
    outline = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    lost = (outline & (_noise(size, 5, rng) > 0.7)) | (_noise(size, 16, rng) > 2.6)
    return np.where(lost, 0, np.rint(distance)).astype(np.uint16)


def _noise(size: int, scale: float, rng: np.random.Generator) -> Array:
    """[S, S] smooth noise of mean 0 and deviation about 1, its blobs about ``scale`` pixels wide."""
    cells = max(2, int(np.ceil(size / scale)) + 1)
    coarse = rng.normal(0, 1.35, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _write(path: Path, pixels: NDArray[np.generic]) -> None:
    path.write_bytes(png_bytes(pixels, path))
