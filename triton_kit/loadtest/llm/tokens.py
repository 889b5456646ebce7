"""Texts of a number of tokens, and the number of tokens of a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from triton_kit.errors import MissingExtraError, SpecError

# Common words, most of which are one token in the vocabularies of language models.
_TEXT = """the of and to in is you that it he was for on are as with his they at be this
    have from or one had by word but not what all were we when your can said there use
    an each which she do how their if will up other about out many then them these so
    some her would make like him into time has look two more write go see number no way
    could people my than first water been call who oil its now find long down day did
    get come made may part over new sound take only little work know place year live me
    back give most very after thing our just name good sentence man think say great
    where help through much before line right too mean old any same tell boy follow
    came want show also around form three small set put end does another well large
    must big even such because turn here why ask went men read need land different home
    us move try kind hand picture again change off play spell air away animal house
    point page letter mother answer found study still learn should world"""
_WORDS = _TEXT.split()
_TRIES = 8


def words(count: int, generator: np.random.Generator) -> str:
    """Return random words: about as many tokens."""
    return " ".join(generator.choice(_WORDS, count))


class Tokenizer:
    """A tokenizer.json of Hugging Face.

    Raises:
        MissingExtraError: the package `tokenizers` is not installed.
        SpecError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            from tokenizers import Tokenizer as Loaded
        except ImportError as error:
            raise MissingExtraError("--tokenizer", extra="llm") from error
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            self._loaded = Loaded.from_file(str(file))
        except Exception as error:  # the package raises this very class
            raise SpecError(
                f"--tokenizer {file}: {error}",
                hint="the tokenizer.json of the model, from Hugging Face",
            ) from error

    def count(self, text: str) -> int:
        """Return how many tokens a text has, special tokens left out."""
        return len(self._loaded.encode(text, add_special_tokens=False).ids)

    def text_of(self, count: int, generator: np.random.Generator) -> str:
        """Return a text of random words with `count` tokens, as near as it goes.

        Cutting between tokens may change how the text is divided, so the text is
        counted again.
        """
        text = words(count, generator)
        for _ in range(_TRIES):
            ids = self._loaded.encode(text, add_special_tokens=False).ids
            if len(ids) == count:
                break
            if len(ids) < count:
                text += " " + words(count - len(ids), generator)
            else:
                text = self._loaded.decode(ids[:count])
        return text
