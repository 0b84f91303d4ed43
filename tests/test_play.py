"""scripts/play.py: what it shows, what it notices, and that it leaves nothing."""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import play
import psutil
import pytest
import requests
from collection import (
    ENVIRONMENT,
    LESSONS,
    PICTURES,
    ROOT,
    change,
    free_port,
    is_listening,
    script_of,
    serve,
    wait_until,
)


def play_copy(folder, *words, cwd=None, **env):
    """Run the player of a copy of the collection to its end; the finished process."""
    return subprocess.run(
        [sys.executable, str(folder / "scripts" / "play.py"), *map(str, words)],
        cwd=cwd or folder,
        env=ENVIRONMENT | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def keep_calls(script, *wanted):
    """Shorten a script to the calls that contain one of the wanted texts."""
    preamble, calls = play.read_script(script)
    for call in calls:
        if any(text in call.command for text in wanted):
            promise = "".join(f"#=> {line}\n" for line in call.promise)
            preamble += f"\n{call.remark}\n{call.command}\n{promise}"
    script.write_text(preamble, encoding="utf-8")


class Player:
    """A player that runs on: its output so far, and a way to wait for some of it."""

    def __init__(self, folder, *words, **env):
        self.file = folder / "output"
        self.position = 0
        with self.file.open("w") as output:
            self.process = subprocess.Popen(
                ["sh", str(folder / "scripts" / "run.sh"), *words],
                cwd="/",  # run.sh finds its files from any folder
                env=ENVIRONMENT | env,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                text=True,
            )

    def output(self):
        """What it printed after the text that wait_for() found last."""
        return self.file.read_text(encoding="utf-8")[self.position :]

    def wait_for(self, pattern):
        """Wait until the pattern matches; return what came up to there."""
        deadline = time.monotonic() + 60
        while not (match := re.search(pattern, self.output())):
            assert time.monotonic() < deadline, f"no {pattern} in:\n{self.output()}"
            time.sleep(0.02)
        self.position += match.end()
        return match.string[: match.end()]

    def end(self, number=None):
        """Send a signal, if any, and return the status with which the player ends."""
        if number:
            self.process.send_signal(number)
        status = self.process.wait(30)
        self.process.stdin.close()
        return status


@pytest.fixture
def run_player(posix):
    """Starts players; one that a failed test leaves behind is ended."""
    players = []

    def run(folder, *words, **env):
        players.append(Player(folder, *words, **env))
        return players[-1]

    yield run
    for player in players:
        if player.process.poll() is None:
            player.end(signal.SIGTERM)


def commands_in(folder):
    """The commands, as words, of the processes that run in this folder or name it."""
    commands = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        words = process.info["cmdline"] or []
        names_it = any(str(folder) in word for word in words)
        if names_it or process.info["cwd"] == str(folder):
            commands.append(words)
    return commands


def assert_nothing_left(folder):
    """No process of this copy runs any more, and the port is free."""
    # One that has just been killed needs a moment to end.
    wait_until(lambda: commands_in(folder) == [], 5)
    assert commands_in(folder) == []
    assert not is_listening(8080)


# --- What holds, and what is shown.


@pytest.mark.parametrize(
    "promise, answer, expected",
    [
        (["a ... c", "...", "d"], "a b c\nx\ny\nd\n", True),
        (["...", "d"], "d", True),
        (["a", "", "b"], "a\n\nb\n", True),
        ([""], "", True),
        (["a"], "a\nb", False),
        (["a", "..."], "b\na", False),
        (["a"], "", False),
        (["a.c"], "abc", False),
        (["a"], "a\n\n", True),
        # "..." inside a line is a part of that line.
        (["a...c"], "a\nc", False),
        (["a", ""], "a", True),
    ],
)
def test_promises_hold_or_not(promise, answer, expected):
    assert play.holds(promise, answer) is expected


def test_how_a_script_is_read(tmp_path):
    script = tmp_path / "x.sh"
    script.write_text(
        "URL=x\nset -v\n\n# a\n# b\\\ncurl \\\n  -s\n#=> 1\n#=>\nhttp x\n"
    )
    preamble, calls = play.read_script(script)
    assert preamble == "URL=x\nset -v\n"
    # Only in a command a "\" at the end has a meaning.
    remark = "# a\n# b\\"
    assert calls == [
        play.Call(script, 6, remark, "curl \\\n  -s", ["1", ""]),
        play.Call(script, 10, remark, "http x", []),
    ]
    script.write_text("set -x\n#=> 1\n")
    with pytest.raises(play.ScriptError, match="there is no line 'set -v'"):
        play.read_script(script)
    script.write_text("\nset -v\n\n#=> 1\n")
    with pytest.raises(play.ScriptError, match="x.sh:4: there is no call above"):
        play.read_script(script)
    # Remarks with an empty line between them belong to the call below them.
    script.write_text("\nset -v\n# a\n\n# b\nx\n")
    assert [call.remark for call in play.read_script(script)[1]] == ["# a\n# b"]


@pytest.mark.parametrize("promise", ["# => 1", "  #=> 1", "#    #=> 1"])
def test_a_promise_in_another_form_is_not_overlooked(promise, tmp_path):
    script = tmp_path / "x.sh"
    script.write_text(f"\nset -v\n{promise}\n")
    with pytest.raises(play.ScriptError, match="x.sh:3: a promise begins with '#=> '"):
        play.read_script(script)


def test_a_try_it_promises_something(copy):
    lesson = copy / "01_hello.py"
    lesson.write_text(lesson.read_text().replace("#     #=> ", "#     # "))
    with pytest.raises(play.ScriptError, match="has no call with a promise"):
        play.read_try_it(lesson)


def test_names_of_a_script_in_small_letters(copy):
    script = copy / "scripts" / "01_hello.sh"
    change(script, "\nset -v\n", "\nthe_path=hello\nset -v\n")
    with script.open("a") as file:
        file.write('\ncurl -s "$URL/$the_path"\n#=> <h1>Hello World!</h1>\n')
    done = play_copy(copy, 1)
    assert done.returncode == 0, done.stdout
    assert '$ curl -s "http://127.0.0.1:8080/hello"\n' in done.stdout


def test_what_a_call_starts_in_the_background_ends_with_it(copy, posix):
    with (copy / "scripts" / "01_hello.sh").open("a") as script:
        script.write("\nsleep 99 >/dev/null 2>&1 &\n")
    assert play_copy(copy, 1).returncode == 0
    assert_nothing_left(copy)


def test_values_stand_for_names_but_not_between_single_quotes():
    caller = play.Caller(script_of("01_hello"), "http://a:1", ENVIRONMENT)
    command = '''curl "$URL/$x" $URL '$URL' "'$URL'"'''
    expected = '''curl "http://a:1/$x" http://a:1 '$URL' "'http://a:1'"'''
    assert caller.filled(command) == expected


def test_long_json_is_folded_and_nothing_else():
    berry = '{"label":"strawberry","score":0.8,"box":[277,227,116,165]}'
    text = "x, },{[" * 20
    line = f'{{"model":"[strawberry","results":[{berry},{berry}],"text":"{text}"}}'
    folded = play.fold(line, 80)
    # A text is not cut.
    *others, last = folded
    assert max(map(len, others)) <= 80
    assert last.strip() == f'"text":"{text}"}}'
    assert f"    {berry}," in folded
    assert "".join(part.strip() for part in folded) == line
    assert play.fold("<p>" + line, 80) == ["<p>" + line]


def test_control_characters_are_replaced():
    assert play.readable("a\x1b[31mb\n", "got| ") == "got| a\ufffd[31mb"


def test_colour_only_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: False))
    assert play.paint("ok", play.GREEN) == "ok"
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    assert play.paint("ok", play.GREEN) == "\x1b[32mok\x1b[0m"
    monkeypatch.setenv("TERM", "dumb")
    assert play.paint("ok", play.GREEN) == "ok"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert play.paint("ok", play.GREEN) == "ok"


