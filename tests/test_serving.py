"""Lesson 8 under other servers, in a crowd, and with clients that misbehave.

The servers are started with the commands and lines of docs/serving.md, word for word
except for ports, folders and, in one test, one word. Most expected answers come from
the lesson, started alone.
"""

import configparser
import json
import os
import re
import selectors
import shutil
import socket
import struct
import sys
import threading
import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import play
import pytest
import requests
from collection import (
    ROOT,
    first_to_compute,
    free_port,
    imported,
    limited,
    make_calls,
    serve,
    wait_until,
    wait_until_none_computes,
    workers_among,
)
from pictures import largest_picture, plain, png
from uploads import BERRIES, TOO_LARGE

# commands(), argv(), post(), ask() and Client are explained there, in parts 1 and 3.
serving = imported("benchmarks/serving")
ask = serving.ask
post = serving.post

GOOD = post(("a.jpg", BERRIES))
HALF = GOOD[: len(GOOD) // 2]


def is_missing(name):
    """Whether this server cannot run here."""
    if name == "nginx" and not shutil.which("nginx"):
        # In CI on Linux its tests shall fail, not skip.
        is_ci = os.environ.get("CI") == "true" and sys.platform == "linux"
        return not is_ci
    return sys.platform == "win32" and name in ("gunicorn", "nginx")


def needs(name):
    """Skip a test where this server cannot run."""
    reason = f"no {name} here (nginx on Debian: apt install nginx)"
    return pytest.mark.skipif(is_missing(name), reason=reason)


def each_of(*rows):
    """Parameters of a test: rows that begin with the name of a server. A row is skipped
    where its server cannot run."""
    return [pytest.param(*row, marks=needs(row[0])) for row in rows]


def each(*names):
    """Run a test once for each of these servers."""
    servers = each_of(*[[name] for name in names])
    return pytest.mark.parametrize("server", servers, indirect=True)


@dataclass
class RunningServer:
    """A server that runs."""

    name: str
    port: int
    processes: list  # for servers["nginx"] also gunicorn's
    folders: list  # where their temporary files are

    @property
    def url(self):
        return f"http://{serving.HOST}:{self.port}"

    def temporary(self):
        for folder in self.folders:
            yield from folder.rglob("*")

    def tree(self):
        return [p for process in self.processes for p in serving.tree(process)]

    def left(self):
        """What must not grow: processes, threads, open files, temporary files."""
        tree = self.tree()
        files = "num_handles" if sys.platform == "win32" else "num_fds"
        return (
            len(tree),
            sum(process.num_threads() for process in tree),
            sum(getattr(process, files)() for process in tree),
            sum(path.is_file() for path in self.temporary()),
        )


class Servers(ExitStack):
    """Starts servers on demand, each in a folder of its own; stops all at the end."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.running = {}
        # What the fixture adds: the answer to GOOD, those to REFUSED_REQUESTS, and
        # the clients that are slow.
        self.good = None
        self.refusals = {}
        self.slow = None

    def start(self, name, words, port, folder):
        (folder / "tmp").mkdir(parents=True)
        # Where to import from.
        env = {"PYTHONPATH": str(ROOT)}
        # For temporary files, which left() counts.
        env |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
        server = self.enter_context(serve(words, port, folder, env))
        return RunningServer(name, port, [server.process], [folder / "tmp"])

    def new(self, name, limit=""):
        """Start one more server of this name, with this limit of sh."""
        port = serving.port_for(name)
        words = serving.argv(serving.commands()[name], port)
        if limit:
            words = limited(limit, words)
        if name == "python":
            words[1] = str(ROOT / words[1])
        return self.start(name, words, port, self.folder / f"{name}-{port}")

    def nginx(self, *behind, without="", password=""):
        """nginx before servers at these ports; this word is left out of its lines.

        With a password (NAME:PASSWORD) also the lines for strangers are there."""
        port = free_port()
        folder = self.folder / f"nginx-{port}"
        folder.mkdir(parents=True)
        # The nginx blocks of docs/serving.md.
        text = serving.SERVING.read_text(encoding="utf-8")
        blocks = re.findall(r"^```nginx\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines, above_upstream, below_location = blocks[:3]
        if password:
            file = folder / "passwords"
            file.write_text(password.replace(":", ":{PLAIN}"))
            location = "    location / {\n"
            assert location in lines
            lines = above_upstream + lines.replace(location, location + below_location)
            assert lines.count("/etc/nginx/lesson8.passwords") == 1
            lines = lines.replace("/etc/nginx/lesson8.passwords", str(file))
        assert without in lines
        lines = lines.replace(without, "")
        backend = "    server 127.0.0.1:4958 max_fails=0;\n"
        backends = "".join(backend.replace("4958", str(p)) for p in behind)
        for old, new in ((backend, backends), ("127.0.0.1:8000", f"127.0.0.1:{port}")):
            assert old in lines
            lines = lines.replace(old, new)
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
        """The server of this name that the tests share."""
        if name not in self.running:
            if name == "nginx":
                backend = self["gunicorn"]
                self.running[name] = self.nginx(backend.port)
                self.running[name].processes += backend.processes
                self.running[name].folders += backend.folders
            else:
                self.running[name] = self.new(name)
        return self.running[name]


@pytest.fixture(scope="module", autouse=True)
def many_open_files():
    """Each client of these tests is an open file of this process: 2000 at most. A usual
    limit is 1024, on a Mac 256."""
    if sys.platform == "win32":
        yield
        return
    # Imported here, not at the top: Windows does not have this module.
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """The servers, what the lesson answers before anything else, and slow clients."""
    with Servers(tmp_path_factory.mktemp("serving")) as servers:
        port = servers["python"].port
        servers.good = ask(port, GOOD)
        assert servers.good[0] == 200
        # REFUSED_REQUESTS and SlowClients stand further down, at their tests.
        for name, request in REFUSED_REQUESTS.items():
            servers.refusals[name] = ask(port, request)
        with SlowClients(servers) as servers.slow:
            yield servers


@pytest.fixture
def server(servers, request):
    return servers[request.param]


# Stands above the tests with `servers`: from then on port 4958 is taken.
def test_benchmark(monkeypatch, capsys):
    """A short run has a line for each picture, number of clients and server."""
    monkeypatch.setattr(serving, "CLIENTS", (1, 2))
    monkeypatch.setattr(sys, "argv", ["serving.py", "--rounds=1", "--seconds=0.1"])
    serving.main()
    table = capsys.readouterr().out
    lines = {tuple(line.split()[:3]) for line in table.splitlines()[1:]}
    for name in ("baseline", *serving.commands()):
        for picture in ("640x480", "4000x3000"):
            assert (picture, "1", name) in lines, table
            assert (picture, "2", name) in lines, table


def test_the_page_has_the_limits_of_the_lesson():
    lesson = imported("08_inference")
    page = " ".join(serving.SERVING.read_text(encoding="utf-8").split())
    for text in (
        f"| a request | {lesson.MEGABYTES} MB; {lesson.MAX_PARTS} fields and files ",
        f"text fields: {lesson.KILOBYTES} kB each with `curl -F`, ",
        f"{lesson.KILOBYTES} kB in all with `curl -d` ",
        f"| files in a request | {lesson.MAX_FILES}, with `draw=1` one ",
        f"JPEG, PNG or WebP, {lesson.MEGAPIXELS} megapixels ",
        f"| time for a picture | {lesson.MAX_SECONDS} seconds, ",
        f"| memory for a picture | {lesson.MAX_MEMORY // 10**6} MB, on Linux only ",
        f"if it keeps over {lesson.MAX_KEPT // 10**6} MB of earlier pictures",
    ):
        assert text in page, text
    # 150 MB at its start, what it may keep, and what a picture may take.
    of_worker = 150 + (lesson.MAX_KEPT + lesson.MAX_MEMORY) // 10**6
    assert f"300 MB of memory for the server and {of_worker} MB for each worker" in page
    assert f"{300 + 2 * of_worker:,} MB for two cores" in page
    assert f"then {300 + of_worker} MB are enough" in page


@needs("gunicorn")
def test_the_unit_has_the_same_command():
    """The unit on the page runs the page's own command, in the folder that it names."""
    text = serving.SERVING.read_text(encoding="utf-8")
    unit = configparser.ConfigParser()
    unit.read_string(re.search(r"```ini\n(.+?)```", text, re.DOTALL)[1])
    service = unit["Service"]
    program, _, arguments = service["ExecStart"].partition(" ")
    command = serving.commands()["gunicorn"]
    assert f"gunicorn {arguments}" == command
    assert service["KillMode"] == "mixed"
    folder = service["WorkingDirectory"]
    assert program == f"{folder}/.venv/bin/gunicorn"
    # The lines above the unit bring everything there.
    assert f"sudo mkdir {folder}\n" in text
    files = "08_inference.py models scripts requirements.txt"
    assert f"sudo cp -r {files} {folder}\n" in text
    assert f"sudo python3 -m venv {folder}/.venv\n" in text
    packages = f"-r {folder}/requirements.txt gunicorn"
    assert f"sudo {folder}/.venv/bin/pip install {packages}\n" in text


# --- The same answers.


@each("gunicorn", "waitress", "nginx")
def test_whole_script(server, tmp_path):
    """Every call of lesson 8's script answers as it promises."""
    made = list(make_calls("08_inference", server, tmp_path))
    assert len(made) > 14
    for call, got in made:
        # The servers spell the reason beside the status each in their own way.
        got = re.sub(r"^HTTP/1.1 405 .*", "HTTP/1.1 405 METHOD NOT ALLOWED", got)
        assert play.holds(call.promise, got), f"{call}\n{call.promise}\n{got}"


# What the script does not send.
REFUSED_REQUESTS = {
    "damaged": post(("a.jpg", BERRIES[:200])),
    "21 parts": post(*[("a.jpg", bytes(700_000))] * 20),  # and model_type
    "text": post(fields=[("model_type", "q" * 100_001)]),
    "16 MB": post(("big.jpg", bytes(16_000_000))),
}


@each("gunicorn", "waitress", "nginx")
@pytest.mark.parametrize("name", REFUSED_REQUESTS)
def test_refusals(server, servers, name):
    """What the lesson refuses, each server refuses, in the same words."""
    answer = ask(server.port, REFUSED_REQUESTS[name])
    assert answer == servers.refusals[name]
    assert answer[0] == (400 if name == "damaged" else 413)


@each("python", "gunicorn", "waitress", "nginx")
def test_far_too_large(server):
    """20 MB: nginx and waitress refuse them before the lesson does."""
    status, body = ask(server.port, post(("huge.jpg", bytes(20_000_000))))
    assert status == 413
    if server.name == "waitress":  # as docs/serving.md says: in waitress's own words
        assert b"generated by waitress" in body
    else:
        assert json.loads(body) == {"error": TOO_LARGE}


FORM_TYPE = "application/x-www-form-urlencoded"


@each("python", "gunicorn", "waitress", "nginx")
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", FORM_TYPE])
def test_a_body_that_breaks_the_rules(server, kind):
    """A piece of the body whose length is no number."""
    head = f"POST /exam HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\n"
    request = f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    status, _ = ask(server.port, request.encode())
    assert status == 400


# Python's own server writes %FF for the byte.
@each("gunicorn", "waitress", "nginx")
def test_a_url_that_is_not_utf_8(server):
    # Two slashes: Werkzeug answers with a redirect, and reads the query for it.
    request = b"POST //exam?\xff HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    status, _ = ask(server.port, request)
    assert status == 400


# --- Crowds, and clients that misbehave.


def wrong_answers(port, clients, pairs):
    """Send requests from so many clients; return each answer that is not as wanted.

    pairs: (request, wanted answer). All clients are connected before the first asks."""
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
    reset = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)  # on, 0 s
    for number in range(count):
        with socket.create_connection((serving.HOST, port), 120) as sock:
            if number % 4 > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            sock.sendall(HALF if number % 2 else GOOD)


