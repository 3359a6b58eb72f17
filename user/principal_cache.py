"""Who was behind a credential a moment ago: two bounded maps that `user/tokens.py` fills and changes to accounts empty.

Changes made by this process are seen at once (`forget`), those made by others through the watcher.
"""

from bson import ObjectId

import watcher
from cache import MemoryCache
from user.principal import Principal

MAX_ENTRIES = 10_000

# Two maps: a bearer token can then never be taken for a key, whatever it spells.
of_tokens = MemoryCache[Principal](MAX_ENTRIES)
of_keys = MemoryCache[Principal](MAX_ENTRIES)
watcher.keep_true(of_tokens)
watcher.keep_true(of_keys)


def forget(collection: str, *ids: ObjectId) -> None:
    """Prove anew whoever was made from these documents."""
    for each in ids:
        of_tokens.evict((collection, each))
        of_keys.evict((collection, each))
