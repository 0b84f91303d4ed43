"""Lesson 8 under other servers, in a crowd, and with clients that misbehave.

The servers are started with the commands and lines of docs/serving.md, word for word
except for the ports. Expected answers come from the lesson itself, started alone.
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

import play
import pytest
from collection import ENVIRONMENT, ROOT, imported, serve
from pictures import largest_picture
from uploads import BERRIES, TOO_LARGE

serving = imported("benchmarks/serving")
ask, post, free_port = serving.ask, serving.post, serving.free_port

GOOD = post(("a.jpg", BERRIES))
EVERY = ["python", "gunicorn", "waitress", "nginx"]


def missing(name):
    """Why this server cannot be tested here, or None."""
    if sys.platform == "win32" and name in ("gunicorn", "nginx"):
        return f"{name}: gunicorn does not run on Windows"
    if name == "nginx" and not shutil.which("nginx"):
        # In CI on Linux it must be there: then its tests fail instead.
        must = os.environ.get("CI") == "true" and sys.platform == "linux"
        return None if must else "nginx is not installed (Debian: apt install nginx)"
    return None


@dataclass
class Running:
    """A server that runs: its port, its main processes, and its temporary files."""

    name: str
    port: int
    processes: list
    temporary: Path

    def tree(self):
        return [p for process in self.processes for p in serving.tree(process)]

    def left(self):
        """What must not grow: processes, threads, open files, temporary files."""
        tree = self.tree()
        count = "num_handles" if sys.platform == "win32" else "num_fds"
        return (
            len(tree),
            sum(process.num_threads() for process in tree),
            sum(getattr(process, count)() for process in tree),
            sum(path.is_file() for path in self.temporary.rglob("*")),
        )


def nginx_lines():
    """The nginx block of docs/serving.md."""
    text = serving.SERVING.read_text(encoding="utf-8")
    return re.search(r"^```nginx\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]


class Servers(ExitStack):
    """Starts servers on demand, each in a folder of its own; stops all at the end."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.running = {}

    def start(self, name, words, port, folder):
        (folder / "tmp").mkdir(parents=True)
        # The lesson's folder for the imports, and a temporary folder to look into.
        env = {"PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(folder)}
        env |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
        server = self.enter_context(serve(words, port, folder, env))
        return Running(name, port, [server.process], folder / "tmp")

    def command(self, name):
        """The server of one of the commands."""
        port = serving.port_for(name)
        words = serving.argv(serving.commands()[name], port)
        if name == "python":
            words[1] = str(ROOT / words[1])
        return self.start(name, words, port, self.folder / f"{name}-{port}")

    def nginx(self, *backends, without=""):
        """nginx before these two ports."""
        port = free_port()
        folder = self.folder / f"nginx-{port}"
        folder.mkdir(parents=True)
        lines = nginx_lines().replace(without, "") if without else nginx_lines()
        for old, new in zip((8000, 4958, 4959), (port, *backends)):
            assert f"127.0.0.1:{old}" in lines
            lines = lines.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        temporary = "".join(f"{kind}_temp_path {folder}/tmp/{kind};" for kind in kinds)
        conf = folder / "nginx.conf"
        conf.write_text(
            f"daemon off; master_process off; pid {folder}/nginx.pid;\n"
            "events { worker_connections 2048; }\n"
            f"http {{ access_log off; {temporary}\n{lines}}}\n"
        )
        words = ["nginx", "-e", "stderr", "-c", str(conf)]
        return self.start("nginx", words, port, folder)

    def __getitem__(self, name):
        if missing(name):
            pytest.skip(missing(name))
        if name not in self.running:
            if name == "nginx":
                backend = self["gunicorn"]
                self.running[name] = self.nginx(backend.port, backend.port)
                self.running[name].processes += backend.processes
            else:
                self.running[name] = self.command(name)
        return self.running[name]


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """All servers, and what the lesson answers alone, before anything else happens."""
    with Servers(tmp_path_factory.mktemp("serving")) as servers:
        port = servers["python"].port
        servers.good = ask(port, GOOD)
        assert servers.good[0] == 200
        servers.refusals = {n: ask(port, sent) for n, (_, sent) in REFUSALS.items()}
        with SlowClients(servers) as servers.slow:
            yield servers


@pytest.fixture
def server(servers, request):
    return servers[request.param]


def each(*names):
    """Run a test once for each of these servers."""
    return pytest.mark.parametrize("server", names, indirect=True)


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
        for picture in ("640x480", "4000x3000"):
            assert (picture, "16", name) in lines, done.stdout


# --- The same answers.


@each("gunicorn", "waitress", "nginx")
def test_whole_script(server, tmp_path):
    """Every call of lesson 8's script answers as it promises."""
    script = ROOT / "scripts" / "08_inference.sh"
    url = f"http://{serving.HOST}:{server.port}"
    caller = play.Caller(script, url, ENVIRONMENT, cwd=tmp_path)
    assert len(caller.calls) > 14
    for call in caller.calls:
        got = caller.run(call.command, 60)
        # The servers spell the reason beside the status each in their own way.
        got = re.sub(r"^HTTP/1.1 405 .*", "HTTP/1.1 405 METHOD NOT ALLOWED", got)
        assert play.holds(call.promise, got), f"{call}\n{call.promise}\n{got}"


REFUSALS = {
    "damaged": (400, post(("a.jpg", BERRIES[:200]))),
    "no format": (400, post(("a.gif", b"GIF89a"))),
    "model": (400, post(("a.jpg", BERRIES), fields=[("model_type", "banana")])),
    "no picture": (400, post()),
    "11 pictures": (400, post(*[("a.jpg", BERRIES)] * 11)),
    "draw": (400, post(("a.jpg", BERRIES), path="/inference?draw=2")),
    "a good and a bad one": (400, post(("a.jpg", BERRIES), ("b.jpg", b""))),
    "21 parts": (413, post(*[("a.jpg", b"")] * 20)),
    "21 large parts": (413, post(*[("a.jpg", bytes(700_000))] * 20)),
    "text": (413, post(fields=[("model_type", "q" * 500_001)])),
    "16 MB": (413, post(("big.jpg", b"\xff\xd8\xff" + bytes(16_000_000)))),
    "path": (404, post(path="/nowhere")),
    "method": (
        405,
        b"DELETE /inference HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    ),
}


@each(*EVERY)
def test_refusals(server, servers):
    """What the lesson refuses, each server refuses, in the same words."""
    for name, (wanted, request) in REFUSALS.items():
        status, body = ask(server.port, request)
        assert (status, list(json.loads(body))) == (wanted, ["error"]), name
        assert (status, body) == servers.refusals[name], name


@each(*EVERY)
def test_far_too_large(server):
    """A body that the server before the lesson does not even take in."""
    status, body = ask(server.port, post(("huge.jpg", bytes(20_000_000))))
    assert status == 413
    if server.name == "waitress":  # as docs/serving.md says: in waitress's own words
        assert b"generated by waitress" in body
    else:
        assert json.loads(body) == {"error": TOO_LARGE}


# --- Crowds, and clients that misbehave.


def wrong_answers(port, clients, pairs):
    """Of (request, wanted answer) pairs from so many clients, the other answers.

    All clients are connected before the first one asks.
    """
    pairs = iter(pairs)
    wrong = []
    gate = threading.Barrier(clients)
    lock = threading.Lock()

    def ask_until_none_is_left(_):
        client = serving.Client(port)
        client.connect()
        gate.wait(120)
        while True:
            with lock:
                request, wanted = next(pairs, (None, None))
            if request is None:
                return client.close()
            try:
                got = client.ask(request)
            except OSError as error:
                client.close()
                got = error
            if got != wanted:
                wrong.append(got)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask_until_none_is_left, range(clients)))
    return wrong