# Without gunicorn: clients that stop in the middle block its threads (docs/serving.md).
@each("python", "waitress", "nginx")
def test_overload(server, servers):
    """No good answer is lost, and nothing stays behind."""
    good = (GOOD, servers.good)
    large_request = post(("big.jpg", largest_picture()))
    large = (large_request, ask(server.port, large_request))
    assert large[1][0] == 200
    bad = []
    for name, request in REFUSED_REQUESTS.items():
        bad.append((request, servers.refusals[name]))
    # A warm-up with all of it. At the end no more may be left than after this.
    assert wrong_answers(server.port, 32, [*bad, large, *[good] * 64]) == []
    # The large picture can leave more than MAX_KEPT in its worker, which then ends. One
    # request after the other, so that each worker gets some: a new one is counted, too.
    assert wrong_answers(server.port, 1, [good] * 16) == []
    before = quiet(server)
    assert wrong_answers(server.port, 100, [good] * 100) == []
    # More clients stop in the middle of a request than waitress has threads.
    silent = begun(server.port, 20, HALF)
    assert wrong_answers(server.port, 16, [good] * 16) == []
    for sock in silent:
        sock.close()
    hang_up(server.port, 20)
    assert wrong_answers(server.port, 16, [*bad, large, *[good] * 16]) == []

    def no_more_is_left():
        return all(now <= then for now, then in zip(server.left(), before))

    wait_until(no_more_is_left, 60)