def test_files_left_open_are_not_in_the_answers(tmp_path, monkeypatch):
    """HTTPie leaves open what it uploads."""
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    command = [sys.executable, "-c", "import os; open(os.devnull)"]
    done = subprocess.run(
        command, env=play.environment(tmp_path), capture_output=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_lesson_that_holds(copy, tmp_path):
    """A proxy, settings of Flask, curl and HTTPie, and the folder it is called in do
    not disturb it."""
    (tmp_path / ".curlrc").write_text("include\n")
    # With this HTTPie ends with status 4 after a 404.
    (tmp_path / "config.json").write_text('{"default_options": ["--check-status"]}')
    env = {"http_proxy": "http://127.0.0.1:9", "no_proxy": "", "NO_PROXY": ""}
    env |= {"FLASK_RUN_FROM_CLI": "true", "CURL_HOME": str(tmp_path)}
    env |= {"HTTPIE_CONFIG_DIR": str(tmp_path)}
    done = play_copy(copy, 4, cwd="/", **env)
    assert done.returncode == 0, done.stdout
    _, calls = play.read_script(script_of("04_hooks"))
    assert done.stdout.count("\n  ok\n") == len(calls)
    assert (
        '\n$ curl -s -i "http://127.0.0.1:8080/open"\nHTTP/1.1 200 OK\n' in done.stdout
    )
    steps = "before_request view after_request".split()
    assert "\n  ok\n" + "".join(f"server| {step}\n" for step in steps) in done.stdout
    # Once for each call.
    assert done.stdout.count("server| before_request\n") == len(calls)
    assert all(line in done.stdout for line in calls[0].remark.splitlines())
    assert not re.search("#=>|expected|\x1b|GET /open HTTP", done.stdout)
    # What every server prints at its start.
    usual = r"Serving Flask|Debug mode|WARNING|Running on|Press CTRL\+C"
    assert not re.search(usual, done.stdout)
    count = f"{len(calls)} of {len(calls)}"
    assert f"\n04_hooks  {count}\n" in done.stdout
    assert done.stdout.endswith(f"\n\n{count} promises hold.\n")
    assert_nothing_left(copy)


def test_a_password_of_the_readers_own_is_not_sent(copy, tmp_path):
    """HTTPie would take it from ~/.netrc."""
    login = "machine 127.0.0.1 login reader password secret\n"
    (tmp_path / ".netrc").write_text(login)
    done = play_copy(copy, 1, HOME=str(tmp_path))
    assert done.returncode == 0, done.stdout
    # http -v shows its request.
    assert "\nUser-Agent: HTTPie/" in done.stdout
    assert "Authorization" not in done.stdout


def test_what_a_lesson_prints_before_its_calls_and_between_them_is_shown(copy):
    change(copy / "01_hello.py", "\napp = ", "\nprint('at its start')\napp = ")
    after = (
        "\n    threading.Timer(0.5, print, ['after its answer']).start()\n    return"
    )
    change(copy / "01_hello.py", "\n    return", after)
    change(copy / "01_hello.py", "\nfrom flask", "\nimport threading\nfrom flask")
    keep_calls(copy / "scripts" / "01_hello.sh", "-w '\\n' \"$URL/hello\"")
    with (copy / "scripts" / "01_hello.sh").open("a") as script:
        script.write("\nsleep 1\n")
    done = play_copy(copy, 1)
    assert done.returncode == 0, done.stdout
    seen = done.stdout.partition("server| at its start\n")[2]
    assert "server| after its answer\n" in seen.partition("  ok\n")[2]


def test_the_lessons_are_summed_up(copy):
    """The first one fails: the rest is played all the same."""
    for lesson in sorted(copy.glob("[0-9]*.py"))[2:]:
        lesson.unlink()
    # The first of its calls.
    old = "-w '\\n' \"$URL/hello\"\n#=> <h1>Hello"
    change(copy / "scripts" / "01_hello.sh", old, f"{old}, and good bye")
    done = play_copy(copy)
    assert done.returncode == 1
    first, second = (
        len(play.read_script(script_of(name))[1])
        for name in ("01_hello", "02_route_args")
    )
    summary = (
        rf"\nlesson .*\n01_hello +{first - 1} of {first} +scripts/01_hello\.sh:\d+\n"
        rf"02_route_args +{second} of {second}\n\n"
        rf"{first + second - 1} of {first + second} promises hold\.\n$"
    )
    assert re.search(summary, done.stdout), done.stdout


def test_a_script_that_cannot_be_read_is_named(copy):
    change(copy / "scripts" / "01_hello.sh", "\nset -v\n", "\nset -x\n")
    done = play_copy(copy, 1)
    assert done.returncode == 1
    assert "\nscripts/01_hello.sh: there is no line 'set -v'\n" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("name", ["01_hello.py", "scripts/01_hello.sh"])
def test_a_file_in_another_encoding_is_named(copy, name):
    """As an older editor saves it on a Korean Windows."""
    with (copy / name).open("a", encoding="cp949") as file:
        file.write("# 한\n")
    done = play_copy(copy, 1)
    assert done.returncode == 1
    assert f"\n{name}: save this file as UTF-8\n" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_script_in_another_encoding_with_an_own_photograph(copy):
    with (copy / "scripts" / "08_inference.sh").open("a", encoding="cp949") as file:
        file.write("# 한\n")
    done = play_copy(copy, 8, copy / "scripts" / "pictures" / "qrcode.png")
    assert "\nscripts/08_inference.sh: save this file as UTF-8\n" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_remark_stands_above_the_first_of_its_calls_only(copy):
    calls = '"$URL/"', '"$URL/sample.jpg"'
    script = copy / "scripts" / "08_inference.sh"
    keep_calls(script, *calls)
    first, second = play.read_script(script)[1]
    assert first.remark == second.remark
    done = play_copy(copy, 8)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(first.remark) == 1


def test_a_missing_locale_does_not_disturb(copy, tmp_path, posix):
    """Where sh is bash, bash would print a warning into every answer."""
    if not (bash := shutil.which("bash")):
        pytest.skip("bash is not installed")
    (tmp_path / "sh").symlink_to(bash)
    path = f"{tmp_path}:{ENVIRONMENT['PATH']}"
    done = play_copy(copy, 6, PATH=path, LC_ALL="xx_XX.UTF-8")
    assert done.returncode == 0, done.stdout


def test_a_command_that_fails_is_reported(copy):
    """curl prints the 200, as promised. But it cannot save the answer."""
    call = """curl -s -o no/folder -w '%{http_code}\\n' "$URL/hello"\n#=> 200\n"""
    with (copy / "scripts" / "01_hello.sh").open("a") as script:
        script.write(f"\n{call}")
    done = play_copy(copy, 1)
    assert done.returncode == 1, done.stdout
    assert (
        "\n     got| 200\n     got| (The command ended with status 23.)\n"
        in done.stdout
    )


def test_blanks_at_the_end_and_a_status_of_its_own_line(copy):
    call = """curl -s "$URL/hello"; false\n#=> <h1>Hello World!</h1> \n"""
    with (copy / "scripts" / "01_hello.sh").open("a") as script:
        script.write(f"\n{call}")
    done = play_copy(copy, 1)
    assert "\nexpected| <h1>Hello World!</h1>␣\n" in done.stdout
    got = "<h1>Hello World!</h1>\n     got| (The command ended with status 1.)\n"
    assert f"     got| {got}" in done.stdout


def test_only_the_file_that_a_call_has_written_is_deleted(copy):
    script = copy / "scripts" / "08_inference.sh"
    keep_calls(script, "draw=1")
    change(script, "-o answer.jpg", "-o answer.jpg.txt")
    (copy / "my.jpg").write_text("no picture")
    (copy / "answer.jpg").write_text("the reader's")
    done = play_copy(copy, 8, "my.jpg")
    assert done.returncode == 0, done.stdout
    # The call was made, and got an error in place of a picture.
    assert "error" in (copy / "answer.jpg.txt").read_text()
    assert (copy / "answer.jpg").read_text() == "the reader's"


# The last two: the number of the call that fails first, from 0, and how many fail.
@pytest.mark.parametrize(
    "file, old, new, first, failing",
    [
        ("01_hello.py", '"<h1>Hello World', '"<h1>Hello Wrold', 0, 3),
        ("scripts/02_route_args.sh", "#=> method: PUT", "#=> method: PATCH", 6, 1),
        (
            "04_hooks.py",
            '  return "closed\\n", 503\n\n',
            '  return "closed\\n", 500\n\n',
            1,
            1,
        ),
    ],
    ids=["answer", "promise", "status"],
)
def test_what_does_not_hold_is_reported(file, old, new, first, failing, copy):
    change(copy / file, old, new)
    done = play_copy(copy, file)
    assert done.returncode == 1, done.stdout
    name = Path(file).stem
    _, calls = play.read_script(script_of(name))
    shown = rf"\n  NOT as promised: {calls[first]}\nexpected\| (?s:.*)\n     got\| "
    assert re.search(shown, done.stdout)
    held = f"{len(calls) - failing} of {len(calls)}"
    assert re.search(rf"\n{name} +{held} +{calls[first]}\n", done.stdout)


def test_the_traceback_of_the_readers_own_code_is_shown(copy):
    """Without Flask's part of it."""
    change(copy / "07_request_args.py", "return jsonify(return_data)", "return x")
    done = play_copy(copy, 7)
    assert done.returncode == 1
    assert re.search(r"server\|   \.\.\.\nserver\|   File .*args\.py", done.stdout)
    assert "server| NameError: name 'x' is not defined" in done.stdout
    assert "site-packages" not in done.stdout


def test_a_traceback_that_ends_in_a_library_keeps_its_last_line(copy):
    keep_calls(copy / "scripts" / "06_jsonify.sh", "/set")
    done = play_copy(copy, 6)
    assert done.returncode == 0, done.stdout
    hidden = "server|   ...\n"
    assert f"{hidden}server| TypeError: Object of type set is not" in done.stdout
    # One for all the frames that stand together.
    assert hidden * 2 not in done.stdout
    assert "site-packages" not in done.stdout


def test_try_it_is_played_where_the_edit_is_made(copy):
    change(copy / "03_errorhandler.py", "\n    return page, 404", "\n    return page")
    done = play_copy(copy, 3)
    assert done.returncode == 0, done.stdout
    assert "has the edit of its Try it" in done.stdout
    assert "The Try it holds." in done.stdout
    assert "\n    return page\nwith\n    return page, 404\n" in done.stdout
    count = len(play.read_try_it(copy / "03_errorhandler.py").calls)
    assert done.stdout.endswith(f"\n{count} of {count} promises hold.\n")
    # Its promise is another one now.
    change(copy / "03_errorhandler.py", "#     #=> ", "#     #=> not ")
    done = play_copy(copy, 3)
    assert done.returncode == 1, done.stdout
    assert "NOT as promised: 03_errorhandler.py:" in done.stdout
    assert "The Try it holds." not in done.stdout


def test_a_lesson_without_a_try_it(copy):
    """Such as a new one that is being written."""
    lesson = copy / "01_hello.py"
    code, _, _ = lesson.read_text(encoding="utf-8").partition("\n# Try it")
    lesson.write_text(code, encoding="utf-8")
    done = play_copy(copy, 1)
    assert done.returncode == 0, done.stdout


def test_try_it_whose_comment_is_edited_as_well(copy):
    """As an editor does that replaces all places."""
    file = copy / "03_errorhandler.py"
    text = file.read_text(encoding="utf-8")
    text = text.replace("return page, 404", "return page")
    file.write_text(text, encoding="utf-8")
    done = play_copy(copy, 3)
    assert done.returncode == 0, done.stdout
    assert "The Try it holds.\nTo go back, undo your edit: it has" in done.stdout
    assert "replace in" not in done.stdout


# As if another player's lesson took the port at the same moment.
TAKEN = "    taken = socket.create_server(('127.0.0.1', 8080))\n    time.sleep(1)\n"


@pytest.mark.parametrize(
    "line, reason, shown",
    [
        (f"{TAKEN}    app.run(", "Port 8080 is in use", "server| Port 8080 is in use"),
        (
            "    app.walk(",
            "AttributeError: ",
            "server| Traceback (most recent call last):",
        ),
        ("    dict(", "it printed nothing", ""),
    ],
)
def test_a_lesson_that_does_not_start(line, reason, shown, copy):
    change(copy / "01_hello.py", "    app.run(", line)
    change(copy / "01_hello.py", "\nfrom flask", "\nimport socket, time\nfrom flask")
    done = play_copy(copy, 1)
    assert done.returncode == 1
    failure = f"01_hello.py did not start: {reason}"
    assert re.search(rf"\n01_hello +0 of \d+ +{failure}", done.stdout)
    assert shown in done.stdout
    assert_nothing_left(copy)


def test_a_lesson_that_ends_during_a_call(copy):
    change(copy / "01_hello.py", "    return", "    os._exit(3)\n    return")
    change(copy / "01_hello.py", "\nfrom flask", "\nimport os\nfrom flask")
    done = play_copy(copy, 1)
    assert done.returncode == 1
    assert "01_hello.py has ended, with status 3.\n" in done.stdout
    assert_first_call_failed(done)
    assert_nothing_left(copy)


def test_a_call_that_takes_too_long(copy):
    change(copy / "scripts" / "play.py", "CALL_SECONDS = 60", "CALL_SECONDS = 1")
    change(copy / "01_hello.py", "    return", "    time.sleep(9)\n    return")
    change(copy / "01_hello.py", "\nfrom flask", "\nimport time\nfrom flask")
    done = play_copy(copy, 1)
    assert done.returncode == 1
    assert_first_call_failed(done, ": no answer within 1 seconds.")
    assert_nothing_left(copy)


def assert_first_call_failed(done, reason=""):
    """And the summary says so."""
    first = play.read_script(script_of("01_hello"))[1][0]
    assert re.search(rf"\n01_hello +0 of \d+ +{first}{reason}\n", done.stdout)


def test_a_lesson_whose_port_its_reader_has_changed(copy):
    port = free_port()
    change(copy / "01_hello.py", "port=8080", f"# port=8080\n        port={port}")
    # Another program uses the old one.
    with socket.create_server(("127.0.0.1", 8080)):
        done = play_copy(copy, 1)
    assert done.returncode == 0, done.stdout
    assert f'"http://127.0.0.1:{port}/hello"' in done.stdout
    # The calls of the Try it go there, too.
    route = '\n@app.route("/hello")\n'
    change(copy / "01_hello.py", route, route + '@app.route("/")\n')
    done = play_copy(copy, 1)
    assert done.returncode == 0, done.stdout
    assert "The Try it holds." in done.stdout
    assert f'"http://127.0.0.1:{port}/"' in done.stdout


def test_no_lesson_listens_at_a_port_that_is_no_port():
    assert not play.is_listening("http://127.0.0.1:80800")


def test_a_port_in_use(copy):
    with socket.create_server(("127.0.0.1", 8080)):
        done = play_copy(copy, 2)
    assert done.returncode == 1
    assert "Port 8080 is in use. Stop the program that uses it (lsof -i" in done.stdout
    assert "sh scripts/run.sh 2 --url http://127.0.0.1:8080\n" in done.stdout


# --- The command line.


def test_a_lesson_has_many_names():
    for name in "3", "03", "03_errorhandler", "03_errorhandler.py", str(LESSONS[2]):
        assert play.lesson_named(name) == LESSONS[2]
    assert play.lesson_named("scripts/03_errorhandler.sh") == LESSONS[2]
    # A photograph, with the 8 forgotten.
    assert play.lesson_named("3.jpg") is None


def test_a_copy_of_a_lesson_is_no_lesson(copy):
    """Such as a file manager makes it."""
    shutil.copy(copy / "01_hello.py", copy / "01_hello copy.py")
    done = play_copy(copy, "--lessons")
    assert done.stdout.split() == [lesson.stem for lesson in LESSONS]


def test_an_option_may_stand_between_the_words():
    photo = PICTURES / "strawberries.jpg"
    options = play.read_arguments(["8", "--step", str(photo)])
    assert (options.step, options.photo) == (True, photo.as_posix())


def test_a_call_may_take_a_minute_but_any_time_with_url():
    assert play.read_arguments(["1"]).limit == 60
    assert play.read_arguments(["1", "--url", "http://a:1"]).limit is None


def test_a_slash_at_the_end_of_a_url_is_dropped():
    """A browser's address bar adds it."""
    assert play.read_arguments(["1", "--url", "http://a:1/"]).url == "http://a:1"


@pytest.mark.parametrize(
    "words, message",
    [
        ("--help", "sh scripts/run.sh watch 3 "),
        ("99", f"there is no lesson 99: 1 to {len(LESSONS)}, or none for all"),
        ("8 no.jpg", "there is no file no.jpg"),
        ("3 README.md", "03_errorhandler.py takes no photograph: what is README.md?"),
        ("1 2", "01_hello.py takes no photograph: what is 2?"),
        ("3 --url http://127.0.0.1:8080/hello", "--url has no path"),
        ("3 --url 127.0.0.1:8080", "--url has no path"),
        ("watch", "watch and --url need a lesson, such as 3"),
        ("--url http://127.0.0.1:1", "watch and --url need a lesson, such as 3"),
        ("watch 3 --url http://127.0.0.1:1", "watch starts the lesson itself"),
        ("watch 3 --step", "watch does not wait for Enter"),
        ("--lesson 3", "unrecognized arguments: --lesson"),
        (
            "8 scripts/pictures/strawberries.jpg no.jpg",
            "one photograph at a time: what is no.jpg?",
        ),
    ],
)
def test_wrong_words_are_named_and_help_is_given(words, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as info:
        play.read_arguments(words.split())
    assert info.value.code == (0 if words == "--help" else 2)
    assert message in "".join(capsys.readouterr())


def test_against_a_server_of_the_readers_own(copy, tmp_path):
    # Not on the lesson's usual port.
    port = free_port()
    command = [sys.executable, "-m", "flask", "--app", str(ROOT / "01_hello.py"), "run"]
    with serve([*command, "--port", str(port)], port, tmp_path) as server:
        done = play_copy(copy, 1, "--url", server.url)
        wrong = play_copy(copy, 2, "--url", server.url)
        assert server.process.poll() is None
    missing = play_copy(copy, 1, "--url", server.url)
    assert done.returncode == 0, done.stdout
    assert (wrong.returncode, missing.returncode) == (1, 1)
    assert f"Another server answers at {server.url}" in wrong.stdout
    assert f"Nothing answers at {server.url}" in missing.stdout


def test_own_photograph(copy, tmp_path, posix):
    """Any name, in the folder where the reader is; the promises about the sample
    picture do not count."""
    keep_calls(copy / "scripts" / "08_inference.sh", "$PHOTO", "qrcode")
    photo = tmp_path / """my, photo; "딸기" & $HOME's `id`.jpg"""
    shutil.copy(PICTURES / "strawberries.jpg", photo)
    done = play_copy(copy, 8, photo.name, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    name_in_json = r"""my, photo; \"딸기\" & $HOME's `id`.jpg"""
    assert f'"filename":"{name_in_json}"' in done.stdout
    assert "is not a JPEG, PNG or WebP" not in done.stdout
    _, calls = play.read_script(copy / "scripts" / "08_inference.sh")
    count = sum("$PHOTO" not in call.command for call in calls)
    assert count > 0
    assert done.stdout.endswith(f"\n{count} of {count} promises hold.\n")
    assert done.stdout.count("\n  ok\n") == count
    assert (copy / "answer.jpg").read_bytes().startswith(b"\xff\xd8\xff")


def test_a_command_with_an_own_photograph_that_fails(copy):
    """The promise is about another picture: it is not shown as expected."""
    script = copy / "scripts" / "08_inference.sh"
    keep_calls(script, "draw=1")
    change(script, "-o answer.jpg", "-o no/answer.jpg")
    shutil.copy(PICTURES / "qrcode.png", copy / "my.png")
    done = play_copy(copy, 8, "my.png")
    assert done.returncode == 1, done.stdout
    assert "\n  The command failed: scripts/08_inference.sh:" in done.stdout
    assert "(The command ended with status 23.)" in done.stdout
    assert "expected" not in done.stdout


def test_own_file_that_is_no_picture(copy):
    """The error is shown, not saved as answer.jpg."""
    keep_calls(copy / "scripts" / "08_inference.sh", "$PHOTO")
    (copy / "my.jpg").write_text("no picture")
    done = play_copy(copy, 8, "my.jpg")
    assert done.returncode == 0, done.stdout
    shown = r'answer\.jpg -w .*\n400 application/json\n\{"error":"img_file'
    assert re.search(shown, done.stdout)
    assert not (copy / "answer.jpg").exists()


# --- A reader at her terminal.


def test_step_waits_for_enter(ready, run_player):
    """The time limit does not count the time at the prompt."""
    change(ready / "scripts" / "play.py", "CALL_SECONDS = 60", "CALL_SECONDS = 2")
    keep_calls(ready / "scripts" / "01_hello.sh", "curl")
    player = run_player(ready, "1", "--step")
    for seconds in (2.5, 0.2, 0.2):
        seen = player.wait_for("Enter makes this call")
        assert "$ curl -s -w" in seen.splitlines()[-2]
        time.sleep(seconds)
        assert "  ok" not in player.output()
        player.process.stdin.write("\n")
        player.process.stdin.flush()
    player.wait_for("3 of 3 promises hold")
    assert player.end() == 0


def test_step_ends_with_its_input(copy):
    done = play_copy(copy, 1, "--step")
    assert done.returncode == 130
    assert done.stdout.endswith("  [Enter makes this call]\n")
    assert_nothing_left(copy)


def test_watch_plays_again_at_every_save(ready, run_player):
    file = ready / "03_errorhandler.py"
    original = file.read_text(encoding="utf-8")
    total = len(play.read_script(script_of("03_errorhandler"))[1])
    all_hold = rf"{total} of {total} promises hold.\nWaiting"
    one_does_not = rf"{total - 1} of {total} promises hold. First trouble: scripts/.*\n"
    player = run_player(ready, "watch", "3")
    seen = player.wait_for(all_hold)
    assert "server| IndexError: list index out of range" in seen
    assert "is even" not in seen and "NOT" not in seen
    # What the lesson prints for calls of the reader's own is shown while it waits.
    requests.get("http://127.0.0.1:8080/fruit/9", timeout=60)
    player.wait_for(r"server\| IndexError: list index out of range\n")
    change(file, "is even", "is odd")
    seen = player.wait_for(one_does_not)
    _, calls = play.read_script(script_of("03_errorhandler"))
    assert f"\n{calls[0].remark}\n$ curl -s -w '\\n%{{http_code}}\\n' \"http:" in seen
    assert "     got| 2 is odd\n" in seen
    # The file is gone for a while.
    file.rename(ready / "draft")
    player.wait_for(r"0 of 0 promises hold.*\nWaiting")
    (ready / "draft").rename(file)
    player.wait_for(one_does_not)
    file.write_text("def\n", encoding="utf-8")
    seen = player.wait_for(rf"0 of {total} promises hold.*\nWaiting")
    assert "did not start: SyntaxError" in seen
    file.write_text(original, encoding="utf-8")
    player.wait_for(all_hold)
    change(ready / "scripts" / "03_errorhandler.sh", "#=> melon", "#=> lemon")
    assert "expected| lemon\n" in player.wait_for(one_does_not)
    # The lesson runs on, for calls of the reader's own.
    assert is_listening(8080)
    assert player.end(signal.SIGINT) == 130
    assert_nothing_left(ready)


def test_watch_gives_an_editor_time_for_the_second_step_of_a_save(monkeypatch):
    """Some editors first empty the file: the player waits before it plays again."""
    steps = []

    class FakeServer:
        def __init__(self, lesson, options):
            steps.append("start")

        def stop(self):
            steps.append("stop")
            raise KeyboardInterrupt

    result = SimpleNamespace(held=1, promised=1, first_failure="", is_good=True)
    # The lesson is saved while it is played.
    saves = iter(["old", "new"])
    monkeypatch.setattr(play, "Server", FakeServer)
    monkeypatch.setattr(play, "play_lesson", lambda *_: result)
    monkeypatch.setattr(play, "stamps", lambda lesson: next(saves))
    monkeypatch.setattr(play.time, "sleep", lambda seconds: steps.append("wait"))
    with pytest.raises(KeyboardInterrupt):
        play.watch(LESSONS[0], SimpleNamespace())
    assert steps == ["start", "wait", "stop"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"])
def test_signals_leave_nothing_behind(name, ready, tmp_path, run_player):
    folder = tmp_path / "tmp"
    folder.mkdir()
    # The lesson, and a process that it has started: that one ignores SIGTERM.
    command = ["sh", "-c", 'trap "" TERM; sleep 60']
    waiting = f"    import subprocess; subprocess.run({command})\n    return"
    change(ready / "01_hello.py", "    return", waiting)
    player = run_player(ready, "1", TMPDIR=str(folder))
    player.wait_for(r"\$ curl .*\n")
    wait_until(lambda: ["sleep", "60"] in commands_in(ready))
    assert list(folder.iterdir()) != []
    number = getattr(signal, name)
    assert player.end(number) == 128 + number
    assert list(folder.iterdir()) == []
    assert_nothing_left(ready)


def test_a_signal_while_a_process_is_being_started(tmp_path, posix):
    """It has to wait until the player knows of the process, and can end it."""
    code = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
import play

def popen(*args, real=subprocess.Popen, **options):
    process = real(*args, **options)
    os.kill(os.getpid(), signal.SIGINT)
    return process

subprocess.Popen = popen
play.end_at_signals()
try:
    play.start_process(["sleep", "60"], cwd={str(tmp_path)!r})
finally:
    for process in list(play.running):
        play.stop_process(process)
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60)
    assert done.returncode == 130
    assert commands_in(tmp_path) == []


def ignore_sigterm(lesson):
    """Change a lesson so that the player must kill it."""
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    change(lesson, "\nfrom flask", f"\n{ignore}\nfrom flask")


def test_a_lesson_that_ignores_sigterm_is_ended(copy, posix):
    ignore_sigterm(copy / "01_hello.py")
    done = play_copy(copy, 1)
    assert done.returncode == 0, done.stdout
    assert_nothing_left(copy)


def test_a_second_ctrl_c_while_the_player_tidies_up(run_player, ready):
    ignore_sigterm(ready / "01_hello.py")
    player = run_player(ready, "watch", "1")
    player.wait_for(r"\nWaiting")
    player.process.send_signal(signal.SIGINT)
    # Now the player waits for the end of the lesson.
    time.sleep(0.5)
    assert is_listening(8080)
    assert player.end(signal.SIGINT) == 130
    assert_nothing_left(ready)


def test_under_nohup_the_player_does_not_end_with_its_terminal(run_player, ready):
    # What nohup does: the player takes this over.
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        player = run_player(ready, "watch", "1")
    finally:
        signal.signal(signal.SIGHUP, before)
    player.wait_for(r"\nWaiting")
    player.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert player.process.poll() is None
    assert player.end(signal.SIGTERM) == 143
    assert_nothing_left(ready)


def test_output_that_is_cut_off_ends_the_play(ready, tmp_path, posix):
    folder = tmp_path / "tmp"
    folder.mkdir()
    with (ready / "scripts" / "01_hello.sh").open("a") as script:
        script.write("\ntouch played\n")
    done = subprocess.run(
        f"sh '{ready}/scripts/run.sh' 1 | head -n 3",
        shell=True,
        env=ENVIRONMENT | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr == ""
    wait_until(lambda: list(folder.iterdir()) == [], 10)
    assert_nothing_left(ready)
    # The last call was not made.
    assert not (ready / "played").exists()
