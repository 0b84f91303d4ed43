"""Start a lesson, make the calls of its script, compare every answer with its promise.

    sh scripts/run.sh             play all lessons
    sh scripts/run.sh 3           play lesson 3 (03 and 03_errorhandler.py work as well)
    sh scripts/run.sh 8 my.jpg    play lesson 8 with your own photograph
    sh scripts/run.sh watch 3     play lesson 3 again whenever you save it or its script
    sh scripts/run.sh setup       only install the packages of all lessons

A script is scripts/NN_name.sh. The lines "#=> " under a call are the promise: what the
call prints. "#=> ..." stands for any number of lines, "..." inside a line for anything.
Where you have made the edit of a lesson's Try it, the calls of the Try it are made in
place of those of the script.
"""

# Other programs compare answers, too: prysk, byexample, clitest. Here they do not help:
# prysk and byexample read scripts of another form, nothing in prysk stands for several
# lines, and clitest has no "...".

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60  # a lesson has this long to start
SILENT_SECONDS = 5  # after this an open port alone shows that it has started
CALL_SECONDS = 60  # a call has this long
POLL_SECONDS = 0.2  # watch looks for a save this often


# --- The lessons.


def script_of(lesson):
    return ROOT / "scripts" / f"{lesson.stem}.sh"


def number_of(lesson):
    return int(lesson.stem.split("_")[0])


# A copy of a lesson, such as "01_hello copy.py", has no script: it is no lesson.
LESSONS = [
    lesson
    for lesson in sorted(ROOT.glob("[0-9][0-9]_*.py"))
    if script_of(lesson).exists()
]


# --- Scripts and promises.


class ScriptError(Exception):
    """A script or a Try it that cannot be read."""


@dataclass
class Call:
    """One call of a script or a Try it: where it stands, what it runs and promises."""

    file: Path
    line: int  # from 1
    remark: str
    command: str
    promise: list = field(default_factory=list)

    def __str__(self):
        return f"{relative(self.file)}:{self.line}"


