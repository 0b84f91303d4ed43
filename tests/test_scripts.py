"""Every call of every script, against the lesson started as a reader starts it."""

import re
import shlex
import socket
import subprocess
import sys
from types import SimpleNamespace
from urllib.parse import urlsplit

import play
import pytest
from collection import (
    ENVIRONMENT,
    NAMES,
    ROOT,
    free_port,
    imported,
    lesson,
    make_calls,
    port_of,
    script_of,
    serve,
)
from coverage import CoverageData


def refusal_of(name, url):
    """What a script's check says of the server at the URL; "" if it is the lesson."""
    try:
        play.Caller(script_of(name), url, ENVIRONMENT).check()
    except play.NotPlayed as error:
        return str(error)
    return ""


@pytest.fixture(scope="module", params=NAMES)
def played(request, tmp_path_factory):
    """A lesson after its whole script, run under coverage."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    source = str(ROOT / f"{name}.py")
    command = [sys.executable, "-m", "coverage", "run", f"--include={source}"]
    command += [f"--rcfile={ROOT / 'pyproject.toml'}", source]
    # The checks ask a server of their own, so that the log, the requests and the lines
    # below are of the script's calls alone.
    with lesson(name, tmp_path_factory.mktemp(name)) as server:
        checks = {other: refusal_of(other, server.url) for other in NAMES}
    with serve(command, port_of(name), folder) as server:
        answers = list(make_calls(name, server, folder))
        requests = server.requests()
        log = server.log
    data = CoverageData(str(folder / ".coverage"))
    data.read()
    return SimpleNamespace(
        name=name,
        answers=answers,
        checks=checks,
        requests=requests,
        log=log,
        lines=set(data.lines(source) or []),
    )


def test_every_call_answers_as_promised(played):
    wrong = [
        f"{call}\n  command: {call.command}\n  want: {call.promise}\n  got: {answer!r}"
        for call, answer in played.answers
        if not play.holds(call.promise, answer)
    ]
    assert not wrong, "\n".join([*wrong, played.log[-2000:]])


def test_every_view_hook_and_handler_is_reached(played, posix):
    app = imported(played.name).app
    functions = set(app.view_functions.values())
    for handlers in app.error_handler_spec[None].values():
        functions |= set(handlers.values())
    for hooks in (app.before_request_funcs, app.after_request_funcs):
        functions |= set(hooks.get(None, []))
    # Not Flask's own view for static files.
    own = [f for f in functions if f.__module__ == played.name]
    assert own
    for function in own:
        numbers = sorted({line for _, _, line in function.__code__.co_lines() if line})
        # The first is the line of the decorator or of "def".
        body = set(numbers[1:])
        assert played.lines & body, f"no call reaches {function.__name__}()"


def test_the_address_to_open_is_called(played):
    text = (ROOT / f"{played.name}.py").read_text(encoding="utf-8")
    path = re.search(r"^Open   http://[^/]+(/\S*)$", text, re.MULTILINE)[1]
    found = [status for *asked, status in played.requests if asked == ["GET", path]]
    assert found
    assert found[0] < 300


def rules_reached(app, requests):
    """The rule and the method of each request that has a route and was not answered
    with 404 or 405, in their order."""
    urls = app.url_map.bind("127.0.0.1")
    for method, path, status in requests:
        if status not in (404, 405):
            path = urlsplit(path).path
            rule, _ = urls.match(path, method, return_rule=True)
            yield rule, method


def test_every_method_of_every_route_is_called(played):
    app = imported(played.name).app
    found = rules_reached(app, played.requests)
    reached = {(rule.rule, method) for rule, method in found}
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "static":
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                assert (rule.rule, method) in reached, f"{method} {rule}"


def test_the_views_stand_in_the_order_of_the_calls(played):
    app = imported(played.name).app
    lines = []
    for rule, _ in rules_reached(app, played.requests):
        line = app.view_functions[rule.endpoint].__code__.co_firstlineno
        if line not in lines:
            lines.append(line)
    assert lines == sorted(lines)


def test_the_check_knows_its_lesson(played):
    """No other lesson's script takes this lesson for its own."""
    for name, message in played.checks.items():
        if name == played.name:
            assert message == ""
        else:
            assert message.startswith("Another server answers at ")
            assert f"start: python {name}.py" in message


@pytest.mark.parametrize("name", NAMES)
def test_without_a_server_the_script_says_what_to_start(name):
    message = refusal_of(name, f"http://127.0.0.1:{free_port()}")
    assert message.startswith("Nothing answers at ")
    assert len(message.splitlines()) == 1
    assert f"start: python {name}.py" in message


