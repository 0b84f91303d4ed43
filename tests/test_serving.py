"""Lesson 8 under other servers, in a crowd, and with clients that misbehave.

The servers are started with the README's commands and lines, word for word except for
the ports. Expected answers come from the lesson itself, started alone.
"""

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from collection import ENVIRONMENT, ROOT, as_promised, calls, imported, run_call, serve
from test_inference import BERRIES, HOSTILE, TOO_MUCH, largest_picture

serving = imported("benchmarks/serving")
ask, post, free_port = serving.ask, serving.post, serving.free_port

NAMES = ["python", "gunicorn", "waitress", "nginx"]
GOOD = post(("a.jpg", BERRIES))


def missing(name):
    """Why this server cannot be tested here, or None."""
    if sys.platform == "win32" and name in ("gunicorn", "nginx"):
        return f"{name}: gunicorn does not run on Windows"
    if name == "nginx" and not shutil.which("nginx"):
        # In CI on Linux it must be there: then its tests fail instead.
        must = os.environ.get("CI") == "true" and sys.platform == "linux"
        return None if must else "nginx is not installed (Debian: apt install nginx)"
    return None


def each(*names):
    """Run a test once for each of these servers; `server` is the running one."""
    skip = {name: pytest.mark.skip(missing(name)) for name in names if missing(name)}
    params = [pytest.param(name, marks=skip.get(name, ())) for name in names]
    return pytest.mark.parametrize("server", params, indirect=True)


@dataclass
class Running:
    """A server that runs: its port, its main processes, and its temporary files."""

    name: str
    port: int
    processes: list
    temporary: Path

    @property
    def url(self):
        return f"http://{serving.HOST}:{self.port}"

    def tree(self):
        return [p for process in self.processes for p in serving.tree(process)]

    def left(self):
        """What must not grow: threads, open files, temporary files."""
        count = "num_handles" if sys.platform == "win32" else "num_fds"
        return (
            sum(process.num_threads() for process in self.tree()),
            sum(getattr(process, count)() for process in self.tree()),
            sum(path.is_file() for path in self.temporary.rglob("*")),
        )

    def memory(self):
        return max(process.memory_info().rss for process in self.tree())


class Servers(ExitStack):
    """Starts servers on demand; stops all at the end."""

    def __init__(self, folder):
        super().__init__()
        self.folder, self.running = folder, {}

    def start(self, name, words, port, label=None, processes=()):
        folder = self.folder / (label or name)
        (folder / "tmp").mkdir(parents=True)
        # The lesson's folder for the imports, and a temporary folder to look into.
        env = {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(folder)}
        env |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
        server = self.enter_context(serve(words, port, folder, env))
        return Running(name, port, [server.process, *processes], folder / "tmp")

    def command(self, name, label=None):
        """One of the README's commands, on a free port."""
        port = 4958 if name == "python" else free_port()
        words = serving.argv(serving.commands()[name], port)
        if name == "python":
            words[1] = str(ROOT / words[1])
        return self.start(name, words, port, label)

    def nginx(self, backends, label="nginx", without=""):
        """nginx with the README's lines before these two ports."""
        port, folder = free_port(), self.folder / label
        folder.mkdir(parents=True)
        lines = nginx_lines().replace(without, "") if without else nginx_lines()
        for old, new in zip((8000, 4958, 4959), (port, *backends)):
            assert f"127.0.0.1:{old}" in lines
            lines = lines.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        temporary = "".join(f"{one}_temp_path {folder}/tmp/{one};" for one in places)
        conf = folder / "nginx.conf"
        conf.write_text(
            f"daemon off; master_process off; pid {folder}/nginx.pid; events {{}}\n"
            f"http {{ access_log off; {temporary}\n{lines}}}\n"
        )
        words = ["nginx", "-e", "stderr", "-c", str(conf)]
        return self.start("nginx", words, port, label)

    def __getitem__(self, name):
        if name not in self.running:
            if name == "nginx":
                backend = self["gunicorn"]
                server = self.nginx([backend.port, backend.port])
                server.processes += backend.processes
            else:
                server = self.command(name)
            self.running[name] = server
        return self.running[name]


