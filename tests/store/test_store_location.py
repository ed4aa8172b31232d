"""What ``--store`` and ``SWEEPER_STORE`` mean."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from on_disk import on_disk

from sweeper.errors import RequestError
from sweeper.store.database import postgres_engine
from sweeper.store.location import locate
from sweeper.store.store import Store


def test_the_default_is_a_folder_beside_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    found = locate(None, {})

    assert on_disk(found.paths).root == tmp_path / "sweeper-results"
    assert found.sqlite_file == tmp_path / "sweeper-results" / "sweeper.db"
    assert found.shown == str(found.sqlite_file)


def test_the_environment_names_the_store_and_the_argument_goes_before(tmp_path: Path) -> None:
    environ = {"SWEEPER_STORE": str(tmp_path / "env")}

    assert on_disk(locate(None, environ).paths).root == tmp_path / "env"
    assert on_disk(locate(tmp_path / "arg", environ).paths).root == tmp_path / "arg"


def test_a_store_opens_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPER_STORE", str(tmp_path / "env"))

    with Store.open(create=True) as store:
        assert on_disk(store.paths).root == tmp_path / "env"
        assert store.shown == str(tmp_path / "env" / "sweeper.db")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_a_server_is_named_by_any_spelling_and_shown_without_password(scheme: str) -> None:
    found = locate(f"{scheme}://me:se%40cret@host:5433/db", {"SWEEPER_FILES": "/shared/files"})

    assert found.url.drivername == "postgresql+psycopg"
    assert found.url.password == "se@cret"
    assert found.sqlite_file is None
    assert found.shown == "postgresql+psycopg://me:***@host:5433/db"
    assert on_disk(found.paths).root == Path("/shared/files")


def test_files_of_a_database_url_go_to_the_default_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    found = locate("sqlite:///db/mine.sqlite", {})

    assert found.sqlite_file == tmp_path / "db" / "mine.sqlite"
    assert on_disk(found.paths).root == tmp_path / "sweeper-results"


def test_a_relative_or_home_folder_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert on_disk(locate("here/../there", {}).paths).root == tmp_path / "there"
    assert on_disk(locate("~/there", {}).paths).root == tmp_path / "home" / "there"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s3://bucket/results", "s3:// is not available.*SWEEPER_FILES"),
        ("gs://bucket/results", "gs:// is not available"),
        ("mysql://me:secret@host/db", "mysql:// is not available; give a folder, postgresql"),
        ("postgresql://me:secret@host:port/db", "the postgresql URL cannot be read"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("  ", "the name is empty"),
    ],
)
def test_a_place_that_is_no_store_is_refused(place: str, message: str) -> None:
    with pytest.raises(RequestError, match=f"store: .*{message}") as caught:
        locate(place, {})

    assert "secret" not in str(caught.value)


def test_a_file_is_refused_with_the_two_right_spellings(tmp_path: Path) -> None:
    file = tmp_path / "sweeper.db"
    file.touch()

    with pytest.raises(
        RequestError, match=rf"{file} is a file; give the folder.*sqlite:///{file}"
    ):
        locate(str(file), {})


def test_a_windows_drive_is_a_folder() -> None:
    assert locate("C:\\results", {}).sqlite_file is not None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hush@host/db",
        "postgresql://me@host/db?password=hush",
        "postgresql://me@host/db?sslmode=require&SSLPassword=hush&host=/run",
        "postgresql://me:hu/sh@host/db",
        "postgresql://me:a@hush@host/db",
        "postgresql://me:a@b/hush@host/db",
        "postgresql://me:hush@@host/db",
    ],
)
def test_no_message_shows_a_password(url: str) -> None:
    try:
        said = locate(url, {}).shown
    except RequestError as error:
        said = str(error)
        assert "%40" in said
    assert "hush" not in said and "hu/sh" not in said


@pytest.mark.postgres
def test_a_server_that_has_gone_without_a_word_is_given_up(postgres: str) -> None:
    for url, idle in ((postgres, "30"), (f"{postgres}&keepalives_idle=7", "7")):
        engine = postgres_engine(locate(url))
        with closing(engine.raw_connection()) as link:
            found = link.driver_connection.info.get_parameters()  # type: ignore[union-attr]
        engine.dispose()
        assert (found["keepalives_idle"], found["keepalives_count"]) == (idle, "3")


def test_the_home_of_a_user_who_is_not_known_is_a_name(tmp_path: Path) -> None:
    file = locate("~nobody-of-this-name/store").sqlite_file
    assert file == Path.cwd() / "~nobody-of-this-name" / "store" / "sweeper.db"
