"""Which passwords are accepted, and how they are hashed. Needs no database."""

import pytest
from argon2 import PasswordHasher

from errors import InvalidInput
from user import password


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    monkeypatch.setattr(password, "hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.mark.parametrize(
    "text", ["a" * 9, "a" * 129, "🦦" * 9, "e\u0301" * 9, "Password123", "QWERTYUIOP", "1234567890"]
)
def test_short_long_and_common_passwords_are_refused(text):
    with pytest.raises(InvalidInput):
        password.check_policy(text, names=())


@pytest.mark.parametrize("text", ["🦦" * 10, "a" * 128, "e\u0301" * 128, " leading and trailing ", "пароль на Русском"])
def test_length_counts_characters_as_people_do(text):
    assert password.check_policy(text, names=()) == text


@pytest.mark.parametrize("text", ["Blue.Otter.42@sheaf.test", "blue.otter.42", "BLUE-OTTER"])
def test_own_names_are_refused(text):
    with pytest.raises(InvalidInput, match="own name"):
        password.check_policy(text, names=("blue.otter.42@sheaf.test", "blue-otter", None))


def test_the_path_at_fault_is_the_callers():
    with pytest.raises(InvalidInput) as raised:
        password.check_policy(1, names=(), path="new_password")
    assert raised.value.errors == [{"path": "new_password", "message": "must be a string"}]


def test_list_of_common_passwords_holds_those_that_could_be_chosen():
    common = password._common_passwords()
    assert len(common) > 1000
    assert all(len(word) >= password.MIN_CHARACTERS for word in common)
    assert "password123" in common


def test_hash_is_salted_and_only_the_right_password_matches():
    first, second = (password.hash_password("blue otter 42") for _ in range(2))
    assert first != second
    assert password.matches("blue otter 42", first)
    assert not password.matches("Blue otter 42", first)
    assert not password.matches("blue otter 42 ", first)


@pytest.mark.parametrize("stored", [None, "", "x", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=8,t=1,p=1$x$y"])
def test_without_a_usable_hash_nothing_matches(monkeypatch, stored):
    monkeypatch.setattr(password, "_dummy_hash", lambda: password.hash_password("the dummy's own"))
    assert not password.matches("the dummy's own", stored)


def test_hash_with_other_parameters_is_outdated(monkeypatch):
    stored = password.hash_password("blue otter 42")
    assert not password.is_outdated(stored)
    monkeypatch.setattr(password, "hasher", PasswordHasher(time_cost=1, memory_cost=16, parallelism=1))
    assert password.is_outdated(stored)
    assert password.matches("blue otter 42", stored)