def nginx_lines():
    """The README's nginx block."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.search(r"^```nginx\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """All servers, and what the lesson answers alone, before anything else happens."""
    with Servers(tmp_path_factory.mktemp("serving")) as all_:
        port = all_["python"].port
        all_.good = ask(port, GOOD)
        assert all_.good[0] == 200
        all_.refusals = {name: ask(port, sent) for name, sent in REFUSED.items()}
        all_.big = post(("big.jpg", largest_picture()))
        all_.since = time.monotonic()
        all_.silent = {
            name: half_sent(all_[name].port, 1)[0]
            for name in NAMES
            if name != "gunicorn" and not missing(name)
        }
        yield all_
        for sock in all_.silent.values():
            sock.close()


@pytest.fixture
def server(servers, request):
    return servers[request.param]


def test_benchmark(tmp_path):
    """It runs, and has a line for each picture, number of clients and server."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/serving.py", "--rounds=1", "--seconds=0.1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = {tuple(line.split()[:3]) for line in done.stdout.splitlines()[1:]}
    for name in serving.commands():
        assert ("640x480", "16", name) in lines, done.stdout


# --- The same answers.


@each("gunicorn", "waitress", "nginx")
def test_whole_script(server, tmp_path, monkeypatch):
    """Every call of lesson 8's script answers as it promises."""
    monkeypatch.chdir(tmp_path)
    script = calls(ROOT / "scripts" / "08_inference.sh")
    assert len(script) > 20
    wrong = []
    for call in script:
        got = run_call(call, server.url)
        # The servers spell the reason beside the status each in their own way.
        got = re.sub(r"^HTTP/1.1 405 .*", "HTTP/1.1 405 METHOD NOT ALLOWED", got)
        if not as_promised(call.promise, got):
            wrong.append(f"{call}\n  want: {call.promise}\n  got:  {got.splitlines()}")
    assert not wrong, "\n".join(wrong)


def fields(**pairs):
    return tuple(pairs.items())


MANY = [(f"{number}.jpg", BERRIES) for number in range(11)]
REFUSED = {name: post((f"{name}.jpg", data)) for name, data in HOSTILE.items()} | {
    "model": post(("a.jpg", BERRIES), fields=fields(model_type="banana")),
    "no picture": post(),
    "no model": post(("a.jpg", BERRIES), fields=()),
    "11 pictures": post(*MANY),
    "2 to draw": post(*MANY[:2], path="/inference?draw=1"),
    "draw": post(("a.jpg", BERRIES), path="/inference?draw=2"),
    "a good and a bad one": post(("a.jpg", BERRIES), ("b.jpg", b"")),
    "21 parts": post(*[("a.jpg", b"")] * 20),
    "21 large parts": post(*[("a.jpg", bytes(700_000))] * 20),
    "text": post(fields=fields(model_type="q" * 500_001)),
    "path": post(path="/nowhere"),
    "method": b"DELETE /inference HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    "16 MB": post(("big.jpg", b"\xff\xd8\xff" + bytes(16_000_000))),
}
STATUS = dict.fromkeys(("21 parts", "21 large parts", "text", "16 MB"), 413) | {
    "path": 404,
    "method": 405,
}


@each(*NAMES)
def test_refusals(server, servers):
    """What the lesson refuses, each server refuses, in the same words."""
    for name, request in REFUSED.items():
        status, body = ask(server.port, request)
        assert status == STATUS.get(name, 400), name
        assert list(json.loads(body)) == ["error"], name
        assert (status, body) == servers.refusals[name], name


@each(*NAMES)
def test_far_too_large(server):
    """A body that the server before the lesson does not even take in."""
    status, body = ask(server.port, post(("huge.jpg", bytes(20_000_000))))
    assert status == 413
    if server.name == "waitress":  # as the README says: in waitress's own words
        assert b"generated by waitress" in body
    else:
        assert json.loads(body) == {"error": TOO_MUCH}


# --- Crowds, and clients that misbehave.


def wrong_answers(port, clients, pairs):
    """Of (request, wanted answer) pairs from so many clients, the other answers.

    All clients are connected before the first one asks.
    """
    pairs, wrong = iter(pairs), []
    gate, lock = threading.Barrier(clients), threading.Lock()

    def one(_):
        client = serving.Client(port)
        client.connect()
        gate.wait(120)
        while True:
            with lock:
                request, want = next(pairs, (None, None))
            if request is None:
                return client.close()
            try:
                got = client.ask(request)
            except OSError as error:
                client.close()
                got = error
            if got != want:
                wrong.append(got)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(clients)))
    return wrong


