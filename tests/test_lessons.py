"""What every lesson has in common: how it reads, imports, starts and answers."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests
from collection import (
    NAMES,
    ROOT,
    answers,
    as_promised,
    calls,
    imported,
    lesson,
    port_of,
    run_call,
    serve,
)

# Packages that an import statement names differently, or that come with another.
PACKAGES = {"cv2": "opencv-python", "werkzeug": "flask", "markupsafe": "flask"}
EXPECTED = """01_hello 02_route_args 03_errorhandler 04_hooks 05_logger 06_jsonify
07_request_args 08_inference""".split()


def text(name):
    return (ROOT / f"{name}.py").read_text(encoding="utf-8")


def bounds(file="requirements.txt"):
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    lines = [line.split(";")[0].strip() for line in lines if line and line[0] != "#"]
    return {re.match("[a-z-]+", line)[0]: line for line in lines}


def test_the_collection_is_complete():
    assert EXPECTED == NAMES
    assert [path.stem for path in sorted(ROOT.glob("*.py"))] == NAMES
    scripts = {path.name for path in (ROOT / "scripts").glob("*.sh")}
    assert scripts == {f"{name}.sh" for name in NAMES} | {"run.sh", "test.sh"}
    assert set(bounds()) == {"flask", "numpy", "opencv-python", "httpie"}


@pytest.mark.parametrize("name", NAMES)
def test_the_file_reads_from_top_to_bottom(name):
    source = text(name)
    lines = source.splitlines()
    assert len(lines) <= (180 if name == "08_inference" else 70)
    assert max(len(line) for line in lines if "<" not in line) <= 88
    number = int(name[:2])
    assert re.match(
        rf'"""Lesson {number}: [a-z_. ]+: .+\n\nRun    python {name}\.py', source
    )
    assert f"\nCalls  scripts/{name}.sh\nNotes  " in source
    assert '"""\n# /// script\n' in source
    assert source.index("# Try it: ") > source.index('if __name__ == "__main__":')
    (run,) = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "app.run"
    )
    settings = {keyword.arg: keyword.value.value for keyword in run.keywords}
    assert settings == {"host": "127.0.0.1", "port": port_of(name), "debug": False}


@pytest.mark.parametrize("name", NAMES)
def test_pep_723_names_what_is_imported(name):
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", text(name), re.MULTILINE)
    toml = tomllib.loads(re.sub("^# ?", "", block[1], flags=re.MULTILINE))
    roots = set()
    for node in ast.walk(ast.parse(text(name))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(node.module.split(".")[0])
    packages = {PACKAGES.get(root, root) for root in roots - sys.stdlib_module_names}
    assert list(toml) == ["dependencies"]
    assert sorted(toml["dependencies"]) == sorted(bounds()[p] for p in packages)


def test_every_requirement_has_bounds():
    """At least the version that was tried, less than the next major one."""
    for file in ("requirements.txt", "requirements-test.txt"):
        for package, line in bounds(file).items():
            low, high = re.fullmatch(rf"{package}>=([\d.]+),<(\d+)", line).groups()
            assert int(high) == int(low.split(".")[0]) + 1


@pytest.mark.parametrize("name", NAMES)
def test_importing_starts_nothing(name, tmp_path):
    """An import returns at once, prints nothing and opens no port."""
    code = (
        f"import importlib; lesson = importlib.import_module('{name}'); "
        "from flask import Flask; assert isinstance(lesson.app, Flask); "
        "assert not lesson.app.debug"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not answers(port_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_flask_run_gives_the_same_answers(name, tmp_path, monkeypatch):
    """`flask --app NN_name run` keeps every promise that `python NN_name.py` keeps."""
    port = port_of(name)
    command = [sys.executable, "-m", "flask", "--app", str(ROOT / name), "run"]
    monkeypatch.chdir(tmp_path)
    with serve([*command, "--port", str(port)], port, tmp_path) as server:
        for call in calls(ROOT / "scripts" / f"{name}.sh"):
            got = run_call(call, server.url)
            assert as_promised(call.promise, got), f"{call}: {call.command}\n{got}"


def test_allow_names_the_right_methods():
    """The script of lesson 2 promises an Allow header whose order changes."""
    answer = imported("02_route_args").app.test_client().get("/exam")
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "PUT", "OPTIONS"}


@pytest.mark.parametrize("name", NAMES)
def test_only_this_computer_is_answered(name, tmp_path):
    """The lesson's server listens on 127.0.0.1, without debug mode."""
    with lesson(name, tmp_path) as server:
        requests.get(server.url, timeout=60)  # by then its first lines are out
        log = server.log
    assert f"Running on http://127.0.0.1:{port_of(name)}" in log
    assert "Debug mode: off" in log
    assert "all addresses" not in log


def test_first_request_once_among_many_threads():
    """16 first requests at the same time: one of them is the first."""
    module = imported("04_hooks")
    start = threading.Barrier(16)

    def ask(_):
        start.wait(30)
        return module.app.test_client().get("/open").headers["X-Order"]

    with ThreadPoolExecutor(16) as clients:
        orders = list(clients.map(ask, range(16)))
    assert sum("before_first_request" in order for order in orders) == 1


def test_log_files_never_exceed_2000_bytes(tmp_path):
    """Long paths, Korean paths, newlines: every line is one request, every file small."""
    paths = [
        "x" * 3000,
        "한" * 300,
        "a%0ab%0d%0ac",
        "%00",
        "%1b[31m",
        "%E2%80%A8",
        "ok",
    ]
    with lesson("05_logger", tmp_path) as server:
        for n in range(260):
            requests.get(f"{server.url}/{paths[n % len(paths)]}", timeout=60)
    files = sorted(tmp_path.glob("exam_log.log*"))
    assert len(files) == 11
    for file in files:
        assert file.stat().st_size <= 2000
        for line in file.read_bytes().decode("ascii").splitlines():
            assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR 404: '/", line)
            assert line.isprintable()


def test_versions_are_todays():
    """The lessons speak of Flask 3.1's behaviour: nothing older is installed."""
    assert importlib.metadata.version("flask") >= "3.1"


def test_the_readmes_model_for_lesson_8():
    """What README.md shows under "Adding a model" works as it stands there."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(def find_bright.+?)```", readme, re.DOTALL)
    module = imported("08_inference")
    exec(code, vars(module))
    picture = np.zeros((30, 60, 3), np.uint8)
    assert module.inference(picture, "bright") == []
    picture[20, 40] = 255
    (found,) = module.inference(picture, "bright")
    assert found["label"] == "bright"
    assert found["box"] == [35, 15, 11, 11]
    assert "<option>bright" in module.app.test_client().get("/").text