def quiet(server):
    """What is left once nothing has changed for a second."""
    seen = []
    while len(seen) < 10 or len(set(seen[-10:])) > 1:
        assert len(seen) < 600, f"never quiet: {seen[-10:]}"
        time.sleep(0.1)
        seen.append(server.left())
    return seen[-1]


@needs("gunicorn")
def test_more_clients_than_files_may_be_open(servers):
    """1024 is a usual limit. gunicorn survives by --worker-connections."""
    server = servers.new("gunicorn", limit="ulimit -n 1024")
    assert ask(server.port, GOOD) == servers.good
    before = server.tree()
    clients = begun(server.port, 1100, b"")
    quiet(server)
    for sock in clients:
        sock.close()
    assert ask(server.port, GOOD) == servers.good
    assert server.tree() == before


@needs("nginx")
def test_a_password_and_limits_for_strangers(servers):
    """One address may send four requests at once, and not too many in a moment."""
    server = servers.nginx(servers["gunicorn"].port, password="reader:secret")
    assert requests.get(server.url, timeout=60).status_code == 401
    for password, status in (("secret", 200), ("wrong", 401)):
        answer = requests.get(server.url, auth=("reader", password), timeout=60)
        assert answer.status_code == status
    login = b"\r\nAuthorization: Basic " + b64encode(b"reader:secret") + b"\r\n\r\n"
    # At the end of the head.
    with_login = GOOD.replace(b"\r\n\r\n", login, 1)
    assert ask(server.port, with_login) == servers.good
    # The fifth at once is refused; the four are answered.
    half = len(with_login) // 2
    four = begun(server.port, 4, with_login[:half])
    time.sleep(0.5)
    assert ask(server.port, with_login)[0] == 503
    for sock in four:
        sock.sendall(with_login[half:])
        assert b" 200 OK" in sock.recv(100)
        sock.close()
    time.sleep(0.5)
    assert ask(server.port, with_login) == servers.good
    # Nor do four leave room for a fifth if they hang up: the lesson goes on with them.
    slow = post(*[("x", png(plain(5000, 5000)))] * 10)
    four = begun(server.port, 4, slow.replace(b"\r\n\r\n", login, 1))
    time.sleep(0.5)
    for sock in four:
        sock.close()
    time.sleep(0.5)
    assert ask(server.port, with_login)[0] == 503
    wait_until(lambda: ask(server.port, with_login)[0] == 200, 60)
    # One after the other, but too many in a moment.
    statuses = [ask(server.port, with_login)[0] for _ in range(40)]
    assert statuses[0] == 200
    # Not the last one: every fifth of a second one more is allowed.
    assert 503 in statuses[-10:]


