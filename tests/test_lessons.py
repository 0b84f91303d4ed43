"""What every lesson has in common, and what the scripts cannot show."""

import ast
import logging
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import play
import pytest
import requests
from collection import (
    ENVIRONMENT,
    NAMES,
    ROOT,
    imported,
    lesson,
    make_calls,
    port_of,
    serve,
)
from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule

# Packages that an import statement names differently, or that come with another.
PACKAGES = {"cv2": "opencv-python", "werkzeug": "flask", "markupsafe": "flask"}


def text_of(name):
    return (ROOT / f"{name}.py").read_text(encoding="utf-8")


def requirements(file):
    """The lines of a requirements file, by the name of the package."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    lines = [line.split(";")[0].strip() for line in lines if line and line[0] != "#"]
    return {re.match("[a-z-]+", line)[0]: line for line in lines}


@pytest.mark.parametrize("name", NAMES)
def test_the_file_has_its_parts_in_order(name):
    source = text_of(name)
    head = rf'"""Lesson {int(name[:2])}: [a-z_. ]+: .+\n\nRun    python {name}\.py\n'
    head += rf"Open   http://127\.0\.0\.1:{port_of(name)}/\S*\n"
    head += rf'Calls  scripts/{name}\.sh\nNotes  .+\n(\n[^"]+)?"""\n# /// script\n'
    assert re.match(head, source)
    # It answers this computer only, on its own port, without debug.
    main = ast.parse(source).body[-1]
    run = f"app.run(host='127.0.0.1', port={port_of(name)}, debug=False)"
    assert ast.unparse(main.body[-1]) == run
    # "flask run" skips this block. Lesson 8 has more in it: tests run it both ways.
    assert len(main.body) == 1 or name == "08_inference"


