"""Settings: where they come from, what is refused, what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import SetupError
from schemas.settings import Settings, load_settings, mask_url
from schemas.stack import connected
from tests.conftest import ROOT
from worker.cli.settings import settings_markdown


def test_environment_variables_set_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    monkeypatch.setenv("FENLIU_CLAIM_IDLE_S", "7.5")
    monkeypatch.setenv("FENLIU_HOME", "/srv/fenliu")

    # When
    settings = load_settings()

    # Then
    assert (7.5, Path("/srv/fenliu")) == (settings.claim_idle_s, settings.home)


def test_wrong_values_are_named_one_a_line_and_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a URL of the wrong kind with a password in it, and a number out of bounds
    monkeypatch.setenv("FENLIU_REDIS_URL", "http://:geheim@example/0")
    monkeypatch.setenv("FENLIU_BULK_SHARE", "1.5")

    # When
    with pytest.raises(SetupError) as caught:
        load_settings()

    # Then
    lines = str(caught.value).splitlines()
    assert ["FENLIU_REDIS_URL", "FENLIU_BULK_SHARE"] == [line.split(":")[0] for line in lines]
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:geheim@redis:6379/0", "redis://:****@redis:6379/0"),
        ("postgresql://fenliu:ge:heim@db/fenliu", "postgresql://fenliu:****@db/fenliu"),
        (
            "postgresql://fenliu@/fenliu?host=/run&password=geheim",
            "postgresql://fenliu@/fenliu?host=/run&password=****",
        ),
        ("unix:///run/redis.sock?db=0", "unix:///run/redis.sock?db=0"),
    ],
)
def test_passwords_are_masked(url: str, shown: str) -> None:
    assert shown == mask_url(url)


def test_no_text_of_settings_shows_a_password() -> None:
    settings = Settings(redis_url="redis://:geheim@redis/0", database_url="postgresql://u:geheim@db/f")
    assert "geheim" not in f"{settings} {settings!r} {settings.masked()}"


def test_urls_are_spelled_for_their_clients() -> None:
    settings = Settings(redis_url="unix:///run/redis.sock?db=0", database_url="postgresql://u@/f?host=/run")
    assert "redis+socket:///run/redis.sock?virtual_host=0" == settings.celery_broker_url
    assert "postgresql+psycopg2://u@/f?host=/run" == settings.sqlalchemy_url


def test_without_urls_and_without_a_stack_it_is_said_what_to_do(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, redis_url="redis://redis/0")
    with pytest.raises(SetupError, match=r"fenliu up --detach.*or set FENLIU_DATABASE_URL$"):
        connected(settings)


def test_the_documented_table_is_the_code() -> None:
    assert settings_markdown() == (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
