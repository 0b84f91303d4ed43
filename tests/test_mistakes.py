"""What the notes get wrong: the code of mistakes.toml, run.

Code that starts to work fails its test, so the list cannot go stale. What the lessons
do instead is what their scripts promise: see test_scripts.py.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import play
import psutil
import pytest
import requests
from collection import ENVIRONMENT, MISTAKES, PICTURES, lesson, serve
from flask import Flask


def test_every_mistake_is_run_or_says_why_not():
    tests = re.findall(r"\ndef test_mistake_(\d+)_", Path(__file__).read_text("utf-8"))
    for number, mistake in MISTAKES.items():
        ways = ["code" in mistake, "reason" in mistake, number in tests]
        assert sum(ways) == 1, number
        assert ("code" in mistake) == ("prints" in mistake or "error" in mistake)


def test_the_notes_have_what_each_entry_quotes(readers_notes):
    for number, mistake in MISTAKES.items():
        for quoted in mistake["notes"]:
            assert quoted in readers_notes, number


def check_end(code, names, expected):
    """Run code as a program. It must end with this error; "": with none."""
    error = ""
    try:
        exec(code, {"__name__": "__main__"} | names)
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    assert error.startswith(expected)
    assert bool(error) == bool(expected), error


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("number", [n for n in MISTAKES if "code" in MISTAKES[n]])
def test_code_of_the_notes_goes_wrong(number, capsys):
    mistake = MISTAKES[number]
    names = {"app": Flask(f"mistake_{number}"), "sys": sys}
    check_end(mistake["code"], names, mistake.get("error", ""))
    expected = mistake.get("prints", "").strip("\n").split("\n")
    assert play.holds(expected, capsys.readouterr().out)


# Each block of code in the notes: the heading above it, and how it ends if it is copied
# as it is ("": nothing goes wrong). Each gets an app, which short ones leave out.
BLOCKS = [
    ("flask", ""),
    ("app", ""),
    ("route", ""),
    ("argument", "NameError: name '__nmame__' is not defined"),
    ("argument", ""),
    ("methods", "SyntaxError"),
    ("errorhandler", ""),
    ("before_first_request", "TypeError: 'bool' object is not callable"),
    ("before_request", "TypeError: 'bool' object is not callable"),
    ("after_request", "TypeError: 'bool' object is not callable"),
    ("response_class", "NameError: name '__nmame__' is not defined"),
    ("logger", "ImportError: cannot import name 'Flast' from 'flask'"),
    ("jsonify", ""),
    ("args", ""),
    ("files", ""),
    ("files", "IndentationError: unindent does not match any outer indentation level"),
    ("from", ""),
    ("e.g.", "TabError: inconsistent use of tabs and spaces in indentation"),
]


def blocks_of(text):
    """(heading, code) of each block of Python in a page; "> " of a quote left out."""
    heading = ""
    code = None
    for line in text.splitlines():
        line = line.removeprefix(">")
        if code is None and line.startswith("#"):
            heading = line.strip("# ")
        elif code is None and line.strip() == "```python":
            code = []
        elif code is not None and line.strip() == "```":
            yield heading, textwrap.dedent("\n".join(code))
            code = None
        elif code is not None:
            code.append(line)


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_the_code_of_the_notes_as_it_stands(readers_notes, monkeypatch):
    monkeypatch.setattr(Flask, "run", lambda *_, **__: None)
    for (heading, code), block in zip(blocks_of(readers_notes), BLOCKS, strict=True):
        expected_heading, expected = block
        assert heading == expected_heading
        check_end(code, {"app": Flask("notes")}, expected)


# --- The mistakes that need a server or a shell.


def shell(command, stdin=subprocess.DEVNULL):
    """What the command prints when sh runs it."""
    done = subprocess.run(
        ["sh", "-c", command],
        env=ENVIRONMENT,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.stdout


def serve_notes(code, folder, command="notes.py", env=None):
    """A program of the notes, started as a server on port 8080."""
    (folder / "notes.py").write_text(f"from flask import Flask\n{code}")
    return serve([sys.executable, *command.split()], 8080, folder, env)


def test_mistake_4_every_machine_is_served(tmp_path):
    code = 'Flask("notes").run(host="0.0.0.0", port=8080)'
    with serve_notes(code, tmp_path) as server:
        main = psutil.Process(server.process.pid)
        # On Windows the python.exe of .venv only starts another one, which listens.
        tree = [main, *main.children(recursive=True)]
        found = [entry for process in tree for entry in process.net_connections()]
    addresses = {entry.laddr.ip for entry in found if entry.status == "LISTEN"}
    assert addresses == {"0.0.0.0"}


DEBUGGED = """
app = Flask("notes")