@pytest.mark.parametrize("name", NAMES)
def test_pep_723_names_what_is_imported(name):
    block = re.search(
        r"^# /// script\n((?:#.*\n)+?)# ///$", text_of(name), re.MULTILINE
    )
    toml = tomllib.loads(re.sub("^# ?", "", block[1], flags=re.MULTILINE))
    roots = set()
    for node in ast.walk(ast.parse(text_of(name))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            roots.add(node.module.split(".")[0])
    packages = {PACKAGES.get(root, root) for root in roots - sys.stdlib_module_names}
    wanted = requirements("requirements.txt")
    assert list(toml) == ["dependencies"]
    assert sorted(toml["dependencies"]) == sorted(wanted[p] for p in packages)


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-test.txt"])
def test_every_requirement_has_bounds(file):
    """At least some version, and less than the next major one."""
    for package, line in requirements(file).items():
        low, high = re.fullmatch(rf"{package}>=([\d.]+),<(\d+)", line).groups()
        assert int(high) == int(low.split(".")[0]) + 1


IMPORT_ALL = f"""
import psutil, threading
for name in {NAMES}:
    __import__(name)
assert psutil.Process().children() == []
assert threading.active_count() == 1
"""


def test_importing_starts_nothing(tmp_path):
    """An import prints nothing, writes no file where the program runs, starts no thread
    and no process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL],
        cwd=tmp_path,
        env=ENVIRONMENT | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


# One with error pages, one with worker processes.
@pytest.mark.parametrize("name", ["03_errorhandler", "08_inference"])
def test_flask_run_gives_the_same_answers(name, tmp_path):
    """`flask --app NN_name run` keeps every promise that `python NN_name.py` keeps."""
    port = port_of(name)
    command = [sys.executable, "-m", "flask", "--app", str(ROOT / name), "run"]
    with serve([*command, "--port", str(port)], port, tmp_path) as server:
        for call, answer in make_calls(name, server, tmp_path):
            assert play.holds(call.promise, answer), f"{call}\n{answer}"


def test_lesson_1_would_answer_files_of_a_folder_beside_it():
    """Its comment on __name__ says so."""
    app = imported("01_hello").app
    assert app.static_folder == str(ROOT / "static")
    assert app.static_url_path == "/static"


def test_lesson_2_lists_converters():
    """Each converter of its comment, with a value that fits and one that does not."""
    listed = re.findall(r"^#     (<.+?>) ", text_of("02_route_args"), re.MULTILINE)
    values = {
        "float": ("1.5", "1"),
        "string(length=2)": ("ab", "abc"),
        "any(red, blue)": ("blue", "green"),
        "uuid": ("123e4567-e89b-12d3-a456-426614174000", "123e4567"),
    }
    assert [rule[1:].rpartition(":")[0] for rule in listed] == list(values)
    for rule, (fits, does_not_fit) in zip(listed, values.values(), strict=True):
        urls = Map([Rule(f"/{rule}", endpoint="found")]).bind("127.0.0.1")
        assert urls.test(f"/{fits}"), rule
        assert not urls.test(f"/{does_not_fit}"), rule


def test_lesson_2_allows_the_methods_of_its_route():
    """The script promises only "Allow: ...", since the order changes."""
    answer = imported("02_route_args").app.test_client().get("/exam")
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "PUT", "OPTIONS"}


@pytest.mark.parametrize(
    ("name", "path", "status", "text"),
    [
        ("02_route_args", "/test/ a ", 200, "test:  a  (a string)"),
        ("02_route_args", "/folder/<b>/c", 200, "folder: &lt;b&gt;/c"),
        ("03_errorhandler", "/even/5", 404, "404 Not Found: 5 is not even."),
        ("03_errorhandler", "/fruit/0", 200, "apple"),
        ("03_errorhandler", "/fruit/1", 200, "pear"),
        ("04_hooks", "/closer", 404, "Not Found"),
        ("04_hooks", "/closed/closed", 404, "Not Found"),
        ("06_jsonify", "/test/strawberry", 201, '"username": "strawberry"'),
        ("06_jsonify", "/test/<b>strawberry", 201, '"username": "<b>strawberry"'),
        ("07_request_args", "/login", 200, '"auth":"failed"'),
        ("07_request_args", "/login?user_name=baz", 200, '"auth":"failed"'),
        ("07_request_args", "/even?number=7", 200, '{"even":false,"number":7}'),
        ("07_request_args", "/even?number=-8", 200, '{"even":true,"number":-8}'),
    ],
)
def test_answers_that_no_script_asks_for(name, path, status, text):
    answer = imported(name).app.test_client().get(path)
    assert answer.status_code == status
    assert text in answer.text


def test_lesson_3_leaves_out_the_fraction():
    answer = imported("03_errorhandler").app.test_client().get("/divide/7/2")
    assert (answer.status_code, answer.text) == (200, "3")


def test_lesson_3_shows_no_html_of_the_client():
    page, status = imported("03_errorhandler").page_not_found(NotFound("<b>"))
    assert "404 Not Found: &lt;b&gt;" in page
    assert status == 404


def test_lesson_4_shows_no_html_of_a_client(monkeypatch):
    """Even if Werkzeug let it through."""
    module = imported("04_hooks")
    module.app.config["FIRST_HOST"] = "<a>"
    monkeypatch.setattr(module, "request", SimpleNamespace(host="<b>"))
    assert module.hosts() == "first request: &lt;a&gt;\nthis request: &lt;b&gt;\n"


def test_lesson_4_does_not_count_closed_as_the_first_request():
    client = imported("04_hooks").app.test_client()
    client.get("/closed", base_url="http://a.test")
    answer = client.get("/hosts", base_url="http://b.test").text
    assert answer == "first request: b.test\nthis request: b.test\n"


def test_lesson_4_says_when_it_was_started(monkeypatch):
    before = time.strftime("%H:%M:%S")
    module = imported("04_hooks")
    after = time.strftime("%H:%M:%S")
    assert module.START_TIME in (before, after)
    # Not the time of the request.
    monkeypatch.setattr(module, "START_TIME", "long ago")
    answer = module.app.test_client().get("/open").text
    assert answer == "open since long ago\n"


def test_lesson_4_has_one_first_host():
    """Many first requests at the same time, each with a host of its own."""
    app = imported("04_hooks").app
    asked = []

    class SlowConfig(type(app.config)):
        """Gives the other threads time between "in" and the assignment."""

        def __contains__(self, key):
            asked.append(key)
            found = super().__contains__(key)
            time.sleep(0.1)
            return found

    # The same dict, but "in" takes longer.
    app.config.__class__ = SlowConfig
    start = threading.Barrier(8)

    def ask(number):
        start.wait(30)
        answer = app.test_client().get("/hosts", base_url=f"http://host{number}.test")
        first, this = answer.text.splitlines()
        assert this == f"this request: host{number}.test"
        return first

    with ThreadPoolExecutor(8) as clients:
        firsts = set(clients.map(ask, range(8)))
    assert len(firsts) == 1
    assert firsts <= {f"first request: host{number}.test" for number in range(8)}
    # The lesson does ask with "in", so the threads had time.
    assert asked.count("FIRST_HOST") >= 8


def test_lesson_5_can_write_korean_letters(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Not app.logger: there every copy of the lesson has added a handler of its own.
    handler = imported("05_logger").file_handler
    handler.handle(logging.makeLogRecord({"levelname": "WARNING", "msg": "한"}))
    handler.close()
    text = (tmp_path / "exam_log.log").read_text(encoding="utf-8")
    assert text.endswith(" WARNING 한\n")


def test_lesson_5_logs_50_warnings(tmp_path):
    """More than one file holds."""
    with lesson("05_logger", tmp_path) as server:
        answer = requests.get(f"{server.url}/fill", timeout=60)
    assert answer.text == "50 warnings logged\n"
    files = [tmp_path / "exam_log.log.1", tmp_path / "exam_log.log"]
    lines = "".join(file.read_text() for file in files).splitlines()
    numbers = [line.partition(" WARNING ")[2] for line in lines]
    assert numbers == [f"warning {number} of 50" for number in range(1, 51)]


def test_lesson_5_files_have_2000_bytes_at_most(tmp_path):
    """Long paths, Korean paths, newlines: only whole lines, each path cut at 200
    characters, no file too big, and none that had room for one more line."""
    paths = ["x" * 3000, "한" * 300, "a%0ab%0d%0ac", "%00", "%1b[31m", "%E2%80%A8"]
    paths.append("ok")
    with lesson("05_logger", tmp_path) as server:
        for number in range(260):
            path = paths[number % len(paths)]
            requests.get(f"{server.url}/{path}", timeout=60)
    assert len(list(tmp_path.glob("exam_log.log*"))) == 1 + 10  # backupCount
    # From the oldest file to the newest.
    files = [tmp_path / f"exam_log.log.{number}" for number in range(10, 0, -1)]
    # The file before the oldest is deleted: take it for full.
    previous_size = 2000
    longest = 0
    for file in [*files, tmp_path / "exam_log.log"]:
        text = file.read_bytes().decode("ascii")
        assert len(text) <= 2000
        lines = text.splitlines(keepends=True)
        assert previous_size + len(lines[0]) >= 2000
        previous_size = len(text)
        for line in lines:
            time_and_level, path = line.split(" 404: ")
            form = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ERROR"
            assert re.fullmatch(form, time_and_level)
            path = path.removesuffix(os.linesep)
            assert path.startswith("'/") and path.isprintable()
            longest = max(longest, len(path))
    assert longest == 200
