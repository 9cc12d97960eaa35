import os
import sys

import cv2
import numpy as np
import pytest

from segkit.errors import DataError, UsageError
from segkit.prediction import video
from segkit.prediction.predictor import Predictor
from segkit.prediction.video import frames_of, overlay_video

RED, BLUE = np.array([200, 30, 30], np.uint8), np.array([20, 20, 220], np.uint8)


def folds_of(height=48, width=64):
    """Red on the left, blue on the right."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[:, : width // 2], frame[:, width // 2 :] = RED, BLUE
    return frame


def write(path, frames, rate=12.5):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*video.CODECS[path.suffix]), rate, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture
def clip(tmp_path):
    return write(tmp_path / "clip.mp4", [folds_of()] * 6)


def rate_of(path):
    return cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)


def test_frames_of_a_file_are_rgb_from_beginning_to_end(clip):
    frames = list(frames_of(clip))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 6
    assert np.abs(frames[0][10, 10].astype(int) - RED).max() < 20
    assert np.abs(frames[5][10, 50].astype(int) - BLUE).max() < 20


@pytest.mark.parametrize("suffix", list(video.CODECS))
def test_the_overlay_keeps_rate_and_size(binary, clip, tmp_path, suffix):
    seen = []
    out = tmp_path / f"out{suffix}"
    report = overlay_video(Predictor(binary), clip, out, progress=lambda done, total: seen.append((done, total)))
    assert (report.frames, report.height, report.width, report.rate) == (6, 48, 64, 12.5)
    assert 0 < report.p50 <= report.p99
    assert report.p50 * 6 / 2 < 1000 * report.seconds
    assert seen == [(number, 6) for number in range(1, 7)]
    assert rate_of(out) == 12.5
    frames = list(frames_of(out))
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 6
    expected = Predictor(binary).predict(next(frames_of(clip))).overlay()
    assert np.abs(frames[0].astype(int) - expected).mean() < 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", f"out{suffix}"]


def test_the_threshold_is_the_one_asked_for(binary, clip, tmp_path):
    overlay_video(Predictor(binary), clip, tmp_path / "none.mp4", threshold=1.0)
    assert np.abs(next(frames_of(tmp_path / "none.mp4"))[24, 10].astype(int) - RED).max() < 25


def test_an_odd_side_gets_its_last_pixels_again(binary, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "frames_of", lambda _: iter([folds_of(47, 63)] * 3))
    clip = write(tmp_path / "clip.mp4", [folds_of()])
    report = overlay_video(Predictor(binary), clip, tmp_path / "out.avi")
    assert (report.height, report.width) == (47, 63)
    assert next(iter(cv2_frames(tmp_path / "out.avi"))).shape == (48, 64, 3)


def cv2_frames(path):
    capture = cv2.VideoCapture(str(path))
    while (read := capture.read())[0]:
        yield read[1]


@pytest.mark.parametrize("content", [b"", b"hello, I am text" * 99])
def test_what_is_no_video_is_said_in_one_line(binary, tmp_path, content, capfd):
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(DataError) as refused:
        overlay_video(Predictor(binary), tmp_path / "clip.mp4", tmp_path / "out.mp4")
    path = tmp_path / "clip.mp4"
    assert str(refused.value) == f"{path}: can't be opened as a video; copy it again, or convert it to MP4"
    assert capfd.readouterr().err == ""
    assert not (tmp_path / "out.mp4").exists()


def test_a_video_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"clip\.mp4: no such file"):
        next(frames_of(tmp_path / "clip.mp4"))


def test_a_video_without_frames_and_one_cut_short(binary, tmp_path):
    whole = write(tmp_path / "whole.avi", [folds_of()] * 40).read_bytes()
    first = whole.index(b"00dc")
    (tmp_path / "empty.avi").write_bytes(whole[:first])
    with pytest.raises(DataError, match=r"empty\.avi: (no frame can be read from it|can't be opened as a video)"):
        list(frames_of(tmp_path / "empty.avi"))
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.avi: the video is cut short: \d+ of 40 frames can be read"):
        overlay_video(Predictor(binary), tmp_path / "cut.avi", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_the_video_itself_is_never_overwritten(binary, clip):
    with pytest.raises(UsageError, match=r"clip\.mp4: this is the video to predict; choose another name"):
        overlay_video(Predictor(binary), clip, clip)


def test_a_format_that_is_not_written_is_refused(binary, clip, tmp_path):
    with pytest.raises(UsageError, match=r"out\.webm: expected a video's name, ending in one of \.mp4, \.m4v"):
        overlay_video(Predictor(binary), clip, tmp_path / "out.webm")


def test_a_codec_that_is_not_there(binary, clip, tmp_path, monkeypatch):
    monkeypatch.setitem(video.CODECS, ".mp4", "zzzz")
    with pytest.raises(UsageError, match=r"out\.mp4: OpenCV can't write it here \(codec zzzz, 64 × 48\); try a name"):
        overlay_video(Predictor(binary), clip, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_video_that_could_not_be_written_in_full_is_no_result(binary, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_claimed_frames", lambda _: 3)
    with pytest.raises(UsageError, match=r"out\.mp4: can't be written \(3 of 6 frames are there\); is the disk full\?"):
        overlay_video(Predictor(binary), clip, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


class Camera:
    """A camera that gives three frames; number 0 alone is connected."""

    released = 0

    def __init__(self, number):
        self.number, self.left = number, 3

    def isOpened(self):  # noqa: N802  OpenCV's name
        return self.number == 0

    def get(self, _):
        return -1.0

    def read(self):
        self.left -= 1
        return (True, folds_of()[..., ::-1]) if self.left >= 0 else (False, None)

    def release(self):
        Camera.released += 1


def test_frames_of_a_camera_are_predicted_as_they_come(binary, monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    found = list(Predictor(binary).stream(frames_of(0)))
    assert [prediction.name for prediction in found] == ["frame_000000", "frame_000001", "frame_000002"]
    np.testing.assert_array_equal(found[0].labels, Predictor(binary).predict(folds_of()).labels)
    assert Camera.released == 1
    with pytest.raises(DataError, match=r"camera 1: can't be opened as a video; is it connected and free\?"):
        next(frames_of(1))


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="names of files are text there")
def test_a_name_that_is_no_text_is_refused(binary, clip, tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.mp4")
    said = r"bad\\xff\.mp4: the name is no text in UTF-8; rename the file$"
    with pytest.raises(UsageError, match=said):
        overlay_video(Predictor(binary), clip, odd)
    clip.rename(odd)
    with pytest.raises(DataError, match=said):
        next(frames_of(odd))


def test_what_names_no_video_is_one_line(binary, clip, tmp_path):
    with pytest.raises(UsageError, match="source: got int; expected the name of a file or folder"):
        overlay_video(Predictor(binary), 0, tmp_path / "out.mp4")
    with pytest.raises(UsageError, match="source: got NoneType; expected"):
        next(frames_of(None))


def test_a_folder_in_the_place_of_the_video_to_write_is_refused_first(binary, clip, tmp_path):
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(UsageError, match=r"dir\.mp4: a folder; name the video to write"):
        overlay_video(Predictor(binary), clip, tmp_path / "dir.mp4")
    assert binary.sizes == []


def test_a_camera_below_0_is_refused():
    with pytest.raises(DataError, match=r"^camera -1: expected its number, 0 or more$"):
        next(iter(frames_of(-1)))
