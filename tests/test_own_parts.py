"""Necks and heads of one's own by their place: used where they are what they should be, refused in one line."""

import re

import pytest

from segkit import heads, necks

MODULE = """
from segkit.heads.head import Head
from segkit.necks.neck import Neck


class MyNeck(Neck):
    def __init__(self, channels, strides, scale=1, *, width=4):
        super().__init__()
        self.scale, self.channels, self.strides = scale, (width,), tuple(strides[:1])

    def forward(self, pyramid):
        return [pyramid[0][:, :1].expand(-1, *self.channels, -1, -1)]


class MyHead(Head):
    def __init__(self, channels, stride, classes, scale=1, *, width=4):
        super().__init__()
        self.scale, self.width, self.classes = scale, width, classes

    def forward(self, levels, size):
        return levels[0].new_zeros(len(levels[0]), self.classes, *size)


class UnfinishedNeck(Neck):
    pass


class UnfinishedHead(Head):
    pass


class OpenNeck(MyNeck):
    def __init__(self, channels, strides, **options):
        super().__init__(channels, strides, **options)


class OpenHead(MyHead):
    def __init__(self, channels, stride, classes, **options):
        super().__init__(channels, stride, classes, **options)


class SilentNeck(MyNeck):
    def __init__(self, channels, strides):
        super(Neck, self).__init__()


class BareNeck(MyNeck):
    def forward(self, pyramid):
        return super().forward(pyramid)[0]


class NarrowNeck(MyNeck):
    def forward(self, pyramid):
        return [pyramid[0][:, :1]]


class TextNeck(MyNeck):
    def __init__(self, channels, strides):
        super().__init__(channels, strides)
        self.strides = "4"


class NoNeck(MyNeck):
    def forward(self, pyramid):
        raise KeyError("nothing")


class NoHead(MyHead):
    def forward(self, levels, size):
        raise KeyError("nothing")


class CoarseHead(MyHead):
    def forward(self, levels, size):
        return levels[0][:, : self.classes]
"""
KINDS = pytest.mark.parametrize(
    ("create", "kind"),
    [
        (lambda name, **options: necks.create(name, (4, 8), (4, 8), **options), "neck"),
        (lambda name, **options: heads.create(name, 8, 4, 2, **options), "head"),
    ],
    ids=["neck", "head"],
)


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """Modules of somebody's: `parts_of_one` is as it should be, others are broken when they are imported."""
    (tmp_path / "parts_of_one.py").write_text(MODULE)
    (tmp_path / "lacking.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "wrong.py").write_text("class Broken(:\n")
    monkeypatch.syspath_prepend(tmp_path)


@KINDS
@pytest.mark.parametrize("start", ["My", "Open"])
def test_a_class_of_ones_own_gets_its_options(create, kind, start):
    part = create(f"parts_of_one:{start}{kind.title()}", width=6, scale=3)
    assert type(part).__name__ == f"{start}{kind.title()}"
    assert part.scale == 3
    assert (part.channels[0] if kind == "neck" else part.width) == 6


@KINDS
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("my parts:Mine", "{kind} 'my parts:Mine': expected 'package.module:Class'"),
        (".parts:Mine", "{kind} '.parts:Mine': expected 'package.module:Class'"),
        ("parts_of_one:", "{kind} 'parts_of_one:': expected 'package.module:Class'"),
        (
            "nowhere.parts:Mine",
            "{kind} 'nowhere.parts:Mine': no module 'nowhere' here; install its package, or put the folder that it "
            "lies in on PYTHONPATH",
        ),
        (
            "lacking:Mine",
            "{kind} 'lacking:Mine': 'lacking' can't be imported "
            "(ModuleNotFoundError: No module named 'nothing_of_that_name')",
        ),
        (
            "wrong:Mine",
            "{kind} 'wrong:Mine': 'wrong' can't be imported (SyntaxError: invalid syntax (wrong.py, line 1))",
        ),
        (
            "parts_of_one:M{kind}",
            "{kind} 'parts_of_one:M{kind}': 'parts_of_one' has no class 'M{kind}'; did you mean 'My{Kind}'?",
        ),
        ("parts_of_one:Xyz", "{kind} 'parts_of_one:Xyz': 'parts_of_one' has no class 'Xyz'"),
        ("pathlib:Path", "{kind} 'pathlib:Path': expected a subclass of segkit.{kind}s.{kind}.{Kind}"),
        ("sys:path", "{kind} 'sys:path': expected a subclass of segkit.{kind}s.{kind}.{Kind}"),
        (
            "parts_of_one:Unfinished{Kind}",
            "{kind} 'parts_of_one:Unfinished{Kind}': the class is unfinished, it has no forward",
        ),
    ],
)
def test_what_is_not_a_part_is_said(create, kind, place, message):
    names = {"kind": kind, "Kind": kind.title()}
    with pytest.raises(ValueError, match=re.escape(message.format(**names)) + "$"):
        create(place.format(**names))


@KINDS
def test_an_unknown_option_gets_the_accepted_ones(create, kind):
    place = f"parts_of_one:My{kind.title()}"
    with pytest.raises(ValueError, match=f"{kind} '{place}' has no option 'wide'; it takes: scale, width"):
        create(place, wide=6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BareNeck", "returns a tensor; expected a list of maps, finest first"),
        ("NarrowNeck", "makes [[1, 1, 17, 25]] of an empty image of 65×97; expected [[1, 4, 17, 25]]: level i has"),
        ("TextNeck", "has channels (4,) and strides 4; expected as many whole numbers of each"),
        ("NoNeck", "fails with an empty image of 65×97: 'nothing'"),
        ("NoHead", "fails with an empty image of 65×97: 'nothing'"),
        ("CoarseHead", "makes [[1, 2, 17, 25]] of an empty image of 65×97; expected [[1, 2, 65, 97]]: logits have the"),
    ],
)
def test_what_a_part_returns_is_what_it_says(name, message):
    kind = name[-4:].lower()
    create, given = (necks.create, ((4, 8), (4, 8))) if kind == "neck" else (heads.create, (8, 4, 2))
    with pytest.raises(ValueError, match=re.escape(f"{kind} 'parts_of_one:{name}' {message}")):
        create(f"parts_of_one:{name}", *given)


def test_a_neck_must_say_what_it_returns():
    with pytest.raises(ValueError, match=r"says nothing of what it returns; set self\.channels and self\.strides"):
        necks.create("parts_of_one:SilentNeck", (4,), (4,))


@KINDS
def test_an_unknown_name_tells_how_ones_own_are_named(create, kind):
    with pytest.raises(ValueError, match=r"no (neck|head) is called 'MyPart'.*and yours as package\.module:Class"):
        create("MyPart")
