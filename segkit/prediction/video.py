"""Videos and cameras: frames out of them, and a video of what was found in each frame."""

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.errors import DataError, UsageError
from segkit.files import atomic_path
from segkit.given_path import given_path, why_no_text
from segkit.prediction.settings import Kept

if TYPE_CHECKING:
    from segkit.prediction.predictor import Predictor

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # else FFmpeg prints its own lines before ours

VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv", ".ts")
"""Suffixes of the files read as videos."""

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
"""Suffixes of the videos written, and the codec of each that OpenCV's own packages have."""

COUNTED = (".mp4", ".m4v", ".mov", ".avi")  # formats that hold the number of their frames
FASTEST = 1000  # frames a second that are no unit of time in the place of a rate
USUAL_RATE = 25.0  # of a file that says nothing of it
Picture8 = NDArray[np.uint8]


@dataclass(frozen=True)
class VideoReport:
    """How it went with a video.

    Attributes:
        path: the video written.
        frames: how many.
        height, width: of a frame.
        rate: frames a second when played.
        seconds: that all took.
        p50, p99: milliseconds from asking for a frame to having its overlay, exceeded by half and 1 % of the frames.
    """

    path: Path
    frames: int
    height: int
    width: int
    rate: float
    seconds: float
    p50: float
    p99: float


def frames_of(source: str | Path | int) -> Generator[Picture8, None, None]:
    """RGB frames, uint8 [H, W, 3], of a video's file from beginning to end, or of a camera by its number.

    A camera's frames end when it gives no more, or when the generator is closed.

    Raises:
        DataError: the file or camera can't be opened, has no frame, or the file ends long before it says; what is
            said by a format that doesn't count frames is an estimate, and not believed.
    """
    with _opened(source) as capture:
        claimed = _claimed_frames(capture)
        count = 0
        while True:
            there, frame = capture.read()
            if not there:
                break
            count += 1
            yield np.ascontiguousarray(frame[..., ::-1], np.uint8)
        if count == 0:
            raise DataError(f"{_name(source)}: no frame can be read from it")
        counted = isinstance(source, int) or Path(source).suffix.lower() in COUNTED
        if counted and count < 0.98 * claimed - 1:  # it may be a frame or two off
            raise DataError(f"{_name(source)}: the video is cut short: {count} of {claimed} frames can be read")


def overlay_video(
    predictor: "Predictor",
    source: str | Path,
    out: str | Path,
    *,
    threshold: float | Kept = "kept",
    progress: Callable[[int, int], None] | None = None,
) -> VideoReport:
    """Write a video of each frame with the classes found in it, at the same rate and size.

    The file gets its name when it is whole. Its formats take even sizes only: an odd side's last pixels are repeated.

    Args:
        predictor: says what is found.
        source: a video's file.
        out: the file to write; its suffix says the format, one of ``CODECS``.
        threshold: as in ``Predictor.predict``.
        progress: called after each frame with the number done, and of all as far as the file says it.

    Raises:
        UsageError: ``out`` is the video itself or a folder, is of another format, or can't be written.
        DataError: the video can't be read to its end.
    """
    source, out = given_path(source, "source"), given_path(out, "out")
    if (why := why_no_text(str(out))) is not None:
        raise UsageError(why)
    if out.suffix.lower() not in CODECS:
        raise UsageError(f"{out}: expected a video's name, ending in one of {', '.join(CODECS)}")
    if out.is_dir():
        raise UsageError(f"{out}: a folder; name the video to write")
    if out.exists() and source.exists() and out.samefile(source):
        raise UsageError(f"{out}: this is the video to predict; choose another name")
    with _opened(source) as capture:
        rate, total = capture.get(cv2.CAP_PROP_FPS), _claimed_frames(capture)
    rate = rate if 0 < rate < FASTEST else USUAL_RATE
    begin = time.perf_counter()
    latencies: list[float] = []
    size = (0, 0)
    with atomic_path(out) as temporary, closing(predictor.stream(frames_of(source), threshold=threshold)) as found:
        writer: cv2.VideoWriter | None = None
        try:
            start = time.perf_counter()
            for prediction in found:
                picture = prediction.overlay()
                if writer is not None and picture.shape[:2] != size:
                    height, width = picture.shape[:2]
                    raise DataError(
                        f"{source}: frame {len(latencies)} is {width} × {height}, those before it "
                        f"{size[1]} × {size[0]}; convert it to one size"
                    )
                latencies.append(time.perf_counter() - start)
                if writer is None:
                    size = picture.shape[:2]
                    writer = _writer(temporary, out, rate, size)
                writer.write(cv2.cvtColor(_even(picture), cv2.COLOR_RGB2BGR))
                if progress is not None:
                    progress(len(latencies), max(total, len(latencies)))
                start = time.perf_counter()
        finally:
            if writer is not None:
                writer.release()
        _check_written(temporary, out, len(latencies))
    p50, p99 = (1000 * float(value) for value in np.percentile(latencies, (50, 99)))
    return VideoReport(out, len(latencies), *size, rate, time.perf_counter() - begin, p50, p99)


@contextmanager
def _opened(source: str | Path | int) -> Iterator[cv2.VideoCapture]:
    if not isinstance(source, int):
        if not given_path(source, "source").is_file():
            camera = "; of a camera give its number, as 0" if str(source).startswith("/dev/video") else ""
            raise DataError(f"{source}: no such file{camera}")
        if (why := why_no_text(str(source))) is not None:  # OpenCV would end the process
            raise DataError(why)
    elif source < 0:  # OpenCV ends the process at some
        raise DataError(f"camera {source}: expected its number, 0 or more")
    capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
    try:
        if not capture.isOpened():
            hint = "is it connected and free?" if isinstance(source, int) else "copy it again, or convert it to MP4"
            raise DataError(f"{_name(source)}: can't be opened as a video; {hint}")
        yield capture
    finally:
        capture.release()


def _name(source: str | Path | int) -> str:
    return f"camera {source}" if isinstance(source, int) else str(source)


def _claimed_frames(capture: cv2.VideoCapture) -> int:
    """What the file says of the number of its frames; 0 where it, or a camera, says nothing."""
    count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    return int(count) if 0 < count < 1e9 and 0 < rate < FASTEST else 0


def _writer(temporary: Path, out: Path, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    codec = CODECS[out.suffix.lower()]
    height, width = (side + side % 2 for side in size)
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*codec), rate, (width, height))
    if not writer.isOpened():
        raise UsageError(
            f"{out}: OpenCV can't write it here (codec {codec}, {width} × {height}); try a name ending in .avi"
        )
    return writer


def _check_written(temporary: Path, out: Path, frames: int) -> None:
    """Refuse (UsageError) a file that lacks frames: OpenCV's writer says nothing of a full disk."""
    capture = cv2.VideoCapture(str(temporary))
    there = _claimed_frames(capture)
    capture.release()
    if there < 0.98 * frames - 1:
        raise UsageError(f"{out}: can't be written ({there} of {frames} frames are there); is the disk full?")


def _even(picture: Picture8) -> Picture8:
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
