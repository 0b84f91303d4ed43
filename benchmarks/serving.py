"""What lesson 8 carries, beside the limit: the same work without any server.

Run    uv run benchmarks/serving.py     (or python, with the packages named below)

Starts lesson 8 with the README's commands, asks it from another process and prints one
table. Everything stays on 127.0.0.1 and ends within ten minutes. Read the ratios, not
the absolute numbers: the limit and the servers take turns, round after round, so that
whatever else the machine does hits all of them alike.
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
import socket
import subprocess
import sys
import tempfile
import time
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


def ask(port, request):
    """Status and body, over a connection of its own."""
    client = Client(port)
    try:
        return client.ask(request)
    finally:
        client.close()


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


# 3. The servers: the README's commands, word for word, on free ports.
def commands():
    """{server: command}: lesson 8's own, and the first of each kind in the README."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    starts = {
        "python": "python 08_inference.py",
        "gunicorn": "gunicorn 08_inference:app",
    }
    starts["waitress"] = 'python -c "import importlib, waitress;'
    if sys.platform == "win32":
        del starts["gunicorn"]
    found = {"python": starts.pop("python")}
    for name, start in starts.items():
        found[name] = next(line for line in lines if line.startswith(start))
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def argv(command, port):
    """The words of a command, on this port instead of the lesson's."""
    words = shlex.split(command.replace("4958", str(port)))
    return [sys.executable if word == "python" else word for word in words]


@contextmanager
def started(words, port, log):
    """The running server, as soon as it answers; stopped at the end."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "XDG_RUNTIME_DIR": str(log.parent)}
    with log.open("wb") as file:
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=file, stderr=file)
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if process.poll() is not None or not probe.connect_ex((HOST, port)):
                    break
            time.sleep(0.1)
        if process.poll() is not None:
            sys.exit(f"{words} stopped:\n{log.read_text(errors='replace')}")
        yield process
    finally:
        process.terminate()
        process.wait(60)


def tree(process):
    """A server's processes: gunicorn has several."""
    main = psutil.Process(process.pid)
    return [main, *main.children(recursive=True)]


def cpu_seconds(process):
    return sum(sum(one.cpu_times()[:2]) for one in tree(process))


# 4. The table.
def measure(rounds, seconds, servers, pictures):
    """{(picture, clients, server): [one dict a round]} and, per server, GET / a second.

    Of the limit `clients` are threads. One client is set beside one thread of it, more
    clients beside two.
    """
    cells, pages, wants = {}, {}, {}
    for name, (port, _) in servers.items():
        for size, data in pictures.items():  # and all processes have seen both sizes
            wants[name, size] = ask(port, post((size, data)))
            load(port, post((size, data)), wants[name, size], 16, 0.5)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as asking, ProcessPoolExecutor(1, spawn) as bare:
        for number in range(rounds):
            for size, data in pictures.items():
                print(f"... round {number + 1} of {rounds}: {size}", file=sys.stderr)
                limits = {}
                for threads in (1, 2):
                    job = bare.submit(limit, data, threads, seconds)
                    done, cpu, wall = job.result()
                    limits[threads] = {"rate": done / wall, "cpu": cpu / done}
                    cells.setdefault((size, threads, "limit"), []).append(
                        limits[threads] | {"load": 0}
                    )
                for clients in (1, 4, 16):
                    most = limits[min(clients, 2)]
                    for name, (port, process) in servers.items():
                        before, request = cpu_seconds(process), post((size, data))
                        args = (port, request, wants[name, size], clients, seconds)
                        times, own, wall = asking.submit(load, *args).result()
                        rate = len(times) / wall
                        cpu = (cpu_seconds(process) - before) / len(times)
                        cell = {"rate": rate, "cpu": cpu, "times": times}
                        cell |= {"of_rate": rate / most["rate"], "load": own / wall}
                        cell |= {"of_cpu": most["cpu"] / cpu}
                        cell |= {"rss": max(p.memory_info().rss for p in tree(process))}
                        cells.setdefault((size, clients, name), []).append(cell)
        page = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        for name, (port, _) in servers.items():
            args = (port, page, ask(port, page), 16, seconds)
            times, _, wall = asking.submit(load, *args).result()
            pages[name] = len(times) / wall
    return cells, pages


def show(cells, pages):
    print(
        "picture   clients  served by  requests/s  of limit  CPU ms  limit/CPU", end=""
    )
    print("  p50 ms  p99 ms  p99/p50   MB")
    for (size, clients, name), rounds in sorted(cells.items(), key=lambda c: c[0][0]):
        middle = {key: median(r[key] for r in rounds) for key in ("rate", "cpu")}
        line = f"{size:8}  {clients:7}  {name:9}  {middle['rate']:10.0f}"
        if name == "limit":
            print(f"{line}  {1:8.2f}  {middle['cpu'] * 1e3:6.2f}  {1:9.2f}")
            continue
        of_rate, of_cpu = (median(r[k] for r in rounds) for k in ("of_rate", "of_cpu"))
        cuts = quantiles([t * 1e3 for r in rounds for t in r["times"]], n=100)
        line += f"  {of_rate:8.2f}  {middle['cpu'] * 1e3:6.2f}  {of_cpu:9.2f}"
        line += f"  {cuts[49]:6.1f}  {cuts[98]:6.1f}  {cuts[98] / cuts[49]:7.1f}"
        print(f"{line}  {max(r['rss'] for r in rounds) / 1e6:3.0f}")
    busy = max(one["load"] for rounds in cells.values() for one in rounds)
    print(
        f"\nThe load generator was busy for at most {busy:.0%} of the time. Of GET / it"
    )
    rates = ", ".join(f"{rate:.0f} from {name}" for name, rate in pages.items())
    print(f"gets, each second: {rates}.")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--seconds", type=float, default=2, help="for each figure")
    options = options.parse_args()
    double = cv2.resize(cv2.imread(str(PHOTO)), (1280, 960))
    pictures = {"640x480": PHOTO.read_bytes()}
    pictures["1280x960"] = cv2.imencode(".jpg", double)[1].tobytes()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        for name, command in commands().items():
            port = 4958 if name == "python" else free_port()
            server = started(argv(command, port), port, folder / name)
            servers[name] = port, stack.enter_context(server)
        show(*measure(options.rounds, options.seconds, servers, pictures))


if __name__ == "__main__":
    main()