def half_sent(port, count):
    """Clients that stop in the middle of their upload, and stay."""
    socks = [socket.create_connection(("127.0.0.1", port), 120) for _ in range(count)]
    for sock in socks:
        sock.sendall(GOOD[: len(GOOD) // 2])
    return socks


def hang_up(port, count):
    """Clients that leave during the upload or before the answer, half with a reset."""
    reset = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)
    for number in range(count):
        with socket.create_connection(("127.0.0.1", port), 120) as sock:
            if number % 4 > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            sock.sendall(GOOD[: len(GOOD) // 2] if number % 2 else GOOD)


@each("python", "waitress", "nginx")
def test_overload(server, servers):
    """No good answer is lost, and nothing stays behind."""
    good, large = (GOOD, servers.good), (servers.big, ask(server.port, servers.big))
    assert large[1][0] == 200
    bad = [(REFUSED[name], servers.refusals[name]) for name in HOSTILE]
    # Everything once: then the same must not need more.
    crowd = bad + [large] * 4 + [good] * 64
    assert wrong_answers(server.port, 32, crowd) == []
    before, memory = quiet(server), server.memory()

    assert wrong_answers(server.port, 200, [good] * 200) == []
    silent = half_sent(server.port, 50)
    assert wrong_answers(server.port, 16, [good] * 50) == []
    for sock in silent:
        sock.close()
    hang_up(server.port, 40)
    assert wrong_answers(server.port, 16, [large] * 16) == []
    count = 1000 if server.name == "python" else 300
    mixed = [good] * count
    for number in range(0, count, 100):
        mixed[number] = bad[number // 100]
    assert wrong_answers(server.port, 16, mixed) == []

    settle(server, before)
    # A large picture has 75 MB. Some of what was freed the allocator keeps.
    assert server.memory() < memory + 75_000_000


def quiet(server):
    """What is left once nothing has changed for two seconds."""
    seen = []
    for _ in range(600):
        seen.append(server.left())
        if len(seen) > 20 and len(set(seen[-20:])) == 1:
            return seen[-1]
        time.sleep(0.1)
    raise AssertionError(f"never quiet: {seen[-20:]}")


def settle(server, before):
    """Wait, within reason, until no more is left than before."""
    for _ in range(600):
        if all(now <= then for now, then in zip(server.left(), before)):
            return
        time.sleep(0.1)
    raise AssertionError(f"{server.left()} threads, files, temporary; before {before}")


# --- One of two machines dies.


@pytest.fixture
def backends(servers):
    """Two gunicorns that a test may kill."""
    if missing("nginx"):
        pytest.skip(missing("nginx"))
    with Servers(servers.folder / f"backends-{free_port()}") as two:
        yield two, two.command("gunicorn", "one"), two.command("gunicorn", "two")


def test_one_of_two_backends_is_killed(backends, servers):
    """In the middle of a run, and not one answer is lost."""
    two, one, other = backends
    nginx = two.nginx([one.port, other.port])

    def pairs():
        for number in range(300):
            if number == 150:
                for process in one.tree():
                    process.kill()
            yield GOOD, servers.good

    assert wrong_answers(nginx.port, 16, pairs()) == []
    assert [psutil.pid_exists(p.pid) for p in other.tree()] == [True] * 3


@pytest.mark.parametrize("without, status", [("", 200), (" non_idempotent", 502)])
def test_a_backend_dies_with_the_request(backends, servers, without, status):
    """It has the whole request and goes: only this word makes nginx ask the next."""
    two, one, _ = backends
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as dying:

        def die():
            with dying.accept()[0] as sock:
                got = b""
                while len(got) < len(GOOD) // 2:
                    got += sock.recv(1 << 16)
                asked.append(got)

        thread = threading.Thread(target=die)
        thread.start()
        nginx = two.nginx([dying.getsockname()[1], one.port], without=without)
        answer = ask(nginx.port, GOOD)
        thread.join(60)
    assert len(asked) == 1
    assert answer[0] == status
    assert (answer == servers.good) == (status == 200)


# --- At last, since these clients have been silent for all of the tests above.


def test_silent_clients_are_hung_up_on(servers):
    """Half a minute after its last byte a client is alone again."""
    assert {"python", "waitress"} <= set(servers.silent)
    for name, sock in servers.silent.items():
        sock.settimeout(max(1, servers.since + 90 - time.monotonic()))
        try:
            while data := sock.recv(1 << 16):  # some say why, with a 400
                assert b"HTTP/1.1 2" not in data, name
        except ConnectionResetError:
            pass
