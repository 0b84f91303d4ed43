"""What the tests share: the lessons, their scripts, and how to start a lesson."""

import atexit
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import play  # scripts/play.py: pyproject.toml puts its folder on the path

ROOT = Path(__file__).parent.parent
LESSONS = sorted(ROOT.glob("[0-9][0-9]_*.py"))
NAMES = [lesson.stem for lesson in LESSONS]
PICTURES = ROOT / "scripts" / "pictures"
# The notes that the lessons cite. They are not in this repository, and may be missing.
READERS_NOTES = ROOT.parent / "shared" / "notes.md"
# The mistakes of the notes: number -> what test_mistakes.py runs.
MISTAKES = tomllib.loads((ROOT / "tests" / "mistakes.toml").read_text(encoding="utf-8"))
# For the settings of curl and HTTPie, as in scripts/play.py.
SETTINGS = tempfile.TemporaryDirectory()
atexit.register(SETTINGS.cleanup)
ENVIRONMENT = play.environment(Path(SETTINGS.name))
# With this variable lesson 4 would print at once even without flush=True.
ENVIRONMENT.pop("PYTHONUNBUFFERED", None)
# The tests import lessons, too: they must not see the reader's settings of Flask. Nor a
# GIT_DIR, which git sets for its hooks: with it a test would commit to that repository.
for name in list(os.environ):
    if name.startswith(("FLASK_", "GIT_")):
        del os.environ[name]
# The requests of the tests themselves must not go to a proxy, either.
os.environ.update(no_proxy="*", NO_PROXY="*")


def script_of(name):
    return ROOT / "scripts" / f"{name}.sh"


def port_of(name):
    """The port that a lesson must have: 8080, or 4958 for lesson 8."""
    return 4958 if name == "08_inference" else 8080


def change(file, old, new):
    """Replace a text that must be there exactly once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file.name}: {old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def is_listening(port):
    """Whether something accepts connections on this port of 127.0.0.1."""
    return play.is_listening(f"http://127.0.0.1:{port}")


def cksum(data):
    """What the program cksum says of these bytes."""
    done = subprocess.run(["cksum"], input=data, capture_output=True, check=True)
    return done.stdout.decode()


def wait_until(condition, seconds=20):
    """Return what condition() gives as soon as it is true; fail after the time."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.01)
    return result


def workers_among(processes):
    """Lesson 8's workers. (With "spawn", too, their command says "fork".)"""
    return [p for p in processes if "--multiprocessing-fork" in p.cmdline()]


def first_to_compute(processes):
    """Wait until one of these processes has computed for 0.2 s, and return it."""
    before = {process: process.cpu_times().user for process in processes}

    def busy():
        return [p for p in processes if p.cpu_times().user > before[p] + 0.2]

    return wait_until(busy)[0]


def wait_until_none_computes(processes):
    """Wait until these processes have nothing to do for a second."""

    def none_computes():
        before = [process.cpu_times().user for process in processes]
        time.sleep(1)
        return before == [process.cpu_times().user for process in processes]

    wait_until(none_computes, 60)


def free_port():
    """A port of 127.0.0.1 that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def limited(limit, words):
    """The words of a command, with a limit that sh sets before, such as ulimit -n 9."""
    return ["sh", "-c", f'{limit} && exec "$@"', "sh", *words]


@dataclass
class Server:
    """A running server: its process, its URL and what it has printed so far."""

    process: subprocess.Popen
    url: str
    log_file: Path

    @property
    def log(self):
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    def requests(self):
        """(method, path with query, status) of every request in the log."""
        lines = re.findall(r'"([A-Z]+) (\S+) HTTP/[0-9.]+" (\d+)', self.log)
        return [(method, path, int(status)) for method, path, status in lines]


@contextmanager
def serve(command, port, cwd, env=None, new_group=False):
    """Start `command` in `cwd`, wait until `port` answers; stop it at the end.

    new_group: in a process group of its own, as under a terminal."""
    assert not is_listening(port), f"port {port} is in use: stop what uses it"
    log_file = Path(cwd) / "server.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=ENVIRONMENT | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=new_group,
        )
    server = Server(process, f"http://127.0.0.1:{port}", log_file)
    try:
        # Not wait_until(): its message would lack what the server has printed.
        deadline = time.monotonic() + 60
        while not is_listening(port):
            lost = process.poll() is not None or time.monotonic() > deadline
            assert not lost, f"{command} did not start:\n{server.log}"
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def lesson(name, cwd, env=None, new_group=False):
    """Lesson `name` started as a reader does, `python NN_name.py`."""
    command = [sys.executable, str(ROOT / f"{name}.py")]
    return serve(command, port_of(name), cwd, env, new_group)


def make_calls(name, server, folder, calls=None):
    """Make these calls, or all of the lesson's script, in a folder; yield (call,
    answer)."""
    caller = play.Caller(script_of(name), server.url, ENVIRONMENT, cwd=folder)
    if calls is None:
        calls = caller.calls
    for call in calls:
        status, answer = caller.run(caller.filled(call.command), 60)
        assert status == 0, f"{call}: status {status}\n{answer}"
        yield call, answer


def imported(name):
    """A fresh copy of a module such as 08_inference or benchmarks/serving, not
    started.

    It takes the place of the one that was imported before: only the newest copy of
    lesson 8 can start workers."""
    path = ROOT / f"{name}.py"
    # The worker processes of lesson 8 import it by its name, from its folder.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = spec_from_file_location(path.stem, path)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
