"""What lesson 8 carries, beside the limit: the same work without any server.

Run    uv run benchmarks/serving.py     (or python, with the packages named below)

Starts lesson 8 with the README's commands, asks it from another process and prints one
table; then what is lost in a crowd, to rude clients and when a machine dies (with
nginx, where it is installed). Everything stays on 127.0.0.1 and ends within ten
minutes. Read the ratios: the limit and the servers take turns, round after round, so
whatever else the machine does hits all of them.
"""
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "flask>=3.1,<4",
#   "numpy>=2.2,<3",
#   "opencv-python>=5.0,<6",
#   "psutil>=7,<8",
#   "waitress>=3,<4",
#   "gunicorn>=23; sys_platform != 'win32'",
# ]
# ///

import argparse
import multiprocessing
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import median, quantiles

import cv2
import numpy as np
import psutil

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "scripts" / "pictures" / "strawberries.jpg"
HOST = "127.0.0.1"


# 1. The clients: raw sockets, and requests that are made beforehand.
def post(*files, path="/inference", fields=(("model_type", "strawberry"),)):
    """The bytes of a request with these (file name, content) pairs as img_file."""
    parts = [(f'name="{name}"', text.encode()) for name, text in fields]
    parts += [(f'name="img_file"; filename="{name}"', data) for name, data in files]
    head = "--cut\r\nContent-Disposition: form-data; {}\r\n\r\n"
    body = b"".join(head.format(p).encode() + data + b"\r\n" for p, data in parts)
    body += b"--cut--\r\n"
    return (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=cut\r\n\r\n"
    ).encode() + body


class Client:
    """Asks one server, over one connection for as long as the server keeps it."""

    def __init__(self, port):
        self.port, self.sock = port, None

    def connect(self):
        if self.sock is None:
            self.sock = socket.create_connection((HOST, self.port), 120)
        return self.sock

    def close(self):
        if self.sock is not None:
            self.sock.close()
        self.sock = None

    def ask(self, request):
        """Status and body of the answer."""
        try:
            self.connect().sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            pass  # a server may say no before it has read everything
        head, _, body = self.more(b"", b"\r\n\r\n").partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)[1])
        while len(body) < length:
            body = self.more(body)
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return int(head.split()[1]), body

    def more(self, data, until=b""):
        while True:
            piece = self.sock.recv(1 << 16)
            if not piece:
                self.close()
                raise ConnectionError(f"hung up after {len(data)} bytes")
            data += piece
            if until in data:
                return data


def load(port, request, want, clients, seconds):
    """Ask for some seconds: latencies, this process's CPU seconds and wall seconds."""
    times, stop = [[] for _ in range(clients)], time.perf_counter() + seconds

    def one(mine):
        client = Client(port)
        while (start := time.perf_counter()) < stop:
            if client.ask(request) != want:
                raise RuntimeError("a wrong answer")
            mine.append(time.perf_counter() - start)
        client.close()

    cpu, start = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, times))
    wall = time.perf_counter() - start
    return sum(times, []), time.process_time() - cpu, wall


# 2. The limit: decode and inference of the same bytes, without a server.
def limit(data, threads, seconds):
    """Pictures, CPU seconds and wall seconds of so many threads in this process."""
    pixels, counts, stop = np.frombuffer(data, np.uint8), [0] * threads, 0
    # A network is not thread-safe: every thread has the lesson, and so one, for itself.
    lessons = [imported() for _ in counts]

    def work(mine):
        while True:
            img = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
            lessons[mine].inference(img, "strawberry")
            counts[mine] += 1
            if time.perf_counter() > stop:
                return

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))  # once to warm up
        counts, stop = [0] * threads, time.perf_counter() + seconds
        cpu, start = time.process_time(), time.perf_counter()
        list(pool.map(work, range(threads)))
    wall = time.perf_counter() - start
    return sum(counts), time.process_time() - cpu, wall


