"""The grammar of variants: what the parameters of a URL ask for, as one canonical wish."""

from lightfast.spec.canonical import ORIGINAL, canonical, encoded_as, from_canonical
from lightfast.spec.colours import read_colour
from lightfast.spec.parameters import MAX_SIDE, OF_STORED, PARAMETERS, parse_query
from lightfast.spec.wish import LISTED, Rules, Wish, is_negotiated, negotiating, parse_wish, texts_of

__all__ = [
    "LISTED",
    "MAX_SIDE",
    "OF_STORED",
    "ORIGINAL",
    "PARAMETERS",
    "Rules",
    "Wish",
    "canonical",
    "encoded_as",
    "from_canonical",
    "is_negotiated",
    "negotiating",
    "parse_query",
    "parse_wish",
    "read_colour",
    "texts_of",
]
