"""Values as one writes them on a command line."""

from __future__ import annotations

__all__ = ["whole_numbers"]

LONGEST = 10**6


def whole_numbers(text: str, option: str) -> list[int]:
    """Numbers separated by commas, each of them once; ``1:5`` is 1 to 5.

    Raises
    ------
    ValueError
        If a word is neither, a range runs backwards, or there are none or more than a million.
    """
    numbers: dict[int, None] = {}
    for word in filter(None, map(str.strip, text.split(","))):
        try:
            first, last = map(int, word.split(":")) if ":" in word else (int(word),) * 2
        except ValueError:
            raise ValueError(f"{option} {text!r} is not a list of whole numbers such as 1,2,3 or 1:3") from None
        if not first <= last < first + LONGEST:
            raise ValueError(
                f"{option} {text!r}: {word} is no range: the first of at most a million numbers comes first"
            )
        numbers |= dict.fromkeys(range(first, last + 1))
    if not numbers:
        raise ValueError(f"{option} {text!r} needs at least one number")
    return list(numbers)