def imported():
    """A fresh copy of the lesson's module, imported and not started."""
    spec = spec_from_file_location("lesson_8", ROOT / "08_inference.py")
    sys.modules["lesson_8"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# 3. The servers: what the README says, word for word, on free ports.
def readme(language, start=""):
    """The line in the README's code that begins so, or its whole nginx block."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return (
        next(line for line in lines if line.startswith(start)) if start else blocks[0]
    )


def commands():
    """Name of the server: command."""
    found = {"python": "python 08_inference.py"}
    if sys.platform != "win32":
        found["gunicorn"] = readme("sh", "gunicorn 08_inference:app")
    return found | {"waitress": readme("sh", 'python -c "import importlib, waitress')}


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def argv(command, port):
    """The words of a command, on this port instead of the lesson's."""
    words = shlex.split(command.replace("4958", str(port)))
    return [sys.executable if word == "python" else word for word in words]


def nginx_argv(folder, port, backends, without=""):
    """nginx with the README's lines on these ports; `without` is left out."""
    lines = readme("nginx").replace(without, "") if without else readme("nginx")
    for old, new in zip(("8000", "4958", "4959"), (port, *backends), strict=True):
        lines = lines.replace(f"{HOST}:{old}", f"{HOST}:{new}")
    places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    temporary = "".join(f"{p}_temp_path {folder}/{p};" for p in places)
    head = f"daemon off; master_process off; pid {folder}/pid; events {{}}"
    http = f"http {{ access_log off; {temporary}\n{lines}}}"
    (folder / "nginx.conf").write_text(f"{head}\n{http}\n", encoding="utf-8")
    return ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf")]


@contextmanager
def started(words, port, folder):
    """The running process, as soon as it answers; stopped at the end."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    env |= {"XDG_RUNTIME_DIR": str(folder)}
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) == 0:
                    break
            time.sleep(0.1)
        if process.poll() is not None:
            sys.exit(f"{words}: {(folder / 'log').read_text(errors='replace')}")
        yield process
    finally:
        process.terminate()
        process.wait(60)


def tree(process):
    main = psutil.Process(process.pid)
    return [main, *main.children(recursive=True)]


def cpu_seconds(processes):
    return sum(sum(p.cpu_times()[:2]) for one in processes for p in tree(one))


def megabytes(processes):
    """The memory of the largest process."""
    return max(p.memory_info().rss for one in processes for p in tree(one)) / 1e6


def footprint(processes):
    """How many threads and how many open files these servers have."""
    count = "num_handles" if sys.platform == "win32" else "num_fds"
    all_ = [p for one in processes for p in tree(one)]
    return sum(p.num_threads() for p in all_), sum(getattr(p, count)() for p in all_)


# 4. A crowd, and rude clients.
def chunk(kind, data, length=None):
    check = struct.pack(">I", zlib.crc32(kind + data))
    return (
        struct.pack(">I", len(data) if length is None else length) + kind + data + check
    )


def hostile():
    """Files that cost little to send and much to read, and some plain wrong ones."""
    photo = PHOTO.read_bytes()
    png, header = b"\x89PNG\r\n\x1a\n", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    huge = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    slow = cv2.imencode(".jpg", np.zeros((999, 999, 3), np.uint8), options)[1].tobytes()
    last = slow[slow.rindex(b"\xff\xda") : -2]
    frame = struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0)
    return {
        "4gb.png": png
        + chunk(b"IHDR", header)
        + struct.pack(">I4s", 2**32 - 16, b"tEXt"),
        "scans.jpg": slow[:-2] + last * 1000 + b"\xff\xd9",
        "bomb.webp": b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(9),
        "bomb.gif": b"GIF89a"
        + frame
        + bytes(6)
        + b","
        + bytes(4)
        + frame[:4]
        + bytes(4),
        "huge.png": png
        + chunk(b"IHDR", huge)
        + chunk(b"IDAT", zlib.compress(bytes(9999)))
        + chunk(b"IEND", b""),
        "half.jpg": photo[: len(photo) // 2],
        "empty.jpg": b"",
        "text.jpg": b"This is no picture.\n",
    }


def largest():
    """A JPEG of 25 Mpx and nearly 16 MB: noise, since that is what needs most."""
    noise = np.random.default_rng(8).integers(0, 256, (5000, 5000, 3), np.uint8)
    for quality in range(95, 5, -5):
        data = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if len(data) < 15_900_000:
            return data.tobytes()


def lost(port, clients, requests):
    """The wrong answers to (request, wanted answer) pairs; all clients connect first."""
    gate, todo = threading.Barrier(clients), iter(requests)
    lock, wrong = threading.Lock(), []

    def one(_):
        client = Client(port)
        client.connect()
        gate.wait(120)
        while True:
            with lock:
                request, want = next(todo, (None, None))
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


def half_sent(port, request, count):
    """Clients that stop in the middle of their upload, and stay."""
    socks = [socket.create_connection((HOST, port), 120) for _ in range(count)]
    for sock in socks:
        sock.sendall(request[: len(request) // 2])
    return socks


def hang_up(port, request, count):
    """Clients that leave during the upload or before the answer, some with a reset."""
    for number in range(count):
        with socket.create_connection((HOST, port), 120) as sock:
            if number % 4 > 1:
                on = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on)
            sock.sendall(request[: len(request) // 2] if number % 2 else request)


# 5. The table.
def measure(rounds, seconds, servers, pictures, answers):
    """{(picture, clients, server): [one dict a round]}; the servers take turns."""
    cells, spawn = {}, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as asking, ProcessPoolExecutor(1, spawn) as bare:
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for size, data in pictures.items():
                request, limits = post((size, data)), {}
                for threads in (1, 2):
                    job = bare.submit(limit, data, threads, seconds)
                    done, cpu, wall = job.result()
                    limits[threads] = {"rate": done / wall, "cpu": cpu / done}
                    key = size, threads, "limit"
                    cells.setdefault(key, []).append(limits[threads] | {"load": 0})
                for clients in (1, 4, 16):
                    for name, (port, process) in servers.items():
                        before = cpu_seconds([process])
                        job = asking.submit(
                            load, port, request, answers[name, size], clients, seconds
                        )
                        times, mine, wall = job.result()
                        cpu = (cpu_seconds([process]) - before) / len(times)
                        most = limits[1 if clients == 1 else 2]
                        cell = {
                            "rate": len(times) / wall,
                            "cpu": cpu,
                            "load": mine / wall,
                        }
                        cell |= {"of_rate": len(times) / wall / most["rate"]}
                        cell |= {"of_cpu": most["cpu"] / cpu, "times": times}
                        cell |= {"memory": megabytes([process])}
                        cells.setdefault((size, clients, name), []).append(cell)
        pages = {}
        for name, (port, _) in servers.items():
            client = Client(port)
            page = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
            job = asking.submit(load, port, page, client.ask(page), 16, seconds)
            client.close()
            times, _, wall = job.result()
            pages[name] = len(times) / wall
    return cells, pages


def show(cells, pages):
    print(
        "picture    clients  served by  requests/s  of limit  CPU ms  limit/CPU", end=""
    )
    print("  p50 ms  p99 ms  p99/p50   MB")
    for (size, clients, name), rounds in cells.items():
        line = f"{size:9}  {clients:7}  {name:9}"
        line += f"  {median(one['rate'] for one in rounds):10.0f}"
        if name == "limit":
            print(f"{line}  {'':8}  {median(one['cpu'] for one in rounds) * 1e3:6.2f}")
            continue
        cuts = quantiles([t * 1e3 for one in rounds for t in one["times"]], n=100)
        line += f"  {median(one['of_rate'] for one in rounds):8.2f}"
        line += f"  {median(one['cpu'] for one in rounds) * 1e3:6.2f}"
        line += f"  {median(one['of_cpu'] for one in rounds):9.2f}"
        line += f"  {cuts[49]:6.1f}  {cuts[98]:6.1f}  {cuts[98] / cuts[49]:7.1f}"
        print(f"{line}  {max(one['memory'] for one in rounds):3.0f}")
    busy = max(one["load"] for rounds in cells.values() for one in rounds)
    print(f"The load generator used at most {busy:.0%} of one core in these rounds.")
    for name, rate in pages.items():
        print(
            f"With GET / instead of a picture it got {rate:.0f} answers/s from {name}."
        )


def overload(name, port, processes, folder, count):
    """Every kind of overload on one server: what is lost, and what stays behind."""
    good = post(("a.jpg", PHOTO.read_bytes()))
    bad = [post((name, data)) for name, data in hostile().items()]
    want = Client(port).ask(good)
    refusals = [(request, Client(port).ask(request)) for request in bad]
    if [status for _, (status, _) in refusals] != [400] * len(bad):
        raise RuntimeError("a hostile file was not refused")
    lost(port, 32, [(good, want)] * 100)
    time.sleep(3)
    before, memory = footprint(processes), megabytes(processes)
    say(f"{name}: 200 at once")
    report = {"200 clients at once": lost(port, 200, [(good, want)] * 200)}
    if name != "gunicorn":  # eight of them stop it: that is what nginx is for
        say(f"{name}: 50 half-sent bodies")
        idle = half_sent(port, good, 50)
        report["beside 50 half-sent bodies"] = lost(port, 16, [(good, want)] * 200)
        for sock in idle:
            sock.close()
    say(f"{name}: clients that hang up")
    hang_up(port, good, 100)
    report["after 100 hung up"] = lost(port, 16, [(good, want)] * 100)
    say(f"{name}: {count} requests, 1 % hostile")
    mixed = [(good, want)] * count
    for number in range(0, count, 100):
        mixed[number] = refusals[number // 100 % len(refusals)]
    report[f"of {count}, 1 % of them hostile"] = lost(port, 16, mixed)
    say(f"{name}: 16 pictures of 25 Mpx at once")
    big = post(("big.jpg", largest()))
    large = [(big, Client(port).ask(big))] * 16
    with peak(processes) as most:
        report["16 pictures of 25 Mpx at once"] = lost(port, 16, large)
    for _ in range(60):
        if all(a <= b for a, b in zip(footprint(processes), before, strict=True)):
            break
        time.sleep(1)
    lines = [f"{len(wrong)} lost {what}" for what, wrong in report.items()]
    after, temporary = footprint(processes), len(leftovers(folder))
    print(f"{name}: {', '.join(lines)}.")
    print(
        f"  Memory {memory:.0f} MB before, {most[0]:.0f} at most, "
        f"{megabytes(processes):.0f} after. Threads {before[0]} and {after[0]}, "
        f"open files {before[1]} and {after[1]}, temporary files after: {temporary}."
    )


def leftovers(folder):
    """Temporary files in a server's folder, beside what it needs while it runs."""
    own = ("log", "nginx.conf", "pid", "gunicorn.ctl")
    return [p for p in folder.rglob("*") if p.is_file() and p.name not in own]


@contextmanager
def peak(processes):
    """The most memory that any process has meanwhile."""
    most, stop = [0], threading.Event()

    def watch():
        while not stop.wait(0.05):
            most[0] = max(most[0], megabytes(processes))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        stop.set()
        thread.join()


def killed(folder, count, without=""):
    """Two gunicorns behind nginx, one killed half-way: the answers that were wrong."""
    good, ports = post(("a.jpg", PHOTO.read_bytes())), [free_port() for _ in range(3)]
    with ExitStack() as stack:
        backends = [
            stack.enter_context(
                started(argv(commands()["gunicorn"], port), port, folder)
            )
            for port in ports[1:]
        ]
        words = nginx_argv(folder, ports[0], ports[1:], without)
        stack.enter_context(started(words, ports[0], folder))
        want = Client(ports[0]).ask(good)

        def requests():
            for number in range(count):
                if number == count // 2:
                    for process in tree(backends[0]):
                        process.kill()
                yield good, want

        return lost(ports[0], 16, requests())


def say(text):
    print(f"... {text}", file=sys.stderr, flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=6)
    options.add_argument("--seconds", type=float, default=1.5, help="of each cell")
    options.add_argument(
        "--count", type=int, default=1000, help="requests under attack"
    )
    options = options.parse_args()
    photo = cv2.imread(str(PHOTO))
    double = cv2.resize(photo, (1280, 960), interpolation=cv2.INTER_CUBIC)
    pictures = {"640x480": PHOTO.read_bytes()}
    pictures["1280x960"] = cv2.imencode(".jpg", double)[1].tobytes()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers, folders = {}, {}
        for name, command in commands().items():
            port = 4958 if name == "python" else free_port()
            folders[name] = root / name
            folders[name].mkdir()
            words = argv(command, port)
            process = stack.enter_context(started(words, port, folders[name]))
            servers[name] = port, process
        answers = {}
        for name, (port, _) in servers.items():
            for size, data in pictures.items():
                answers[name, size] = Client(port).ask(post((size, data)))
        show(*measure(options.rounds, options.seconds, servers, pictures, answers))
        print()
        for name, (port, process) in servers.items():
            overload(name, port, [process], folders[name], options.count)
        if "gunicorn" in servers and shutil.which("nginx"):
            folder, port = root / "nginx", free_port()
            folder.mkdir()
            backend = servers["gunicorn"]
            words = nginx_argv(folder, port, [backend[0]] * 2)
            process = stack.enter_context(started(words, port, folder))
            overload("nginx", port, [process, backend[1]], folder, options.count)
            for without in ("", " non_idempotent"):
                say(f"one of two killed, {without or 'the lines of the README'}")
                failed = len(killed(folder, options.count, without))
                lines = f"nginx without{without}" if without else "nginx"
                print(
                    f"{lines}, one of two killed: {failed} of {options.count} failed."
                )


if __name__ == "__main__":
    main()
