"""Every call of every script, against the lesson started as a reader starts it."""

import re
import shlex
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from collection import NAMES, ROOT, as_promised, calls, imported, run_call
from collection import lesson as start_lesson

SCRIPTS = {name: ROOT / "scripts" / f"{name}.sh" for name in NAMES}


@pytest.fixture(scope="module", params=NAMES)
def played(request, tmp_path_factory):
    """A lesson after its whole script: what each call printed and requested."""
    name = request.param
    folder = tmp_path_factory.mktemp(name)
    spy = folder / "called.txt"
    env = {"PYTHONPATH": str(ROOT / "tests" / "spy"), "SPY_FILE": str(spy)}
    answers = []
    with (
        pytest.MonkeyPatch.context() as patch,
        start_lesson(name, folder, env) as server,
    ):
        patch.chdir(folder)
        for call in calls(SCRIPTS[name]):
            before = len(server.requests())
            got = run_call(call, server.url)
            answers.append((call, got, server.requests()[before:]))
        log = server.log
    return name, answers, set(spy.read_text().split()), log


def test_every_call_answers_as_promised(played):
    _, answers, _, log = played
    wrong = [
        f"{call}\n  command: {call.command}\n  want: {call.promise}\n"
        f"  got:  {got.splitlines()}"
        for call, got, _ in answers
        if not as_promised(call.promise, got)
    ]
    assert not wrong, "\n".join([*wrong, log[-2000:]])


def test_every_request_is_seen(played):
    name, answers, _, _ = played
    for call, _, requests in answers:
        if call.tool in ("curl", "http"):
            assert requests, f"{name}: {call} asked nothing"


def test_every_function_of_the_lesson_is_reached(played):
    name, _, called, _ = played
    module = imported(name)
    app = module.app
    mine = {
        f.__name__ for f in app.view_functions.values() if f.__module__ != "flask.app"
    }
    mine.discard("<lambda>")  # Flask's own route for static files
    for handlers in app.error_handler_spec[None].values():
        mine |= {handler.__name__ for handler in handlers.values()}
    for hooks in (app.before_request_funcs, app.after_request_funcs):
        mine |= {hook.__name__ for hook in hooks.get(None, [])}
    functions = {
        value.__name__
        for value in vars(module).values()
        if callable(value) and getattr(value, "__module__", "") == module.__name__
    }
    assert mine <= functions
    assert functions - called == set(), f"{name}: no call of the script reaches these"


def test_every_method_of_every_route_is_called(played):
    name, answers, _, _ = played
    app = imported(name).app
    urls = app.url_map.bind("127.0.0.1")
    reached = set()
    for _, _, requests in answers:
        for method, path, status in requests:
            if status not in (404, 405):
                reached.add((urls.match(urlsplit(path).path, method)[0], method))
    for rule in app.url_map.iter_rules():
        if rule.endpoint != "static":
            for method in rule.methods - {"HEAD", "OPTIONS"}:
                assert (rule.endpoint, method) in reached, f"{name}: {method} {rule}"


def test_curl_and_httpie_ask_the_same(played):
    """Under one remark both tools make the same requests: method, path and query."""
    name, answers, _, _ = played
    ideas = {}
    for call, _, requests in answers:
        asked = ideas.setdefault(call.idea, {}).setdefault(call.tool, set())
        for method, path, _ in requests:
            url = urlsplit(path)
            asked.add((method, unquote(url.path), tuple(parse_qsl(url.query))))
    for idea, tools in ideas.items():
        tools = {tool: asked for tool, asked in tools.items() if asked}
        # A remark that names the tool is about that tool alone.
        if tools and not re.search("curl|HTTPie", idea):
            assert set(tools) == {"curl", "http"}, f"{name}, {idea}"
        if len(tools) == 2:
            assert tools["curl"] == tools["http"], f"{name}, {idea}"


@pytest.mark.parametrize("name", NAMES)
def test_no_promise_is_lost(name):
    """The parser finds every "#=>" line, and no call goes without one."""
    text = SCRIPTS[name].read_text(encoding="utf-8")
    found = calls(SCRIPTS[name])
    assert sum(len(call.promise) for call in found) == text.count("\n#=>")
    for call in found:
        assert call.promise, f"{call} promises nothing"
        assert any(line != "..." for line in call.promise), f"{call} promises nothing"
    assert {call.tool for call in found} >= {"curl", "http"}


@pytest.mark.parametrize("name", NAMES)
def test_scripts_are_plain(name):
    """POSIX sh, no loops or background jobs, HTTPie never reads standard input."""
    text = SCRIPTS[name].read_text(encoding="utf-8")
    assert text.startswith("#!/bin/sh\n# Lesson ")
    assert f"python {name}.py" in text
    assert "\nset -v\n" in text
    for call in calls(SCRIPTS[name]):
        words = shlex.split(call.command)
        assert not {"&", "for", "while", "sleep"} & set(words), call
        if call.tool == "http":
            assert "--ignore-stdin" in words, call
        if call.tool in ("curl", "http"):
            assert '"$URL' in call.command, f"{call}: quote the URL"


def test_promises_can_fail():
    assert as_promised(["a ... c", "...", "d"], "a b c\nx\ny\nd\n")
    assert as_promised(["...", "d"], "d")
    assert not as_promised(["a"], "a\nb")
    assert not as_promised(["a", "..."], "b\na")
    assert not as_promised(["a"], "")
    assert not as_promised(["a.c"], "abc")


@pytest.mark.parametrize("played", ["04_hooks"], indirect=True)
def test_log_of_lesson_4_tells_the_order(played):
    """What the client sees in X-Order is also printed by the server, as it happens."""
    steps = re.findall("^(?:before|after|view).*$", played[3], re.MULTILINE)
    later = ["before_request", "view", "after_request"]
    answered_by_hook = ["before_request", "after_request"]
    assert steps == ["before_first_request", *later * 2, *answered_by_hook * 4]