def test_a_server_that_does_not_answer_is_taken_for_none():
    """As a lesson that its reader has stopped with Ctrl+Z."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        message = refusal_of("01_hello", f"http://127.0.0.1:{port}")
    assert message.startswith("Nothing answers at ")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_by_hand(name, tmp_path):
    """It prints remarks, commands, promises, and the answers."""
    with lesson(name, tmp_path) as server:
        done = subprocess.run(
            # With "/" at its end, as a browser's address bar copies it.
            ["sh", str(script_of(name)), f"{server.url}/"],
            cwd=tmp_path,
            # A proxy that does not answer: it must not be asked.
            env=ENVIRONMENT
            | {"http_proxy": "http://127.0.0.1:1", "no_proxy": "", "NO_PROXY": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
    assert done.returncode == 0
    _, _, rest = script_of(name).read_text(encoding="utf-8").partition("set -v\n")
    assert done.stderr == rest
    # The promised lines come one after the other. (Without a terminal HTTPie ends some
    # answers without a newline.)
    _, calls = play.read_script(script_of(name))
    position = 0
    for call in calls:
        for line in call.promise:
            if "..." not in line:
                position = done.stdout.find(line, position)
                assert position >= 0, f"{call}: {line}"
                position += len(line)
    if name == "01_hello":
        assert done.stdout.count("<h1>Hello World!</h1>") == 3


@pytest.mark.parametrize("name", NAMES)
def test_scripts_have_their_form(name):
    """For sh, no loops or background jobs, a promise right below every call."""
    text = script_of(name).read_text(encoding="utf-8")
    preamble, calls = play.read_script(script_of(name))
    start = f"#!/bin/sh\n# Lesson {int(name[:2])}'s calls. In another terminal first:"
    assert text.startswith(f"{start}  python {name}.py\n")
    assert "\nhttp() { command http --ignore-stdin --pretty=none" in preamble
    # A lesson that its reader has stopped with Ctrl+Z does not answer.
    assert "case $(curl -s -m 9 -o /dev/null" in preamble
    # Neither an empty line nor a remark stands between a call and its promise.
    assert not re.search(r"\n(#(?!=>).*)?\n#=>", text)
    tools = set()
    for call in calls:
        words = shlex.split(call.command)
        tools.add(words[0])
        assert any(line != "..." for line in call.promise), f"{call} promises nothing"
        assert call.remark, f"{call} has no remark"
        # "&" outside of quotes is a word of its own here.
        words = list(shlex.shlex(call.command, posix=True, punctuation_chars=True))
        forbidden = {"&", "for", "while", "until", "sleep", "--ignore-stdin"}
        assert not forbidden & set(words), call
        assert "://" not in call.command, f"{call}: write $URL"
        for word in re.findall(r"\S*\$\{?URL", call.command):
            assert word.startswith('"'), f"{call}: quote the URL"
    assert tools >= {"curl", "http"}


# A line of the server's terminal, and a part of it that no answer may contain. (What
# the calls of lesson 5 print of its log file counts as an answer, too.)
TERMINAL = {
    "03_errorhandler": ("IndexError: list index out of range\n", "IndexError"),
    "05_logger": ("INFO in 05_logger: an info\n", "an info"),
    "06_jsonify": (
        "TypeError: Object of type set is not JSON serializable\n",
        "TypeError",
    ),
}


@pytest.mark.parametrize("played", TERMINAL, indirect=True)
def test_only_the_servers_terminal_shows_the_details(played):
    line, hidden = TERMINAL[played.name]
    assert line in played.log
    assert all(hidden not in answer for _, answer in played.answers)


@pytest.mark.parametrize("played", ["04_hooks"], indirect=True)
def test_lesson_4_names_the_first_host_and_this_one(played):
    """The script promises less: a reader's browser may have come before it."""
    hosts = [
        re.findall("(?:first|this) request: (.+)", answer)
        for call, answer in played.answers
        if "/hosts" in call.command
    ]
    address = "127.0.0.1:8080"
    by_another_name = [address, "example.org"]
    assert hosts == [[address, address], by_another_name, by_another_name]


@pytest.mark.parametrize("played", ["04_hooks"], indirect=True)
def test_lesson_4_prints_each_step_at_once(played):
    """While the server runs, its log has the steps of X-Steps, in this order."""
    seen = []
    for _, answer in played.answers:
        for steps in re.findall("X-Steps: (.+)", answer):
            seen += steps.split(", ")
    steps = re.findall("^(?:before_request|view|after_request)$", played.log, re.M)
    assert seen
    assert steps[: len(seen)] == seen