@app.route("/")
def view():
    password = "a secret in the source"
    return {}[0]

@app.errorhandler(500)
def ours(error):
    return "our page", 500

app.run(port=8080, debug=True, use_reloader=False)
"""
# Without this variable the debugger chooses a PIN, and prints it in the server's
# terminal.
PIN = "123-456-789"


@pytest.fixture
def debugged(tmp_path):
    """The URL of a view that fails, in an app with debug=True."""
    with serve_notes(DEBUGGED, tmp_path, env={"WERKZEUG_DEBUG_PIN": PIN}) as server:
        yield server.url


class Debugger:
    """The debugger's page, asked for under a Host header, and its console."""

    def __init__(self, url, host):
        self.url = url
        self.headers = {"Host": host}
        self.page = requests.get(url, headers=self.headers, timeout=20)
        assert self.page.status_code == 500
        assert self.page.text != "our page"
        self.key = re.search(r'SECRET = "(\w+)"', self.page.text)[1]

    def ask(self, command, cookies=None, **values):
        query = {"__debugger__": "yes", "s": self.key, "cmd": command} | values
        return requests.get(
            self.url, query, headers=self.headers, cookies=cookies, timeout=20
        )


def test_mistake_14_debug_shows_the_source(debugged):
    """To anybody, in place of the app's own page. Under a foreign Host header the
    debugger refuses its console."""
    debugger = Debugger(debugged, "192.0.2.1")
    assert "a secret in the source" in debugger.page.text
    assert "EVALEX = false" in debugger.page.text
    assert debugger.ask("pinauth", pin="0").status_code == 400


def test_mistake_14_who_knows_the_pin_runs_any_code(debugged):
    debugger = Debugger(debugged, "localhost")
    assert "a secret in the source" in debugger.page.text
    assert "EVALEX = true" in debugger.page.text
    wrong_pin = debugger.ask("pinauth", pin="0")
    assert (wrong_pin.status_code, wrong_pin.json()["auth"]) == (200, False)
    # frm: in which function of the traceback the code runs.
    frame = re.search(r'id="frame-(\d+)"', debugger.page.text)[1]
    result = str(2**99)
    assert result not in debugger.ask("2**99", frm=frame).text
    cookies = debugger.ask("pinauth", pin=PIN).cookies.get_dict()
    assert result in debugger.ask("2**99", cookies, frm=frame).text


def test_under_debug_a_missing_value_is_a_500_and_a_syntax_error_the_end(tmp_path):
    """A missing value is no 400 under debug, and the next request is answered, too. A
    syntax error ends the server."""
    code = """
from flask import request
app = Flask("notes")

@app.route("/")
def view():
    return request.args["user_name"]

app.run(port=8080, debug=True)
"""
    with serve_notes(code, tmp_path) as server:
        for _ in range(2):
            answer = requests.get(server.url, timeout=20)
            assert answer.status_code == 500
            assert "BadRequestKeyError" in answer.text
            assert "Werkzeug Debugger" in answer.text
        answer = requests.get(server.url, {"user_name": "foo"}, timeout=20)
        assert (answer.status_code, answer.text) == (200, "foo")
        (tmp_path / "notes.py").write_text("def (")
        assert server.process.wait(30) == 1
    assert "SyntaxError" in server.log