def relative(path):
    """The path as a reader in the collection's folder types it."""
    path = path.absolute()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def text_of(path):
    """Return the text of a lesson or a script. ScriptError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ScriptError(f"{relative(path)}: save this file as UTF-8") from None


def read_script(path):
    """Return the preamble of a script (up to "set -v") and the list of its calls."""
    preamble, mark, rest = text_of(path).partition("\nset -v\n")
    if not mark:
        raise ScriptError(f"{relative(path)}: there is no line 'set -v'")
    preamble += mark
    return preamble, read_calls(path, rest.splitlines(), preamble.count("\n") + 1)


def read_calls(path, lines, first_number):
    """Return the calls in these lines of a file; the first line has first_number."""
    calls = []
    remark = ""
    previous = ""
    for number, line in enumerate(lines, first_number):
        place = f"{relative(path)}:{number}"
        if line.startswith("#=>"):
            if not calls:
                raise ScriptError(f"{place}: there is no call above this promise")
            calls[-1].promise.append(line[3:].removeprefix(" "))
        elif re.match(r"[\s#]*#\s*=>", line):
            # It would be taken for a remark or a command, and not be compared.
            raise ScriptError(
                f"{place}: a promise begins with '#=> ', in a Try it with '#     #=> '"
            )
        elif line.startswith("#"):
            goes_on = previous.startswith("#") and not previous.startswith("#=>")
            remark = f"{remark}\n{line}" if goes_on else line
        elif previous.endswith("\\") and not previous.startswith("#"):
            # The call goes on in this line.
            calls[-1].command += f"\n{line}"
        elif line.strip():
            calls.append(Call(path, number, remark, line))
        else:
            # Remarks with an empty line between them belong to one call.
            continue
        previous = line
    return calls


def holds(promise, answer):
    """Return whether the answer (a text) is what the promise (a list of lines) says."""
    pattern = ""
    # Empty lines at the end do not count, neither here nor in the answer.
    for line in "\n".join(promise).rstrip("\n").split("\n"):
        if line == "...":
            pattern += r"(?:.*\n)*"
        else:
            pattern += re.escape(line).replace(r"\.\.\.", ".*") + r"\n"
    return re.fullmatch(pattern, answer.rstrip("\n") + "\n") is not None


# --- The Try it at the end of a lesson.


@dataclass
class TryIt:
    """The edit that a lesson proposes, and its calls that have a promise."""

    code: str  # the lesson above the block
    old: list
    new: list
    calls: list

    def is_made(self):
        """Return whether the code has the new lines in the place of the old ones.

        Empty lines do not count: the reader, or her editor, may add some."""
        lines = [line for line in self.code.splitlines() if line.strip()]
        places = places_of(self.new, lines)
        if not places:
            return False
        # The new lines may repeat the old ones, as in lesson 1: so look for the old
        # ones in the rest. The empty line keeps apart what stands before and after the
        # new lines: together they could look like the old ones.
        end = places[0] + len(self.new)
        rest = lines[: places[0]] + [""] + lines[end:]
        return not places_of(self.old, rest)


def places_of(wanted, lines):
    """Return where the wanted lines stand among the lines, all indented alike. Single
    quotes count as double ones."""
    wanted = [text.replace("'", '"') for text in wanted]
    lines = [text.rstrip().replace("'", '"') for text in lines]
    places = []
    for start, line in enumerate(lines):
        indent = line[: len(line) - len(line.lstrip())]
        found = lines[start : start + len(wanted)]
        if found == [indent + text for text in wanted]:
            places.append(start)
    return places


def read_try_it(lesson):
    """Return the Try it of a lesson, None if it has none. ScriptError if it is not in
    its form."""
    code, mark, block = text_of(lesson).partition("\n# Try it: replace\n")
    if not mark:
        return None
    indent = "#     "
    # Lines of code and lines of prose in turn: old, "with", new, how, calls, why.
    groups = groupby(block.splitlines(), lambda line: line.startswith(indent))
    parts = [[line.removeprefix(indent) for line in group] for _, group in groups]
    if len(parts) < 5 or parts[1] != ["# with"]:
        raise ScriptError(f"{relative(lesson)}: the Try it is not in its form")
    old, _, new, how, *rest = parts
    lines = [line for part in rest for line in part]
    # One for the line "# with", and one because lines count from 1.
    first_number = (code + mark).count("\n") + len(old + new + how) + 2
    calls = [call for call in read_calls(lesson, lines, first_number) if call.promise]
    if not calls:
        raise ScriptError(f"{relative(lesson)}: the Try it has no call with a promise")
    return TryIt(code, old, new, calls)


# --- Processes. At the end none of them is left.

running = []
starting = False
received = None


def start_process(command, **options):
    """Start a process in a group of its own, and remember it until stop_process()."""
    global starting
    # If a signal ended this program just now, the process would stay behind. So the
    # signal waits until the process is remembered.
    starting = True
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )
        running.append(process)
    finally:
        starting = False
    if received:
        raise SystemExit(128 + received)
    return process


def stop_process(process):
    """End a process and its children."""
    if os.name == "posix":
        end_group(process, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        # Itself, or a child that goes on without it.
        end_group(process, signal.SIGKILL)
    elif process.poll() is None:
        # process.terminate() would leave the children.
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True)
    process.wait()
    running.remove(process)


def end_group(process, number):
    """Send a signal to a process and to its children."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # all of them have ended (PermissionError: on macOS)


def end_at_signals():
    """Make the signals that end a program raise SystemExit: main() then tidies up."""

    names = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def end(number, _):
        global received
        received = number
        # A second signal must not cut the tidying up short.
        for other in numbers:
            signal.signal(other, signal.SIG_IGN)
        if not starting:
            raise SystemExit(128 + number)

    for number in numbers:
        # nohup, for example, asks to ignore SIGHUP.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)


# --- What a lesson and its calls get from outside.


