"""scripts/run.sh and scripts/test.sh: the one command, and all that can go wrong.

Everything happens in a copy of the collection.
"""

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from collection import ENVIRONMENT, ROOT, answers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes links and sh stubs")


@pytest.fixture
def copy(tmp_path):
    """The collection in a folder of its own, whose name has a space."""
    folder = tmp_path / "my lessons"
    shutil.copytree(
        ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "tests")
    )
    return folder


@pytest.fixture
def ready(copy):
    """The same, set up: with the packages of the environment that runs the tests."""
    (copy / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name not in ("ready", "test-ready"):
            (copy / ".venv" / entry.name).symlink_to(entry)
    requirements = (copy / "requirements.txt").read_bytes()
    sums = subprocess.run(
        ["cksum"], input=requirements, capture_output=True, check=True
    )
    (copy / ".venv" / "ready").write_text(f"{copy} {sums.stdout.decode()}")
    return copy


def run(folder, *arguments, script="run.sh", cwd="/", **env):
    return subprocess.run(
        ["sh", str(folder / "scripts" / script), *arguments],
        cwd=cwd,
        env=ENVIRONMENT | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def stub(folder, name, body):
    """An executable sh script."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(file.stat().st_mode | stat.S_IEXEC)
    return file


def tools(folder, without=()):
    """A PATH with what a small machine has, less some of it."""
    names = "sh cat cksum dirname env grep kill ls mkdir mktemp rm sed sleep tail tr wc"
    folder.mkdir()
    for name in {*names.split(), "curl", "python3"} - set(without):
        target = sys.executable if name == "python3" else shutil.which(name)
        if target:
            (folder / name).symlink_to(target)
    return str(folder)


def no_server_left(folder):
    """No process of this copy runs any more, and the port is free."""
    assert not answers(8080)
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == str(folder):
            raise AssertionError(process.info["cmdline"])


@pytest.mark.parametrize("number", ["1", "03"])
def test_one_lesson(ready, number):
    done = run(ready, number)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "1 of 1 lessons answered."
    assert lines[1].startswith(f"=== 0{number[-1]}_")
    assert "#=> ..." in lines
    assert "Setting up" not in done.stdout
    no_server_left(ready)


def test_lesson_8_with_the_readers_own_photograph(ready):
    photo = ready.parent / "my photo.jpg"
    shutil.copy(ready / "scripts" / "pictures" / "strawberries.jpg", photo)
    done = run(ready, "8", photo.name, cwd=photo.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"filename":"my photo.jpg"' in done.stdout
    assert (ready / "answer.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_no_such_lesson_or_photograph(ready):
    for arguments, why in [(["9"], "no lesson 9"), (["8", "no.jpg"], "no file no.jpg")]:
        done = run(ready, *arguments)
        assert done.returncode == 1
        assert why in done.stderr


def test_a_lesson_that_does_not_start(ready):
    source = (ready / "01_hello.py").read_text()
    (ready / "01_hello.py").write_text(source.replace("app.run(", "app.walk("))
    done = run(ready)
    assert done.returncode == 1
    assert "01_hello.py did not start. Its last output:" in done.stderr
    assert "AttributeError: 'Flask' object has no attribute 'walk'" in done.stderr
    assert "answered" not in done.stdout
    no_server_left(ready)


@pytest.mark.parametrize("fault", ["os._exit(3)", "time.sleep(600)"])
def test_a_lesson_that_stops_answering(ready, fault):
    source = (ready / "01_hello.py").read_text()
    source = source.replace("def hello():", f"def hello():\n    print('bye'); {fault}")
    source = source.replace("\nfrom flask", "\nimport os, time\nfrom flask")
    (ready / "01_hello.py").write_text(source)
    done = run(ready, "1", LESSON_SECONDS="3", PYTHONUNBUFFERED="1")
    assert done.returncode == 1
    assert "01_hello.py stopped answering. Its last output:" in done.stderr
    assert "bye" in done.stderr
    no_server_left(ready)


def test_a_port_in_use(ready):
    with socket.create_server(("127.0.0.1", 8080)):
        done = run(ready, "1")
    assert done.returncode == 1
    assert "port 8080 is in use. Stop what uses it (lsof -i :8080)" in done.stderr


def test_set_up_survives_a_lost_network(copy):
    """A first try without network says so; the next one starts over and is done."""
    lost = run(copy, "setup", PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert lost.returncode == 1
    assert "could not install the packages, see above. No network?" in lost.stderr
    assert not (copy / ".venv" / "ready").exists()
    (copy / ".venv" / "lib" / "half").mkdir(exist_ok=True)
    again = run(copy, "setup")
    assert again.returncode == 0, again.stderr
    assert again.stdout == "Setting up .venv: a minute or two, this once.\n"
    assert not (copy / ".venv" / "lib" / "half").exists()
    third = run(copy, "setup")
    assert (third.returncode, third.stdout) == (0, "")


def test_a_venv_of_the_readers_own_is_kept(copy):
    """Made by hand, as the README shows: the set-up adds packages, nothing else."""
    python = stub(copy / ".venv" / "bin", "python", 'echo "$@" >>"$LOG"')
    log = copy / "log"
    done = run(copy, "setup", LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert python.exists()
    assert "install" in log.read_text().splitlines()[0]


def test_missing_curl(copy):
    done = run(copy, PATH=tools(copy.parent / "bin", without=["curl"]))
    assert done.returncode == 1
    assert "curl is missing. Debian, Ubuntu: apt install curl" in done.stderr


def test_missing_python(copy):
    done = run(copy, PATH=tools(copy.parent / "bin", without=["python3"]))
    assert done.returncode == 1
    assert "Python 3.11 or newer is missing" in done.stderr
    assert not (copy / ".venv").exists()


def test_missing_venv(copy):
    path = tools(copy.parent / "bin", without=["python3"])
    body = f'case "$*" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"'
    stub(Path(path), "python3", body)
    done = run(copy, PATH=path)
    assert done.returncode == 1
    assert "venv is missing. Debian, Ubuntu: apt install python3-venv" in done.stderr
    assert not (copy / ".venv").exists()


def test_a_machine_without_opencvs_libraries(copy):
    """`import cv2` fails as on a bare Debian: the headless package takes its place."""
    path = tools(copy.parent / "bin", without=["python3"])
    inside = stub(
        copy.parent,
        "python-inside",
        """echo "$@" >>"$LOG"
case "$*" in
*headless*) : >"$LOG.headless" ;;
*"import cv2"*)
    [ -f "$LOG.headless" ] && exit 0
    echo "ImportError: libxcb.so.1: cannot open shared object file" >&2
    exit 1
    ;;
esac""",
    )
    body = f"""case "$*" in
*"-m venv"*) mkdir .venv/bin && ln -s "{inside}" .venv/bin/python ;;
*) exec "{sys.executable}" "$@" ;;
esac"""
    stub(Path(path), "python3", body)
    (Path(path) / "ln").symlink_to(shutil.which("ln"))
    log = copy / "log"
    done = run(copy, "setup", PATH=path, LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == (
        "OpenCV finds no libxcb.so.1 here: taking opencv-python-headless, "
        "the same without windows."
    )
    commands = log.read_text().splitlines()
    assert "pip uninstall --quiet --yes opencv-python" in commands[2]
    assert commands[3].endswith(" opencv-python-headless>=5.0,<6")
    assert (copy / ".venv" / "ready").exists()


def test_test_sh_hands_its_arguments_to_pytest(ready):
    sums = (ready / ".venv" / "ready").read_bytes()
    sums += (ready / "requirements-test.txt").read_bytes()
    done = subprocess.run(["cksum"], input=sums, capture_output=True, check=True)
    (ready / ".venv" / "test-ready").write_bytes(done.stdout)
    done = run(ready, "--version", script="test.sh")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("pytest ")
