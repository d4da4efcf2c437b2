"""The pure parts of the command line: options from settings, ids from file names, lines for programs, complaints."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from lightfast.cli import Upload, plan_uploads, run
from lightfast.console import as_fields, one_line
from lightfast.model import Info
from lightfast.options import default_of, setting_options
from lightfast.settings import Settings, load_settings


def test_every_setting_has_an_option_that_names_its_variable() -> None:
    options = {option.name: option.annotation.__metadata__[0] for option in setting_options()}
    assert list(options) == list(Settings.model_fields)
    for name, option in options.items():
        assert option.envvar == f"LIGHTFAST_{name.upper()}"
        assert option.help == Settings.model_fields[name].description


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if default_of(name)])
def test_shown_default_means_the_default(name: str) -> None:
    assert getattr(load_settings(**{name: default_of(name)}), name) == Settings.model_fields[name].default


@pytest.mark.parametrize(
    ("files", "id", "ids"),
    [
        (["hero_abc123.png"], None, ["hero_abc123"]),
        (["deep/down/a.v2.png", "b"], None, ["a.v2", "b"]),
        (["-"], None, [None]),
        (["-"], "given", ["given"]),
    ],
)
def test_ids_come_from_file_names(files: list[str], id: str | None, ids: list[str | None]) -> None:
    assert plan_uploads(files, id) == [Upload(name, id) for name, id in zip(files, ids, strict=True)]


@pytest.mark.parametrize("files", [["a.png", "b/a.jpg"], ["-", "-"], ["a.png", "a.png"]])
def test_no_id_is_given_twice(files: list[str]) -> None:
    with pytest.raises(typer.BadParameter, match="same id"):
        plan_uploads(files, None)


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb\t c", "a b c"), ("\x1b[31m", "\\x1b[31m"), ("größe…", "größe…"), ("\udcff", "\\udcff"), ("", "")],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


def test_fields() -> None:
    created = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    info = Info("a", "/images/a?v=e", "e", "image/png", None, None, 7, created, False, None)
    assert as_fields(info) == "a\timage/png\t7\t-\t-\t2026-01-02T03:04:05Z\t-\t/images/a?v=e"


@pytest.mark.parametrize(
    ("arguments", "env", "expected"),
    [
        (["put"], {}, "FILE"),
        (["polish"], {}, "polish"),
        (["put", "a.png", "b.png", "--id", "one"], {}, "--id"),
        (["put", "a.png", "./a.png"], {}, "same id"),
        (["put", "a.png", "--id", ".hidden"], {}, ".hidden"),
        (["put", "a.png", "--ttl", "soon"], {}, "soon"),
        (["get", "../a"], {}, "../a"),
        (["ls", "--store", "memory://", "--server", "http://127.0.0.1:8000"], {}, "exclude"),
        (["ls", "--store", "floppy://a"], {}, "floppy"),
        (["ls", "--server", "localhost:8000"], {}, "localhost:8000"),
        (["ls"], {"LIGHTFAST_MEMORY": "plenty"}, "LIGHTFAST_MEMORY"),
        (["serve", "--memory", "plenty"], {}, "plenty"),
        (["serve", "--store", "memory://", "--workers", "2"], {}, "memory://"),
        (["serve", "--host", "0.0.0.0"], {}, "LIGHTFAST_WRITE_TOKEN"),  # noqa: S104
    ],
)
def test_what_can_not_be_used(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    env: dict[str, str],
    expected: str,
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    stdout, stderr = capsys.readouterr()
    assert (stdout, stderr.count("\n")) == ("", 1)
    assert stderr.startswith("lightfast: ")
    assert expected in stderr
    assert list(tmp_path.iterdir()) == []
