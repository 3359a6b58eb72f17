"""Who is asking: the one value that every permission decision is made from."""

import dataclasses
from typing import Literal

from bson import ObjectId


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """A caller as the credentials of one request prove them. A key acts for the user who made it, and never as more."""

    kind: Literal["anonymous", "user", "key"]
    user_id: ObjectId | None = None
    roles: frozenset[str] = frozenset()
    session_id: ObjectId | None = None
    key_id: ObjectId | None = None
    is_read_only: bool = False

    @property
    def is_admin(self) -> bool:
        """Whether the user behind the credential has the role `admin`."""
        return "admin" in self.roles

    @property
    def is_anonymous(self) -> bool:
        """Whether no credential was sent."""
        return self.kind == "anonymous"


ANONYMOUS = Principal("anonymous")