# --- A server is stopped, or dies.


@needs("nginx")
def test_one_of_two_backends_is_killed(servers):
    """In the middle of a run, and not one answer is lost."""
    first = servers.new("gunicorn")
    nginx = servers.nginx(first.port, servers["gunicorn"].port)

    def pairs():
        for number in range(200):
            if number == 100:
                for process in first.tree():
                    process.kill()
            yield GOOD, servers.good

    assert wrong_answers(nginx.port, 16, pairs()) == []


@needs("nginx")
def test_errors_of_one_client_keep_no_machine_from_the_others(servers):
    """Its uploads are no forms: gunicorn answers and closes before it has read them."""
    first = servers.new("gunicorn")
    nginx = servers.nginx(first.port, servers["gunicorn"].port)
    head = "POST /inference HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\n"
    upload = f"{head}Content-Length: 15900000\r\n\r\n".encode() + bytes(15_900_000)
    done = threading.Event()

    def send_uploads():
        while not done.is_set():
            ask(nginx.port, upload)

    with ThreadPoolExecutor(2) as clients:
        attacks = [clients.submit(send_uploads) for _ in range(2)]
        try:
            assert wrong_answers(nginx.port, 4, [(GOOD, servers.good)] * 200) == []
        finally:
            done.set()
    # They have gone on to the end.
    assert [attack.exception() for attack in attacks] == [None, None]


