"""Text from outside as one line that is safe to print, write down and show."""

import unicodedata

MOST_CHARACTERS = 300  # of a text that a site sends; what is longer is cut, and ends in "..."


def one_line(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text without control and format characters, at most `most` characters of it.

    Terminals act on some of these characters (they move the cursor, or reverse what follows),
    and a line end would let a site write lines of its own into a log.
    """
    # Only as much as is kept is looked at: a site may send megabytes.
    kept = text[: most + 1]
    clean = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in kept)
    return f"{clean[: most - 3]}..." if len(kept) > most else clean
