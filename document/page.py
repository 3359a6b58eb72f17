"""One page of a list: read by keyset in one round trip, cut to its limit, and the token for the next page.

The order is the caller's sort with `_id` as tie-breaker, or `_id` alone. Documents stay raw BSON; of the last one the
values that the sort saw are kept, for the token.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from access.models import Permit
from document import keyset, page_token, tie
from document.collection import open_collection
from document.expression import invalid
from document.keyset import Order
from document.page_token import Place
from document.query import combine
from document.raw import KEYS_FIELD, id_keys, split, take_keys
from document.sort_index import Indexes, indexes_of
from errors import InvalidInput

Document = dict[str, Any]

LENIENT: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
SORTED_BY_DISTANCE = frozenset({"$near", "$nearSphere"})
SEARCHES = SORTED_BY_DISTANCE | {"$text"}
BY_ID: Order = [("_id", 1)]


@dataclasses.dataclass(frozen=True, slots=True)
class Listing:
    """What is asked for: which documents, in which order, which part of them."""

    query: Document
    sort: list[tuple[str, Any]] | None = None
    fields: Document | None = None
    limit: int = 100
    skip: int = 0
    after: str | None = None
    options: Document = dataclasses.field(default_factory=dict)
    """Those of `query.read_options`."""


class Page:
    """Batches of raw BSON to read once; then `next_token` is known.

    With a collation the page stands alone, in the order of the sort: different ids may tie under it, so that no order
    is total, and none can be gone on in.
    """

    def __init__(self, permit: Permit, listing: Listing) -> None:
        self.next_token: str | None = None
        self._permit = permit
        self._listing = listing
        self._place = Place(skip=listing.skip)
        self._stands_alone = "collation" in listing.options
        if listing.after is not None:
            if listing.skip:
                raise invalid("skip", "cannot be sent with after")
            if self._stands_alone:
                raise invalid("after", "cannot be sent with collation")
            self._place = page_token.read(listing.after, self._bound_to())
        self._query = combine(permit, listing.query)
        self._order = None if self._stands_alone else total_order(listing)
        # What it says matters to a sort only; the order by _id needs no index but those that are there.
        self._indexes = indexes_of(permit) if listing.sort or self._hides_id() else Indexes((), False)
        # MongoDB takes a search once in a filter and no expression beside $near, so neither can be said per branch.
        is_search = _names_any(listing.query, SORTED_BY_DISTANCE if self._order == BY_ID else SEARCHES)
        self._is_by_place = is_search or _is_positional(listing.fields) or not self._indexes.is_plain
        if self._place.keys and self._is_by_place:
            raise invalid("fields", "cannot begin to name a position ($) on a later page")

    @property
    def sort(self) -> list[tuple[str, Any]] | None:
        """The order that MongoDB is asked for, where it is asked once."""
        in_sort_only = self._may_read_by_ties() or self._skips_in_sort(self._place)
        return self._listing.sort if in_sort_only else self._order or self._listing.sort

    def next_member(self) -> dict[str, str | None]:
        """`next` as the answer has it, once all batches are read."""
        return {} if self._stands_alone else {"next": self.next_token}

    def __iter__(self) -> Iterator[bytes]:
        """The documents, at most `limit`; a failure after the first batch ends the iteration with it."""
        tied = self._read_by_ties()
        if tied is None:
            yield from self._read()
            return
        self.next_token = self._token(tied.next) if tied.next else None
        if tied.documents:
            yield b"".join(tied.documents)

    def _may_read_by_ties(self) -> bool:
        """Whether an index gives the caller's sort but not the order within ties."""
        order, place = self._order, self._place
        if order is None or len(order) < 2 or place.skip or self._hides_id() or keyset.shared_prefixes(order):
            return False
        return not self._is_by_place and self._gives_sort_only(order)

    def _read_by_ties(self) -> "tie.Part | None":
        """The page, read in the order of the caller's sort alone; None where that does not tell it."""
        order, place = self._order, self._place
        if order is None or not self._may_read_by_ties():
            return None
        source = tie.Source(self._target(), self._query, order, self._listing.fields, self._listing.options)
        part = tie.read(source, place, self._listing.limit)
        # Without a token for the place, the page is read again in the total order, in which places have numbers.
        is_said = part is None or part.next is None or self._token(part.next) is not None
        return part if is_said else None

    def _read(self) -> Iterator[bytes]:
        listing, place = self._listing, self._place
        order: Any = self._order or listing.sort
        in_sort_only = place.in_sort_only or self._skips_in_sort(place)
        is_told = self._order is not None and not in_sort_only and self._indexes.is_plain
        has_keys = is_told and (order != BY_ID or self._hides_id())
        query = self._query
        if place.keys:
            query = self._after(place)
            self._check_shared_array(query)
        cursor: Any = self._target().find_raw_batches(
            query,
            {**(listing.fields or {}), KEYS_FIELD: {"$meta": "sortKey"}} if has_keys else listing.fields,
            sort=listing.sort if in_sort_only else order,
            # limit + 1 tells whether a next page exists without counting.
            limit=listing.limit + 1,
            skip=place.skip,
            # With a batch as large as the limit the server would keep the cursor open for one more, empty round trip.
            batch_size=listing.limit + 2,
            **listing.options,
        )
        left, last = listing.limit, b""
        with cursor:
            for batch in cursor:
                documents = split(batch)
                if len(documents) > left:
                    self.next_token = self._next(last if left == 0 else documents[left - 1], has_keys, in_sort_only)
                kept = documents[:left]
                left -= len(kept)
                if kept:
                    last = kept[-1]
                    yield b"".join([take_keys(one)[0] for one in kept] if has_keys else kept)

    def _next(self, last: bytes, has_keys: bool, in_sort_only: bool) -> str | None:
        """The token for what comes after the raw document `last`; by number where no filter can say it."""
        place = self._place
        if self._stands_alone:
            return None
        if self._order is not None and not in_sort_only and not self._is_by_place:
            keys = take_keys(last)[1] if has_keys else id_keys(last)
            if keys and self._may_be_boundary(keys) and (token := self._token(Place(keys))):
                return token
        skip = place.skip + self._listing.limit
        return self._token(dataclasses.replace(place, skip=skip, in_sort_only=in_sort_only))

    def _may_be_boundary(self, keys: bytes) -> bool:
        values = keyset.read_values(keys)
        if values is None:
            return False
        # With a collation the sort sees codes in place of texts.
        return not (self._indexes.has_collation and any(isinstance(each, (str, RawBSONDocument)) for each in values))

    def _after(self, place: Place) -> Document:
        assert self._order is not None  # noqa: S101 - a signed token has keys only where there is an order
        order = self._order[:-1] if place.ends_tie else self._order
        return keyset.after(self._query, order, keyset.read_values(place.keys) or [])

    def _check_shared_array(self, query: Document) -> None:
        """Refuse to go on where fields of the sort are in one array: the sort pairs them, a filter cannot."""
        names = keyset.shared_prefixes(self._order or [])
        if not names:
            return
        # Nothing is read of the values but whether they are arrays: ids and dates that Python cannot have may be there.
        target = self._target().with_options(codec_options=LENIENT)
        first = target.find_one(query, dict.fromkeys(names, 1), sort=self._order, **self._listing.options)
        if first and any(keyset.meets_array(first, field) for field, _ in self._order or [] if field != "_id"):
            raise InvalidInput(
                f"Sorted by several fields of {names[0]!r}, which is an array in some document, the list cannot be "
                "continued: sort by one of them.",
                [{"path": "sort", "message": "has several fields of an array"}],
            )

    def _gives_sort_only(self, order: Order) -> bool:
        found = self._indexes
        if "hint" in self._listing.options:  # it may be for another index
            return False
        return not found.has_collation and found.gives(self._query, order[:-1]) and not found.gives(self._query, order)

    def _skips_in_sort(self, place: Place) -> bool:
        # Passing over documents has no use for an order within ties, which would cost a sort of the whole collection.
        order = self._order
        return bool(
            place.skip and not place.keys and self._listing.skip and order and len(order) > 1
        ) and self._gives_sort_only(order or [])

    def _token(self, place: Place) -> str | None:
        return page_token.write(place, self._bound_to())

    def _bound_to(self) -> bytes:
        listing = self._listing
        return page_token.fingerprint(self._permit, listing.query, listing.sort, listing.options)

    def _hides_id(self) -> bool:
        """Whether the documents' `_id` is not answered as it is stored: left out, in part, or computed."""
        fields = self._listing.fields or {}
        shown = fields.get("_id", 1)
        is_whole = isinstance(shown, (int, float)) and shown and not any(name.startswith("_id.") for name in fields)
        return not is_whole

    def _target(self) -> Collection[Document]:
        return open_collection(self._permit)


def total_order(listing: Listing) -> Order | None:
    """The sort with `_id` as tie-breaker; None for an order that no filter can follow: of scores, of distances."""
    if not listing.sort:
        return None if _names_any(listing.query, SORTED_BY_DISTANCE) else BY_ID
    order: Order = []
    for field, direction in listing.sort:
        is_position = any(part.isdigit() for part in field.split("."))
        if isinstance(direction, dict) or is_position or field in dict(order):
            return None
        order.append((field, int(direction)))
        if field == "_id":
            return order
    return [*order, ("_id", order[-1][1])]


def _is_positional(fields: Document | None) -> bool:
    """Whether the item that the filter found in an array is asked for: it depends on all of the filter."""
    return any("$" in name.split(".") for name in fields or {})


def _names_any(value: Any, names: frozenset[str]) -> bool:
    if isinstance(value, list):
        return any(_names_any(item, names) for item in value)
    return isinstance(value, dict) and any(name in names or _names_any(item, names) for name, item in value.items())