@needs("nginx")
@pytest.mark.parametrize(("without", "status"), [("", 200), (" non_idempotent", 502)])
def test_a_backend_dies_with_the_request(servers, without, status):
    """It ends in the middle of a POST: nginx asks the next one only because of the word
    non_idempotent."""
    asked = []
    with socket.create_server((serving.HOST, 0)) as dying:

        def die():
            with dying.accept()[0] as sock:
                got = b""
                while len(got) < len(HALF) and (piece := sock.recv(1 << 16)):
                    got += piece
                asked.append(got)

        # daemon: if nginx never asks, this test fails, and pytest can still end.
        thread = threading.Thread(target=die, daemon=True)
        thread.start()
        port = dying.getsockname()[1]
        nginx = servers.nginx(port, servers["gunicorn"].port, without=without)
        answer = ask(nginx.port, GOOD)
        thread.join(60)
    assert len(asked) == 1
    assert len(asked[0]) >= len(HALF)
    assert answer[0] == status
    if status == 200:
        assert answer == servers.good


@needs("gunicorn")
def test_a_restart_answers_what_has_begun(servers):
    """As with KillMode=mixed: gunicorn alone gets the signal, in the middle of a
    picture."""
    server = servers.new("gunicorn")
    assert ask(server.port, GOOD) == servers.good
    # The workers that are still starting must not pass for one that computes.
    wait_until_none_computes(workers_among(server.tree()))
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(ask, server.port, post(("x", largest_picture())))
        # Not gunicorn's own processes: they compute while they receive the file.
        first_to_compute(workers_among(server.tree()))
        server.processes[0].terminate()
        assert answer.result()[0] == 200


# --- Slow clients: the table of docs/serving.md.

HEADER_START = b"POST /inference HTTP/1.1\r\nHost: a\r\n"
# How many clients stop in the middle of an upload, and how many send one header line
# every 15 seconds. gunicorn: 8 and 8, as many as it has threads. waitress: 400, as many
# as its connection_limit.
SILENT = {"python": 1, "gunicorn": 8, "waitress": 1, "nginx": 1}
DRIPPING = {"python": 1, "gunicorn": 8, "waitress": 400, "nginx": 400}