def environment(folder):
    """Write settings of curl and HTTPie into the folder; return the environment
    variables for a lesson and for its calls."""
    # The reader's own settings must not change what is played.
    variables = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FLASK_")
    }
    # The commands beside this Python: flask, http.
    variables["PATH"] = (
        str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    )
    variables["PYTHONUTF8"] = "1"
    # Where LC_ALL names what is not installed, bash prints a warning into each answer.
    variables["LC_ALL"] = "C"
    # Ask the lesson itself, even if a proxy is set on this computer.
    variables["no_proxy"] = "*"
    variables["NO_PROXY"] = "*"
    # Where these are set, or PYTHONDEVMODE, HTTPie prints that it has left files open.
    warnings = [os.environ.get("PYTHONWARNINGS"), "ignore::ResourceWarning"]
    variables["PYTHONWARNINGS"] = ",".join(filter(None, warnings))
    # HTTPie would send a password from ~/.netrc.
    variables["NETRC"] = os.devnull
    # HTTPie would look for a newer version now and then, and say so in an answer.
    variables["HTTPIE_CONFIG_DIR"] = str(folder)
    (folder / "config.json").write_text('{"disable_update_warnings": true}')
    # curl takes this empty file in place of the reader's own.
    variables["CURL_HOME"] = str(folder)
    (folder / ".curlrc").touch()
    return variables


# --- The lesson's server.


class NotPlayed(Exception):
    """Why a lesson cannot be played, or cannot go on."""


# What every server prints: the lines at its start, and a line for each request, such
# as  127.0.0.1 - - [28/Nov/2026 20:02:31] "GET /hello HTTP/1.1" 200 -
USUAL = re.compile(
    r" \* (Serving Flask app|Debug mode: off|Running on)|Press CTRL\+C to quit"
    r"|WARNING: This is a development server"
    r'|\S+ - - \[.+?\] "'
)


