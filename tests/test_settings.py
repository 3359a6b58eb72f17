"""Settings: every one documented, every wrong one refused by name."""

import dataclasses
import stat
from pathlib import Path

import pytest

import settings
import settings_reference
from settings import ROOT, Settings, SettingsError

NAMES = [field.metadata["name"] for field in dataclasses.fields(Settings)]
SECRET = "s" * 32


def load(**environ: str) -> Settings:
    return settings.load(environ, env_file=None)


def test_without_any_setting_the_defaults_hold() -> None:
    assert load() == Settings()


def test_documented_table_is_the_one_the_code_prints() -> None:
    assert settings_reference.as_table() in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_example_file_is_the_one_the_code_prints() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == settings_reference.as_example()


def test_example_file_with_every_line_in_force_is_accepted(tmp_path: Path) -> None:
    lines = settings_reference.as_example().splitlines()
    active = [line.removeprefix("#") for line in lines if line.removeprefix("#").split("=")[0] in NAMES]
    (tmp_path / ".env").write_text("\n".join(active))
    assert len(active) == len(NAMES)
    assert settings.load({}, env_file=tmp_path / ".env") == Settings()


def test_environment_comes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1111\nSHEAF_THREADS=3\n")
    loaded = settings.load({"PORT": "2222"}, env_file=tmp_path / ".env")
    assert (loaded.port, loaded.threads) == (2222, 3)


def test_unknown_setting_is_named_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"SHEAF_THREDS.*SHEAF_THREADS"):
        load(SHEAF_THREDS="3")


def test_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SHEAF_COLOUR=red\n")
    with pytest.raises(SettingsError, match="SHEAF_COLOUR"):
        settings.load({}, env_file=tmp_path / ".env")


def test_variables_of_others_are_no_concern() -> None:
    assert load(HOME="/nowhere", PATH="") == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "8000.5"),
        ("PORT", "٨٠"),
        ("PORT", ""),
        ("WEB_CONCURRENCY", "-1"),
        ("SHEAF_THREADS", "many"),
        ("SHEAF_SERVER", "apache"),
        ("SHEAF_ENV", "staging"),
        ("SHEAF_SIGN_UP", ""),
        ("SHEAF_SINGLE_SESSION", "maybe"),
        ("SHEAF_LOG_LEVEL", "INFO"),
        ("SECRET_KEY", "short"),
        ("SHEAF_DATABASE", ""),
        ("SHEAF_DATABASE", "Admin"),
        ("SHEAF_OPEN_DATABASES", "app, local"),
        ("SHEAF_OPEN_DATABASES", "sheaf"),
        ("SHEAF_SMTP_URL", "mail.test:25"),
    ],
)
def test_wrong_value_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(**{name: value})


@pytest.mark.parametrize("field", [field for field in dataclasses.fields(Settings) if field.type is int])
def test_ends_of_every_range_are_accepted_and_what_lies_beyond_is_not(field: "dataclasses.Field[int]") -> None:
    name, low, high = (field.metadata[key] for key in ("name", "minimum", "maximum"))
    assert getattr(load(**{name: str(low)}), field.name) == low
    assert getattr(load(**{name: str(high)}), field.name) == high
    for beyond in (low - 1, high + 1):
        with pytest.raises(SettingsError, match=name):
            load(**{name: str(beyond)})


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("on", True), ("false", False), ("0", False)])
def test_truth_may_be_written_in_several_ways(text: str, value: bool) -> None:
    assert load(SHEAF_SINGLE_SESSION=text).single_session is value


def test_production_without_secret_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        load(SHEAF_ENV="production")


def test_own_database_means_production() -> None:
    assert load(MONGODB_URI="mongodb://db.example", SECRET_KEY=SECRET).is_production
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        load(MONGODB_URI="mongodb://db.example")


def test_own_database_may_be_used_in_development() -> None:
    assert not load(MONGODB_URI="mongodb://db.example", SHEAF_ENV="development").is_production


def test_generated_secret_is_for_the_owner_only_and_stays_the_same(tmp_path: Path) -> None:
    first, second = load(SHEAF_DATA=str(tmp_path / "data")), load(SHEAF_DATA=str(tmp_path / "data"))
    settings.ensure_secret_key(first)
    settings.ensure_secret_key(second)
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600
    assert len(first.secret_key) >= 32
    assert first.secret_key == second.secret_key


def test_given_secret_is_kept_and_not_written(tmp_path: Path) -> None:
    chosen = load(SHEAF_DATA=str(tmp_path), SECRET_KEY=SECRET)
    settings.ensure_secret_key(chosen)
    assert chosen.secret_key == SECRET
    assert list(tmp_path.iterdir()) == []


def test_secrets_have_no_default() -> None:
    assert [field.name for field in dataclasses.fields(Settings) if field.metadata["secret"] and field.default] == []