class SlowClients:
    """They start with the servers; a minute later, at the end, tests look at them."""

    def __init__(self, servers):
        self.ports = {"python": servers["python"].port}
        # Servers of their own: the clients block these two.
        for name in ("gunicorn", "waitress"):
            if not is_missing(name):
                self.ports[name] = servers.new(name).port
        if not is_missing("nginx"):
            self.ports["nginx"] = servers.nginx(servers["gunicorn"].port).port
        self.start = time.monotonic()
        self.silent = {}
        self.dripping = {}
        # Which servers have hung up on clients of each kind after 15 seconds.
        self.closed_early = None
        for name, port in self.ports.items():
            self.silent[name] = begun(port, SILENT[name], HALF)
            self.dripping[name] = begun(port, DRIPPING[name], HEADER_START)
        # Now, since nginx hangs up after 30 seconds.
        if "nginx" in self.ports:
            self.answer_of_nginx = ask(self.ports["nginx"], GOOD)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.drip)

    def drip(self):
        while not self.ended.wait(15):
            if self.closed_early is None:
                self.closed_early = [
                    (name, kind)
                    for kind in ("silent", "dripping")
                    for name, socks in getattr(self, kind).items()
                    if is_answered(socks)
                ]
            for socks in self.dripping.values():
                for sock in socks:
                    # The server may have hung up.
                    with suppress(OSError):
                        sock.sendall(b"X-More: x\r\n")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc_info):
        self.ended.set()
        self.thread.join()
        for name in self.ports:
            self.leave(name)

    def leave(self, name):
        """End all clients of one server."""
        for sock in self.silent[name] + self.dripping[name]:
            sock.close()


def is_answered(socks):
    """Whether a server has sent something, or hung up, on any of these connections."""
    with selectors.DefaultSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ)
        return selector.select(0) != []


def is_closed(sock, deadline):
    """Whether the server closes a connection before the deadline."""
    sock.settimeout(max(0.001, deadline - time.monotonic()))
    try:
        while data := sock.recv(1 << 16):  # some say why, with a 400 or 408
            assert b"HTTP/1.1 2" not in data
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


@needs("nginx")
def test_nginx_answers_while_400_clients_are_slow(servers):
    assert servers.slow.answer_of_nginx == servers.good


@pytest.mark.parametrize(
    ("name", "kind"),
    each_of(
        ("python", "silent"),
        ("waitress", "silent"),
        ("nginx", "silent"),
        ("nginx", "dripping"),
    ),
)
def test_who_hangs_up_on_slow_clients(servers, name, kind):
    slow = servers.slow
    socks = getattr(slow, kind)[name]
    # After 30 seconds. But waitress looks every 30 seconds for clients that have been
    # silent for 30: up to 60.
    deadline = slow.start + (90 if name == "waitress" else 50)
    assert len(socks) > 0
    assert all(is_closed(sock, deadline) for sock in socks)
    # Not early: after 15 seconds none had hung up.
    assert slow.closed_early == []


@pytest.mark.parametrize(
    ("name", "kind"),
    each_of(
        ("gunicorn", "silent"),
        ("python", "dripping"),
        ("gunicorn", "dripping"),
        ("waitress", "dripping"),
    ),
)
def test_who_waits_for_slow_clients(servers, name, kind):
    slow = servers.slow
    socks = getattr(slow, kind)[name]
    # Longer than all that hang up above.
    deadline = slow.start + 90
    time.sleep(max(0, deadline - time.monotonic()))
    assert len(socks) > 0
    assert not any(is_closed(sock, deadline) for sock in socks)


# The last test: it ends the slow clients, at which the tests above look.
@pytest.mark.parametrize("name", each_of(["gunicorn"], ["waitress"]))
def test_slow_clients_stop_a_server(servers, name):
    """16 of them stop gunicorn, 400 stop waitress, for as long as they are there."""
    port = servers.slow.ports[name]
    with pytest.raises(TimeoutError):
        ask(port, GOOD, timeout=3)
    servers.slow.leave(name)
    assert ask(port, GOOD) == servers.good