class Server:
    """A lesson, started as its reader starts it, and what it prints."""

    def __init__(self, lesson, options):
        self.lesson = lesson
        self.env = options.env
        self.process = None
        # How many bytes of the output were shown.
        self.position = 0
        # The output goes into a file, so that it is complete when a call ends.
        self.log = options.folder / f"{lesson.stem}.log"
        self.log.write_bytes(b"")

    def start(self, url):
        """Start the lesson, wait until it listens, and return its URL. NotPlayed if its
        port is in use, or it ends, or does not listen within START_SECONDS."""
        # The reader may have changed the port, perhaps because the usual one is in use.
        port_in_code = re.search(r"^[^#\n]*\bport=(\d+)", text_of(self.lesson), re.M)
        if port_in_code:
            url = f"http://127.0.0.1:{port_in_code[1]}"
        if is_listening(url):
            port = urlsplit(url).port
            raise NotPlayed(
                f"Port {port} is in use. Stop the program that uses it "
                f"(lsof -i :{port} names it; on Windows netstat -ano), "
                "then run this again.\n"
                "Is it the lesson, started by you? Then type\n"
                f"sh scripts/run.sh {number_of(self.lesson)} --url {url}"
            )
        with self.log.open("ab") as log:
            self.process = start_process(
                [sys.executable, self.lesson.name],
                cwd=ROOT,
                # What the lesson prints is seen at once.
                env=self.env | {"PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
            )
        begin = time.monotonic()
        while time.monotonic() < begin + START_SECONDS and self.process.poll() is None:
            ready = re.search(rb"Running on (http://\S+)", self.log.read_bytes())
            if ready:
                return ready[1].decode()
            # A lesson may hide that line: then only its port shows that it is ready.
            # But another player's lesson may have taken the port since we looked. Then
            # ours ends with an error: give it the time for that.
            if time.monotonic() > begin + SILENT_SECONDS and is_listening(url):
                return url
            time.sleep(0.02)
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        reason = lines[-1] if lines else "it printed nothing"
        raise NotPlayed(f"{self.lesson.name} did not start: {reason}")

    def check(self):
        """Raise NotPlayed if the lesson has ended."""
        status = self.process.poll()
        if status is not None:
            raise NotPlayed(f"{self.lesson.name} has ended, with status {status}.")

    def new_lines(self):
        """Return what the lesson printed since the last time, without the usual."""
        with self.log.open("rb") as log:
            log.seek(self.position)
            data = log.read()
        self.position += len(data)
        text = re.sub(r"\x1b\[[0-9;]*m", "", data.decode(errors="replace"))
        lines = [line for line in text.splitlines() if line and not USUAL.match(line)]
        return without_library_frames(lines)

    def stop(self):
        if self.process in running:
            stop_process(self.process)


def without_library_frames(lines):
    """Return the lines, with "..." for a traceback's lines of installed packages."""
    kept = []
    in_library = False
    for line in lines:
        if line.startswith('  File "'):
            in_library = "site-packages" in line
        elif not line.startswith("    "):
            in_library = False
        if not in_library:
            kept.append(line)
        elif kept[-1:] != ["  ..."]:
            kept.append("  ...")
    return kept


def is_listening(url):
    """Return whether something accepts connections at the URL's host and port."""
    address = urlsplit(url)
    try:
        socket.create_connection((address.hostname, address.port), 2).close()
    except (OSError, ValueError):
        # ValueError: the port is above 65535.
        return False
    return True


# --- Making a call.


class Caller:
    """Makes the calls of one script, each with a shell of its own: a variable or a
    folder that one call sets is unknown to the next."""

    def __init__(self, script, url, env, photo="", cwd=ROOT):
        self.preamble, self.calls = read_script(script)
        match = re.search(r"^URL=\$\{1:-(\S+)\}$", self.preamble, re.MULTILINE)
        if not match:
            raise ScriptError(f"{relative(script)}: there is no line 'URL=${{1:-…}}'")
        self.default_url = match[1]
        self.url = url or self.default_url
        # What "$0" stands for. (Only the tests play in another folder than ROOT.)
        self.script = relative(script) if cwd == ROOT else script.as_posix()
        self.env = env
        self.photo = photo
        self.cwd = cwd
        # The variables and the functions (each in one line) of the preamble, without
        # its check.
        lines = re.findall(r"^(?:\w+=|\w+\(\) *\{).*$", self.preamble, re.MULTILINE)
        self.settings = "\n".join(lines)

    def sh(self, code, limit=None):
        """Run this code with the script's arguments; return (status, output).

        The output has the errors (stderr), too. What the code has started in the
        background ends with it. TimeoutExpired after limit seconds (None: never)."""
        # sh takes the words after the code as $0, $1 and $2.
        process = start_process(
            ["sh", "-c", code, self.script, self.url, self.photo],
            cwd=self.cwd,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            output, _ = process.communicate(timeout=limit)
        finally:
            stop_process(process)
        return process.returncode, output.decode(errors="replace").replace("\r\n", "\n")

    def check(self):
        """Raise NotPlayed if the script's own check does not find its lesson."""
        # It ends by itself: its curl waits for 9 seconds at most.
        status, output = self.sh(self.preamble)
        if status != 0:
            raise NotPlayed(output.strip() or f"The check ended with status {status}.")

    def values(self):
        """Ask the shell for the value of "$URL", "$0" and the script's other names."""
        names = ["0", *re.findall(r"^(\w+)=", self.settings, re.MULTILINE)]
        references = " ".join(f'"${name}"' for name in names)
        _, output = self.sh(f"{self.settings}\nprintf '%s\\0' {references}")
        return dict(zip(names, output.split("\0")))

    def filled(self, command):
        """Return the command with the values in the place of the names: a reader can
        copy it and run it as it is shown."""
        values = self.values()

        def value_of(match):
            if match[1] not in values:
                return match[0]
            # Between double quotes the shell gives these characters a meaning.
            return re.sub(r'(["\\$`])', r"\\\1", values[match[1]])

        def fill(match):
            # Between single quotes "$" has no meaning.
            if match[0].startswith("'"):
                return match[0]
            return re.sub(r"\$(\w+)", value_of, match[0])

        # A text in single quotes, a text in double quotes, or a name outside of quotes.
        return re.sub(r"""'[^']*'|"(?:\\.|[^"\\])*"|\$\w+""", fill, command)

    def run(self, command, limit=None):
        """Return (status, output) of a command. TimeoutExpired if it takes too long."""
        return self.sh(f"{self.settings}\n{command}", limit)


# --- What the reader sees.

GREEN, RED, GREY, BOLD = "32", "31", "2", "1"  # codes for the terminal


def say(text=""):
    """Print at once, so that the reader never waits for what is there already."""
    print(text, flush=True)


def paint(text, colour):
    """Return the text in a colour, on a terminal that has colours, and whose user wants
    them."""
    has_colours = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if not has_colours or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def fold(line, width):
    """Return a long line of JSON as several lines, cut after "," or before an object,
    but not in a text. [{"a":1},{"b":2}] becomes three lines: [ and {"a":1}, and
    {"b":2}]"""
    if len(line) <= width or not line.startswith(("{", "[")):
        return [line]
    lines = []
    depth = 0
    quoted = r'"(?:\\.|[^"\\])*"'
    # An object in a list begins a line. A text stays whole: it may hold "},{", too.
    pattern = rf"({quoted})|(?<=\[)(?=\{{)|(?<=\}},)(?=\{{)"
    for part in re.sub(pattern, lambda found: found[1] or "\n", line).split("\n"):
        indent = "    " * depth
        piece = indent
        # A word is what stands between two commas; a text in quotes may hold commas.
        for word in re.findall(rf"(?:{quoted}|[^,])+,?|,", part):
            if len(piece + word) > width and piece.strip():
                lines.append(piece)
                piece = indent + "    "
            piece += word
        lines.append(piece)
        outside = re.sub(quoted, "", part)
        depth += outside.count("[") - outside.count("]")
    return lines


def readable(text, mark=""):
    """Return an answer for the eye: long JSON folded, each line after the mark.

    After a mark, where two answers are compared, blanks at the end of a line are
    shown, each as "␣"."""
    width = shutil.get_terminal_size().columns - len(mark)
    lines = []
    for line in text.rstrip("\n").split("\n"):
        # Control characters could change the colours of the terminal.
        line = "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)
        if mark:
            bare = line.rstrip(" ")
            line = bare + "␣" * (len(line) - len(bare))
        lines += [mark + part for part in fold(line, width)]
    return "\n".join(lines)


# --- Playing.


@dataclass
class Result:
    """How a lesson went: promises held, of how many; where or why it first failed."""

    name: str
    promised: int = 0
    held: int = 0
    first_failure: str = ""

    @property
    def is_good(self):
        return not self.first_failure


def play_lesson(lesson, server, options):
    """Play a lesson and return its Result. Without a server it plays against --url."""
    result = Result(lesson.stem)
    try:
        caller = Caller(script_of(lesson), options.url, options.env, options.photo)
        try_it = read_try_it(lesson)
        edit_is_made = try_it is not None and try_it.is_made()
        calls = try_it.calls if edit_is_made else caller.calls
        if options.photo:
            drop_promises_about_the_sample(calls)
        result.promised = sum(bool(call.promise) for call in calls)
        if server:
            caller.url = server.start(caller.url)
            say_server_lines(server.new_lines())
        else:
            caller.check()
        if edit_is_made:
            say(f"{lesson.name} has the edit of its Try it, so the Try it is played.\n")
        play_calls(calls, caller, server, result, options)
        if edit_is_made and result.is_good:
            show_way_back(lesson, try_it)
    # OSError: for example the file is gone while an editor saves it. (A broken pipe,
    # too: then say() fails here once more, and main() ends the play.)
    except (NotPlayed, ScriptError, OSError) as error:
        result.first_failure = result.first_failure or str(error).splitlines()[0]
        say(paint(str(error), RED))
        if server:
            say_server_lines(server.new_lines())
        say()
    return result


def drop_promises_about_the_sample(calls):
    """The answers about the reader's own photograph are shown, not compared."""
    for call in calls:
        if re.search(r"\$PHOTO\b", call.command):
            call.promise = []


def play_calls(calls, caller, server, result, options):
    """Make the calls one after the other, and count in the Result what holds."""
    remark = ""
    for call in calls:
        if call.remark != remark and not options.quiet:
            say(call.remark)
        remark = call.remark
        is_good = play_call(call, caller, server, options)
        if not is_good:
            result.first_failure = result.first_failure or str(call)
        elif call.promise:
            result.held += 1
        if server:
            server.check()


def play_call(call, caller, server, options):
    """Make a call and show it. Return False if it fails, or its answer is not as
    promised.

    With options.quiet show only what fails or what the server prints.
    """
    # The Try it names the usual URL, the lesson may have another one.
    command = call.command.replace(caller.default_url, caller.url)
    command = caller.filled(command)
    head = paint(f"$ {command}", BOLD)
    # With the remark. (A call of a Try it has none.)
    full_head = f"{call.remark}\n{head}".lstrip()
    if not options.quiet:
        say(head)
    if options.step:
        wait_for_enter()
    try:
        status, answer = caller.run(command, options.limit)
    except subprocess.TimeoutExpired:
        if options.quiet:
            say(full_head)
        reason = f"{call}: no answer within {options.limit} seconds."
        raise NotPlayed(reason) from None
    answer += take_error_out_of_picture(command, caller.cwd)
    is_good = not call.promise or holds(call.promise, answer)
    # For example curl has got no answer, or could not save it.
    if status != 0:
        is_good = False
        if answer and not answer.endswith("\n"):
            answer += "\n"
        answer += f"(The command ended with status {status}.)\n"
    lines = server.new_lines() if server else []
    if options.quiet and is_good and not lines:
        return True
    if options.quiet:
        say(head if is_good else full_head)
    if not is_good:
        show_difference(call, answer)
    elif not options.quiet:
        if answer.strip("\n"):
            say(readable(answer))
        if call.promise:
            say(paint("  ok", GREEN))
    say_server_lines(lines)
    say()
    return is_good


def show_difference(call, answer):
    """Show what was promised, if anything was, and what came."""
    if call.promise:
        say(paint(f"  NOT as promised: {call}", RED))
        say(readable("\n".join(call.promise), "expected| "))
    else:
        say(paint(f"  The command failed: {call}", RED))
    say(readable(answer or "(nothing)", "     got| "))


def say_server_lines(lines):
    """Show what the server printed, marked as the server's."""
    for line in lines:
        say(paint(f"server| {line}", GREY))


def take_error_out_of_picture(command, folder):
    """If "-o answer.jpg" saved an error in place of a picture, delete and return it."""
    match = re.search(r" -o (\S+\.jpg)(?!\S)", command)
    if not match:
        return ""
    file = folder / match[1]
    if not file.is_file():
        return ""
    data = file.read_bytes()
    is_jpeg = data.startswith(b"\xff\xd8\xff")
    if is_jpeg:
        return ""
    file.unlink()
    return data.decode(errors="replace")


def show_way_back(lesson, try_it):
    """Say that the Try it holds, and how to undo the edit."""
    say(paint("The Try it holds.", GREEN))
    if try_it.new == try_it.old:
        say("To go back, undo your edit: it has changed the comment at the end, too.\n")
        return
    say(f"To go back, replace in {lesson.name}")
    say("\n".join(f"    {line}" for line in try_it.new))
    say("with")
    say("\n".join(f"    {line}" for line in try_it.old))
    say()


def wait_for_enter():
    """Wait for Enter. The end of the input ends the play."""
    say(paint("  [Enter makes this call]", GREY))
    if not sys.stdin.readline():
        raise SystemExit(130)


def play_all(lessons, options):
    """Play these lessons one after the other; return the exit status."""
    results = []
    for lesson in lessons:
        say(paint(f"=== {lesson.name} ===", BOLD) + "\n")
        server = None if options.url else Server(lesson, options)
        results.append(play_lesson(lesson, server, options))
        if server:
            server.stop()
    width = max(len(result.name) for result in results)
    say(f"{'lesson':{width}}  promises held  first that did not")
    for result in results:
        count = f"{result.held} of {result.promised}"
        line = f"{result.name:{width}}  {count:13}  {result.first_failure}"
        say(paint(line.rstrip(), GREEN if result.is_good else RED))
    held = sum(result.held for result in results)
    promised = sum(result.promised for result in results)
    say(f"\n{held} of {promised} promises hold.")
    return 0 if all(result.is_good for result in results) else 1


# --- Watching.


def watch(lesson, options):
    """Play a lesson at once, and again whenever it or its script is saved."""
    while True:
        seen = stamps(lesson)
        say(paint(f"=== {lesson.name} ===", BOLD) + "\n")
        server = Server(lesson, options)
        result = play_lesson(lesson, server, options)
        summary = f"{result.held} of {result.promised} promises hold."
        if result.first_failure:
            summary += f" First trouble: {result.first_failure}"
        clock = time.strftime("%H:%M:%S")
        colour = GREEN if result.is_good else RED
        say(paint(f"{clock} {lesson.name}: {summary}", colour))
        say(paint("Waiting until you save it again. Ctrl+C ends.\n", GREY))
        # The lesson runs on, for calls of the reader's own.
        while stamps(lesson) == seen:
            time.sleep(POLL_SECONDS)
            say_server_lines(server.new_lines())
        # Some editors save in two steps.
        time.sleep(POLL_SECONDS)
        server.stop()


def stamps(lesson):
    """Return what changes when the lesson or its script is saved."""
    found = []
    for file in (lesson, script_of(lesson)):
        try:
            status = file.stat()
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append(None)
    return found


# --- The command line.


def lesson_named(text):
    """Return the lesson that "3", "03", "03_errorhandler.py" or a script names, or
    None."""
    stem = Path(text).stem
    for lesson in LESSONS:
        number = number_of(lesson)
        if stem == lesson.stem or (text.isdecimal() and int(text) == number):
            return lesson
    return None


def read_arguments(words):
    """Return what the command line asks for. (main() adds folder and env.)"""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="run.sh",
        usage="sh scripts/run.sh [watch] [LESSON [PHOTO]] [--step] [--url URL]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument(
        "--step", action="store_true", help="wait for Enter before each call"
    )
    parser.add_argument(
        "--url", metavar="URL", help="play against a server that you started"
    )
    # run.sh asks this before it installs anything.
    parser.add_argument("--lessons", action="store_true", help=argparse.SUPPRESS)
    # Intermixed: an option may stand between the words, too.
    options = parser.parse_intermixed_args(words)
    if options.url:
        # A browser's address bar adds "/" at the end.
        options.url = options.url.rstrip("/")
        if urlsplit(options.url).path:
            parser.error("--url has no path; it is such as http://127.0.0.1:8080")
    words = options.words
    options.watch = words[:1] == ["watch"]
    # watch shows only what fails.
    options.quiet = options.watch
    if options.watch:
        words = words[1:]
    options.photo = ""
    options.chosen = LESSONS
    if words:
        lesson = lesson_named(words[0])
        if lesson is None:
            last = number_of(LESSONS[-1])
            parser.error(f"there is no lesson {words[0]}: 1 to {last}, or none for all")
        options.chosen = [lesson]
    if len(options.chosen) > 1 and (options.watch or options.url):
        parser.error("watch and --url need a lesson, such as 3")
    if options.watch and options.url:
        parser.error("watch starts the lesson itself: leave out --url")
    if options.watch and options.step:
        parser.error("watch does not wait for Enter: leave out --step")
    # No limit with --url: the reader may be in a debugger.
    options.limit = None if options.url else CALL_SECONDS
    if words[1:]:
        # With "/" on Windows, too: sh would take "\" for something else.
        options.photo = Path(os.path.abspath(words[1])).as_posix()
        lesson = options.chosen[0]
        if b"PHOTO=" not in script_of(lesson).read_bytes():
            parser.error(f"{lesson.name} takes no photograph: what is {words[1]}?")
        if not os.path.isfile(options.photo):
            parser.error(f"there is no file {words[1]}")
    if words[2:]:
        parser.error(f"one photograph at a time: what is {words[2]}?")
    return options


def main():
    options = read_arguments(sys.argv[1:])
    if options.lessons:
        print(*[lesson.stem for lesson in options.chosen])
        return 0
    end_at_signals()
    status = 1
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            options.folder = Path(folder)
            options.env = environment(options.folder)
            try:
                if options.watch:
                    # watch() never returns: Ctrl+C raises SystemExit in it.
                    watch(options.chosen[0], options)
                status = play_all(options.chosen, options)
            finally:
                for process in list(running):
                    stop_process(process)
    except BrokenPipeError:
        # Nobody reads the output any more (| head -3). Throw away the rest, so that
        # Python does not fail when it prints that at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


if __name__ == "__main__":
    sys.exit(main())
