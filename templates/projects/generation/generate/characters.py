"""Characters of the texts and of the dates, as numbers.

Training and the served model both import this file, so that they cannot differ.
"""

MAX_CHARACTERS = 32
OUT = "0123456789-$"  # what the network writes; $ ends a date
END = OUT.index("$")


def encode(text: str) -> list[int]:
    """Return ASCII codes in lower case, padded with 0 to 32 of them.

    Raises:
        ValueError: the text is empty, too long, or has other characters than ASCII.
    """
    if not text.strip():
        raise ValueError("empty, expected a date such as 3 March 2021")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters, at most {MAX_CHARACTERS}")
    if not text.isascii():
        raise ValueError(f"{text!r} has characters other than ASCII")
    codes = list(text.lower().encode())
    return codes + [0] * (MAX_CHARACTERS - len(codes))
