import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segkit.contrasting.tokens import BYTES, PADDING, START, WORDS, Tokenizer, pieces
from segkit.errors import UsageError

CAPTIONS = ["A photo of a cat.", "a photo of a dog.", "A cat and a dog", "ein Hund"]


def spelt(word):
    return [BYTES + byte for byte in f" {word}".encode()]


def test_words_seen_twice_are_known_the_most_frequent_first():
    tokenizer = Tokenizer.fit(CAPTIONS)
    assert tokenizer.words == ("a", ".", "cat", "dog", "of", "photo")
    assert len(tokenizer) == 2 + 256 + 6
    assert Tokenizer.fit(CAPTIONS, size=2).words == ("a", ".")


def test_a_known_word_is_one_token_and_an_unknown_one_its_bytes():
    ids, mask = Tokenizer.fit(CAPTIONS)(["A Dog", "a fox"])
    assert ids[0].tolist() == [START, WORDS, WORDS + 3, *[PADDING] * 3]
    assert ids[1].tolist() == [START, WORDS, *spelt("fox")]
    assert mask[0].tolist() == [True] * 3 + [False] * 3
    assert mask[1].all()


def test_one_spelling_of_capitals_ligatures_and_full_width_letters():
    assert pieces("The ﬁrst Straße, ＡＢＣ") == ["the", "first", "strasse", ",", "abc"]


def test_other_scripts_are_spelt():
    ids, _ = Tokenizer([])(["犬 🐶"])
    assert ids[0].tolist() == [START, *spelt("犬"), *spelt("🐶")]


@given(st.lists(st.text(max_size=20), max_size=4))
def test_any_text_has_tokens_in_range_and_no_two_texts_of_words_the_same(texts):
    tokenizer = Tokenizer.fit(CAPTIONS, length=200)
    ids, mask = tokenizer(texts)
    assert ids.dtype == torch.int64
    assert mask.dtype == torch.bool
    assert ids.shape == mask.shape
    assert (ids < len(tokenizer)).all()
    assert ((ids != PADDING) == mask).all()
    rows = {tuple(row[there].tolist()) for row, there in zip(ids, mask, strict=True)}
    assert len(rows) == len({tuple(pieces(text)) for text in texts})


def test_what_is_too_long_is_cut_off_and_said():
    tokenizer = Tokenizer.fit(CAPTIONS, length=3)
    assert tokenizer(["a cat and a dog"]).ids.tolist() == [[START, WORDS, WORDS + 2]]
    assert tokenizer.cuts("a cat and")
    assert not tokenizer.cuts("a cat")


def test_a_share_of_the_known_words_is_spelt_and_the_same_for_the_same_draws():
    tokenizer = Tokenizer.fit(CAPTIONS, length=2000)
    texts = ["cat " * 500]
    drawn = [tokenizer(texts, spell=0.2, generator=np.random.default_rng(seed)).ids for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    known = int((drawn[0] == WORDS + 2).sum())
    assert 360 < known < 440
    assert int(tokenizer(texts).mask.sum()) == 501


def test_wrong_vocabularies_are_refused():
    with pytest.raises(UsageError, match="'cat' is in the vocabulary twice"):
        Tokenizer(["cat", "dog", "cat"])
    with pytest.raises(UsageError, match="length=1"):
        Tokenizer(["cat"], length=1)


def test_half_a_character_is_spelt_as_a_question_mark():
    tokenizer = Tokenizer(())
    assert torch.equal(tokenizer(["\ud800"]).ids, tokenizer(["?"]).ids)
