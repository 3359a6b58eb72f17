"""Limits on guessing and flooding: failed passwords and e-mails per account and per address, sign-ups per address.

Counted in the service's database, so that they hold across processes and hosts. A window begins with the first failure.
"""

import hashlib
import ipaddress
import time
from collections.abc import Callable
from typing import Any

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage.mongodb import MongoDBStorageBase
from limits.strategies import FixedWindowRateLimiter
from pymongo import MongoClient, WriteConcern
from pymongo.collection import Collection

import database
from errors import TooManyRequests
from settings import config

# An account may fail so many times more often from everywhere together than from one address.
EVERYWHERE_FACTOR = 10
MAILS_PER_HOUR_TO_ACCOUNT = 5
MAILS_PER_HOUR_FROM_ADDRESS = 50
HOUR_SECONDS = 3600
COLLECTION = "attempts"


class ServiceStorage(MongoDBStorageBase):
    """limits' storage for MongoDB on this process's client, which it neither opens nor closes.

    Its index, which lets old counts expire, is made by migration m0001.
    """

    STORAGE_SCHEME = ["service"]  # noqa: RUF012 -- limits declares it as an attribute of instances

    def __init__(self) -> None:
        super().__init__("service://")

    @property
    def storage(self) -> Any:
        """The client of now: it is another one after a fork."""
        return database.client()

    @property
    def counters(self) -> Any:
        """The counts; losing a few in a failover is better than waiting for a majority on every sign-in."""
        counts: Collection[dict[str, Any]] = database.service()[COLLECTION]
        return counts.with_options(write_concern=WriteConcern(w=1))

    def clear(self, key: str) -> None:
        """Forget one count; of the other kinds of windows that `limits` has, none is used here."""
        self.counters.delete_one({"_id": key})

    def _init_mongo_client(self, uri: str | None, **options: int | str | bool) -> MongoClient[dict[str, Any]]:
        return database.client()

    def __del__(self) -> None:
        """The client is not ours to close."""


_limiter = FixedWindowRateLimiter(ServiceStorage())


def admit(account: str, address: str, knows_address: Callable[[], bool]) -> None:
    """Count an attempt against the account and the address, or raise TooManyRequests. A right password then `forgive`s.

    Counted before the password is looked at, so that attempts at the same time cannot outrun the limit. Whoever hammers
    an account from one address locks out that address only. Hammering from many locks the account, but not for
    addresses at which it is signed in.
    """
    account, network = _digest(account), _network(address)
    _hit(_per_address(), "address", network)
    _hit(_per_account(), "pair", account, network)
    if not _limiter.hit(_everywhere(), "account", account) and not knows_address():
        raise _refusal(_everywhere(), "account", account)


def forgive(account: str, address: str) -> None:
    """The password was right: the account's failures are forgotten, and the address's count is as before."""
    account, network = _digest(account), _network(address)
    _limiter.clear(_per_account(), "pair", account, network)
    _limiter.clear(_everywhere(), "account", account)
    item = _per_address()
    _limiter.storage.incr(item.key_for("address", network), item.get_expiry(), amount=-1)


def admit_sign_up(address: str) -> None:
    """Count a sign-up, whatever becomes of it, or raise TooManyRequests."""
    _hit(RateLimitItemPerSecond(config.sign_ups_per_address, HOUR_SECONDS), "sign-up", _network(address))


def admit_mail(account: str, address: str) -> None:
    """Count an e-mail asked for `account`, whether or not there is such a one, or raise TooManyRequests."""
    _hit(_mails_from_address(), "mail-address", _network(address))
    _hit(_mails_to_account(), "mail-account", _digest(account))


def has_room_for_mail(account: str, address: str | None = None) -> bool:
    """Count an e-mail, as `admit_mail` does; False when the account is sent, or the address asks for, too many."""
    if address is not None and not _limiter.hit(_mails_from_address(), "mail-address", _network(address)):
        return False
    return _limiter.hit(_mails_to_account(), "mail-account", _digest(account))


def _hit(item: RateLimitItem, *identifiers: str) -> None:
    if not _limiter.hit(item, *identifiers):
        raise _refusal(item, *identifiers)


def _refusal(item: RateLimitItem, *identifiers: str) -> TooManyRequests:
    seconds = max(1, round(_limiter.get_window_stats(item, *identifiers).reset_time - time.time()))
    return TooManyRequests(f"Too many attempts; try again in {seconds} seconds.", seconds)


def _per_account() -> RateLimitItem:
    return RateLimitItemPerSecond(config.failures_per_account, config.failure_window_seconds)


def _everywhere() -> RateLimitItem:
    return RateLimitItemPerSecond(config.failures_per_account * EVERYWHERE_FACTOR, config.failure_window_seconds)


def _per_address() -> RateLimitItem:
    return RateLimitItemPerSecond(config.failures_per_address, config.failure_window_seconds)


def _mails_from_address() -> RateLimitItem:
    return RateLimitItemPerSecond(MAILS_PER_HOUR_FROM_ADDRESS, HOUR_SECONDS)


def _mails_to_account() -> RateLimitItem:
    return RateLimitItemPerSecond(MAILS_PER_HOUR_TO_ACCOUNT, HOUR_SECONDS)


def _digest(account: str) -> str:
    """The account as it is kept here: people type passwords where a name belongs."""
    return hashlib.sha256(account.encode()).hexdigest()


def _network(address: str) -> str:
    """What one subscriber has: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
