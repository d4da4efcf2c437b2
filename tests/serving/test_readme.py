"""What the README says that its first commands print, against a server that is started as ``make run`` does."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.support import free_port

ROOT = Path(__file__).parents[2]
DATE = r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory like the repository's, but without samples and images."""
    place = tmp_path_factory.mktemp("clone")
    (place / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "run", place / "scripts")
    for name in (".venv", "examples", "curl-format.txt"):
        (place / name).symlink_to(ROOT / name)
    return place


@pytest.fixture(scope="module")
def url(place):
    """Of the server, from its own first words on."""
    port = free_port()
    others = {name: value for name, value in os.environ.items() if not name.startswith("LIGHTFAST_")}
    process = subprocess.Popen(
        [place / "scripts" / "run"],
        env=others | {"LIGHTFAST_PORT": str(port), "LIGHTFAST_LOG": "off"},
        stdout=subprocess.PIPE,
        text=True,
    )
    announced = re.compile(r"Lightfast serves the samples at (http://\S+), for example")
    line = next(match for line in process.stdout if (match := announced.match(line)))
    yield line[1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    process.stdout.close()


def command(beginning, url):
    """The README's only command that begins so, for the server at ``url``."""
    (line,) = re.findall(rf"^{re.escape(beginning)}.*$", README, re.MULTILINE)
    return line.replace("http://127.0.0.1:8000", url)


def output(beginning):
    """What the README shows below that command."""
    _, _, after = README.partition(f"\n{beginning}")
    shown = re.match(r"[^\n]*\n```\n\n```text\n(.*?)```", after, re.DOTALL)
    return shown[1]


def run(line, place):
    return subprocess.run(["bash", "-c", line], cwd=place, capture_output=True, text=True, check=True).stdout


def test_the_first_request_prints_what_it_took(url, place):
    beginning = "curl -s -o /dev/null -w"
    said = run(command(beginning, url), place)
    seconds = re.compile(r"\d+\.\d{6}")
    assert seconds.sub("#", said).strip() == seconds.sub("#", output(beginning)).strip()


def test_the_headers_are_those_that_are_shown(url, place):
    run(f"curl -s -o /dev/null {url}/images/hero_abc123", place)  # in memory, as in the README
    said = run(command("curl -sI", url), place).replace("\r", "").strip().splitlines()
    shown = output("curl -sI").strip().splitlines()
    assert said[0] == shown[0]
    fields, wanted = (dict(line.split(": ", 1) for line in lines[1:]) for lines in (said, shown))
    assert list(fields) == list(wanted)
    moments = {"date": DATE, "last-modified": DATE, "server-timing": r"hot|total;dur=[0-9.]+"}
    for name, value in wanted.items():
        if name in moments:
            assert re.fullmatch(moments[name], fields[name])
        else:
            assert fields[name].startswith(value.removesuffix("…")), name


def test_a_picture_of_ones_own_is_stored_and_described(url, place):
    stored = json.loads(run(command("curl -s --data-binary", url), place))
    assert re.fullmatch(r"/images/dunes\?v=[0-9a-f]{32}", stored["url"])
    described = json.loads(run(command("curl -s http://127.0.0.1:8000/images/dunes/info", url), place))
    assert described["url"] == stored["url"]


def test_a_second_one_on_the_same_port_says_so(url, place):
    port = url.rpartition(":")[2]
    second = subprocess.run(
        [place / "scripts" / "run"], env=os.environ | {"LIGHTFAST_PORT": port}, capture_output=True, text=True
    )
    assert (second.returncode, second.stdout) == (1, "")
    assert "something else listens" in second.stderr