@pytest.mark.parametrize(
    "command, is_written",
    [
        ("notes.py", True),
        ("-m flask --app notes run --port 8080 --debug --no-reload", False),
    ],
)
def test_mistake_18_the_file_is_written_under_debug(command, is_written, tmp_path):
    """app.run(debug=True) turns debug on after `if not app.debug:` has run; flask run
    --debug turns it on before."""
    code = """
import logging
app = Flask("notes")
if not app.debug:
    app.logger.addHandler(logging.FileHandler("exam_log.log"))

@app.route("/")
def view():
    app.logger.error("an error")
    return f"{app.debug}"

if __name__ == "__main__":
    app.run(port=8080, debug=True, use_reloader=False)
"""
    file = tmp_path / "exam_log.log"
    with serve_notes(code, tmp_path, command) as server:
        assert requests.get(server.url, timeout=60).text == "True"
    assert file.exists() == is_written
    if is_written:
        assert "an error" in file.read_text(encoding="utf-8")


def test_mistake_22_httpie_reads_standard_input(tmp_path, posix):
    """The notes' call waits for standard input; the script's call is answered."""
    # Nobody writes into this pipe.
    read, write = os.pipe()
    with lesson("06_jsonify", tmp_path) as server:
        url = f"{server.url}/json_test"
        command = ["http", "--body", "GET", url]
        with subprocess.Popen(
            command, env=ENVIRONMENT, stdin=read, stdout=subprocess.PIPE
        ) as notes:
            try:
                # Three times, so that the notes' call has had time to start.
                for _ in range(3):
                    ours = shell(f"http --ignore-stdin --body GET {url}", stdin=read)
                    assert ours == '{"one":1,"two":2,"tmp":10000}\n'
                assert len(server.requests()) == 3, "the notes' call did not wait"
            finally:
                # Only the end of its standard input lets it go on.
                os.close(write)
            assert b"10000" in notes.communicate(timeout=60)[0]
        os.close(read)
        # Without the word GET and with an empty standard input: a POST.
        shell(f"http --body {url}")
        assert server.requests()[-1] == ("POST", "/json_test", 405)
    # What stands in standard input is sent.
    sent = shell("echo rest | http --offline --pretty=none GET 127.0.0.1")
    assert sent.startswith("GET ")
    assert sent.endswith("\nrest\n")


def test_mistake_25_the_shell_cuts_at_the_ampersand(tmp_path):
    with lesson("07_request_args", tmp_path) as server:
        path = "/login?user_name=foo&tmp_parameter=bar"
        cut = shell(f"curl -s {server.url}{path}\nwait")  # wait: for curl
        whole = shell(f'curl -s "{server.url}{path}"')
        asked = [request[1] for request in server.requests()]
    assert asked == ["/login?user_name=foo", path]
    assert json.loads(cut) == {"auth": "success", "tmp_parameter": None}
    assert json.loads(whole) == {"auth": "success", "tmp_parameter": "bar"}


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh: apt install zsh")
def test_in_zsh_the_question_mark_of_mistake_25_stops_the_call():
    printed = shell("zsh -fc 'echo http://127.0.0.1/login?user_name=foo'")
    assert printed.startswith("zsh:1: no matches found")


def test_lesson_8_prints_nothing_of_a_file(tmp_path):
    """Unlike mistake 32, with a good and with a bad picture. Every PNG file contains
    the letters IHDR."""
    picture = PICTURES / "qrcode.png"
    damaged = tmp_path / "cut.png"
    damaged.write_bytes(picture.read_bytes()[:40])
    with lesson("08_inference", tmp_path, {"PYTHONUNBUFFERED": "1"}) as server:
        call = f"curl -s {server.url}/inference -F model_type=qrcode"
        assert "Hello Flask" in shell(f"{call} -F 'img_file=@{picture}'")
        assert "it is damaged" in shell(f"{call} -F 'img_file=@{damaged}'")
        assert "IHDR" not in server.log