def begun(port, count, start):
    """So many clients that send the start of a request, and no more."""
    socks = []
    for _ in range(count):
        sock = socket.create_connection((serving.HOST, port), 120)
        sock.sendall(start)
        socks.append(sock)
    return socks


def hang_up(port, count):
    """Clients that leave during the upload or before the answer, half with a reset."""
    reset = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)
    for number in range(count):
        with socket.create_connection((serving.HOST, port), 120) as sock:
            if number % 4 > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            sock.sendall(GOOD[: len(GOOD) // 2] if number % 2 else GOOD)


@each("python", "waitress", "nginx")
def test_overload(server, servers):
    """No good answer is lost, and nothing stays behind."""
    good = (GOOD, servers.good)
    large = post(("big.jpg", largest_picture()))
    large = (large, ask(server.port, large))
    assert large[1][0] == 200
    bad = [(sent, servers.refusals[name]) for name, (_, sent) in REFUSALS.items()]
    # Everything once: then the same must not need more.
    assert wrong_answers(server.port, 32, bad + [large] * 2 + [good] * 32) == []
    before = quiet(server)
    assert wrong_answers(server.port, 200, [good] * 200) == []
    silent = begun(server.port, 50, GOOD[: len(GOOD) // 2])
    if server.name != "python":  # whose threads are as many as its clients
        assert wrong_answers(server.port, 16, [good] * 50) == []
    for sock in silent:
        sock.close()
    hang_up(server.port, 40)
    assert wrong_answers(server.port, 16, [good] * 20 + [large] * 2 + bad * 2) == []

    deadline = time.monotonic() + 60
    while any(now > then for now, then in zip(server.left(), before)):
        assert time.monotonic() < deadline, f"{server.left()}, before {before}"
        time.sleep(0.1)


def quiet(server):
    """What is left once nothing has changed for a second."""
    seen = []
    while len(seen) < 10 or len(set(seen[-10:])) > 1:
        assert len(seen) < 600, f"never quiet: {seen[-10:]}"
        time.sleep(0.1)
        seen.append(server.left())
    return seen[-1]


# --- One of two machines dies.


@pytest.fixture
def backends(tmp_path):
    """Two gunicorns that a test may kill."""
    if missing("nginx"):
        pytest.skip(missing("nginx"))
    with Servers(tmp_path) as two:
        yield two, two.command("gunicorn"), two.command("gunicorn")


def test_one_of_two_backends_is_killed(backends, servers):
    """In the middle of a run, and not one answer is lost."""
    two, first, second = backends
    nginx = two.nginx(first.port, second.port)
    ask(second.port, GOOD)

    def pairs():
        for number in range(200):
            if number == 100:
                for process in first.tree():
                    process.kill()
            yield GOOD, servers.good

    assert wrong_answers(nginx.port, 16, pairs()) == []
    assert all(process.is_running() for process in second.tree())


@pytest.mark.parametrize("without, status", [("", 200), (" non_idempotent", 502)])
def test_a_backend_dies_with_the_request(backends, servers, without, status):
    """It has the whole request and goes: only this word makes nginx ask the next."""
    two, first, _ = backends
    asked = []
    with socket.create_server((serving.HOST, 0)) as dying:

        def die():
            with dying.accept()[0] as sock:
                got = b""
                while len(got) < len(GOOD) // 2:
                    got += sock.recv(1 << 16)
                asked.append(got)

        thread = threading.Thread(target=die)
        thread.start()
        nginx = two.nginx(dying.getsockname()[1], first.port, without=without)
        answer = ask(nginx.port, GOOD)
        thread.join(60)
    assert len(asked) == 1
    assert answer[0] == status
    assert (answer == servers.good) == (status == 200)


# --- Slow clients.

SLOW_START = b"POST /inference HTTP/1.1\r\nHost: a\r\n"


@each("gunicorn", "waitress")
def test_clients_that_stay_in_the_header_stop_it(server, servers):
    """As docs/serving.md says of 16 with gunicorn and of 400 with waitress."""
    assert ask(server.port, GOOD) == servers.good
    count = 16 if server.name == "gunicorn" else 400
    slow = begun(server.port, count, SLOW_START)
    with pytest.raises(TimeoutError):
        ask(server.port, GOOD, timeout=3)
    for sock in slow:
        sock.close()
    assert ask(server.port, GOOD) == servers.good


class SlowClients:
    """Clients that fall silent in an upload, and clients that send a line now and then.

    They begin before all tests, and are looked at after them: it takes a minute.
    """

    def __init__(self, servers):
        self.silent = []
        self.dripping = []
        self.start = time.monotonic()
        for name in ("python", "waitress", "nginx"):
            if not missing(name):
                self.silent += begun(servers[name].port, 1, GOOD[: len(GOOD) // 2])
        if not missing("nginx"):
            self.nginx = servers.nginx(
                servers["gunicorn"].port, servers["gunicorn"].port
            )
            self.dripping = begun(self.nginx.port, 400, SLOW_START)
        self.timer = threading.Timer(15, self.drip)

    def drip(self):
        for sock in self.dripping:
            sock.sendall(b"X-More: x\r\n")

    def __enter__(self):
        self.timer.start()
        return self

    def __exit__(self, *exc_info):
        self.timer.cancel()
        for sock in self.silent + self.dripping:
            sock.close()


def test_nginx_answers_while_400_clients_are_slow(servers):
    if missing("nginx"):
        pytest.skip(missing("nginx"))
    assert ask(servers.slow.nginx.port, GOOD) == servers.good


def test_slow_clients_are_hung_up_on(servers):
    """After 30 seconds of silence; by nginx also if a line comes every 15 seconds."""
    servers.slow.timer.join()
    for sock in servers.slow.silent + servers.slow.dripping:
        sock.settimeout(max(1, servers.slow.start + 90 - time.monotonic()))
        try:
            while data := sock.recv(1 << 16):  # some say why, with a 400 or 408
                assert b"HTTP/1.1 2" not in data
        except ConnectionError:
            pass
