"""Which variant a request is for, and whether it may have it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from lightfast.errors import Forbidden
from lightfast.http.fields import Fields
from lightfast.http.negotiation import ACCEPT_CH, HINTS, apply_hints
from lightfast.serving import VARY, Headers
from lightfast.signing import Scheme, verify
from lightfast.spec import OF_STORED, Rules, Wish, is_negotiated, negotiating, parse_wish, texts_of
from lightfast.web.answering import Pairs


@dataclass(frozen=True, slots=True)
class VariantPolicy:
    """What the operator has set up."""

    rules: Rules
    open: bool
    """Whether everyone may have every variant."""
    keys: tuple[str, ...]
    scheme: Scheme
    auto_format: bool
    """Whether the client's Accept chooses the format wherever the URL does not."""
    hints: bool
    """Whether client hints count."""
    public_path: Callable[[], str] = str
    """What stands before ``/images/…`` in the URLs that are handed out. A proxy or a mount may have taken it off, in
    whole or in part, or put something else there."""

    def parameters(self, pairs: Pairs) -> Pairs:
        """``pairs`` with what is set up for all. A URL that only names a version is that of the stored bytes."""
        if not self.auto_format or (pairs and all(name in OF_STORED for name, _ in pairs)):
            return pairs
        return negotiating(pairs, self.rules)

    def vary(self, pairs: Pairs) -> str:
        """What the answers to a request with these ``parameters`` depend on; told before they are known to be right."""
        fields = [VARY]
        if is_negotiated(texts_of(pairs, self.rules)):
            fields.append("Accept")
        if self.hints and self._is_for_variant(pairs):
            fields += HINTS
        return ", ".join(fields)

    def headers(self, pairs: Pairs) -> Headers:
        """What asks the client for its hints."""
        return [("accept-ch", ACCEPT_CH)] if self.hints and self._is_for_variant(pairs) else []

    def wish(self, pairs: Pairs, path: str, query: str, fields: Fields, now: float) -> tuple[Wish, float | None]:
        """What the ``parameters`` of a request ask for, and the moment from which its URL is no longer good.

        ``path`` and ``query`` as sent. Raises ``InvalidRequest``, and ``Forbidden`` where a signature is missing or
        wrong.
        """
        wish, until = parse_wish(pairs, self.rules), None
        # What is signed though it need not be is held to its word, and to its end.
        is_signed = bool(self.keys) and any(name == "s" for name, _ in pairs)
        if is_signed or (wish.restriction is not None and not self.open):
            until = self._check(wish.restriction or "What is signed must be signed rightly.", path, query, now)
        if self.hints and wish.variant is not None:
            hinted = parse_wish(apply_hints(pairs, fields, self.rules.sizes), self.rules)
            # What a URL may not ask for without a signature, hints don't bring it to.
            if self.open or wish.restricted or not hinted.restricted:
                wish = hinted
        return wish, until

    def _check(self, reason: str, path: str, query: str, now: float) -> float | None:
        try:
            return self._verify(path, query, now)
        except Forbidden as error:
            raise Forbidden(f"{reason} {error}") from error

    def _verify(self, path: str, query: str, now: float) -> float | None:
        _, mark, name = path.rpartition("/images/")
        handed_out = f"{self.public_path()}{mark}{name}"
        if handed_out == path:
            return verify(path, query, self.keys, now, self.scheme)
        try:
            return verify(handed_out, query, self.keys, now, self.scheme)
        except Forbidden as error:
            with suppress(Forbidden):
                return verify(path, query, self.keys, now, self.scheme)
            raise error from None

    def _is_for_variant(self, pairs: Pairs) -> bool:
        return any(name not in OF_STORED for name, _ in pairs)
