"""How many pictures lesson 8 answers in a second, compared with no server at all.

Run    uv run benchmarks/serving.py     (or python, with the packages named below)

Needs port 4958: stop lesson 8 if it is running. Takes about ten minutes.
Starts lesson 8 with the commands of docs/serving.md, asks it from another process, and
prints how soon each server gives its first answer, and one table. Everything stays on
127.0.0.1. The baseline is a program without a server: threads that decode the same
files at full size and search them for strawberries. Read the ratios, not the absolute
numbers: the baseline and the servers take turns, so that whatever else the machine does
hits all of them alike.
"""
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "flask>=3.1,<4",
#   "numpy>=2.3,<3",
#   "opencv-python>=5.0,<6",
#   "psutil>=7,<8",
#   "waitress>=3,<4",
#   "gunicorn>=27,<28; sys_platform != 'win32'",
# ]
# ///

import argparse
import importlib.util
import itertools
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
from pathlib import Path
from statistics import median, quantiles

import cv2
import numpy as np
import psutil

ROOT = Path(__file__).parent.parent
SERVING = ROOT / "docs" / "serving.md"
PICTURE = ROOT / "scripts" / "pictures" / "strawberries.jpg"
HOST = "127.0.0.1"
LESSON_PORT = "4958"
TIMEOUT = 120  # seconds that a client waits for an answer
CLIENTS = (1, 4, 16)
# With more than two cores the lesson has more workers than the baseline has threads.
# Then compare the CPU time, not the rate.
BASELINE_THREADS = (1, 2)


# 1. The clients: raw sockets, and requests that are made beforehand.


def post(*files, fields=(("model_type", "strawberry"),)):
    """The bytes of a request for /inference: fields are (name, text) pairs, files are
    (file name, bytes) pairs that are sent as img_file."""
    parts = [(f'name="{name}"', text.encode()) for name, text in fields]
    parts += [(f'name="img_file"; filename="{name}"', file) for name, file in files]
    body = b""
    for header, content in parts:
        body += f"--cut\r\nContent-Disposition: form-data; {header}\r\n\r\n".encode()
        body += content + b"\r\n"
    body += b"--cut--\r\n"
    head = (
        f"POST /inference HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=cut\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """Asks one server, over one connection for as long as the server keeps it."""

    def __init__(self, port, timeout=TIMEOUT):
        self.port = port
        self.timeout = timeout
        self.sock = None

    def connect(self):
        if self.sock is None:
            self.sock = socket.create_connection((HOST, self.port), self.timeout)

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def ask(self, request):
        """Status and body of the answer."""
        self.connect()
        try:
            self.sock.sendall(request)
        except ConnectionError:
            # A server may say no before it has read everything: read its answer.
            pass
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        match = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        length = int(match[1])
        while len(body) < length:
            body += self.receive()
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return int(head.split()[1]), body

    def receive(self):
        piece = self.sock.recv(1 << 16)
        if not piece:
            self.close()
            raise ConnectionError("the server hung up")
        return piece


def ask(port, request, timeout=TIMEOUT):
    """Status and body, over a connection of its own."""
    client = Client(port, timeout)
    try:
        return client.ask(request)
    finally:
        client.close()


def load(port, request, wanted, clients, seconds):
    """Ask with this many clients at once. wanted: the status and the body that each
    answer must have. Gives the seconds of each answer, the answers per second, and the
    part of the time in which this process, that of the clients, used a core."""
    stop = time.perf_counter() + seconds

    def ask_again_and_again(_):
        client = Client(port)
        times = []
        # At least two answers: quantiles() in show() needs them.
        while len(times) < 2 or time.perf_counter() < stop:
            start = time.perf_counter()
            if client.ask(request) != wanted:
                raise RuntimeError("a wrong answer")
            times.append(time.perf_counter() - start)
        client.close()
        return times

    cpu_start = time.process_time()
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        lists = list(pool.map(ask_again_and_again, range(clients)))
    wall = time.perf_counter() - start
    times = list(itertools.chain.from_iterable(lists))
    busy = (time.process_time() - cpu_start) / wall
    return times, len(times) / wall, busy


# 2. The baseline: decode and inference of the same bytes, without a server.


def baseline(data, threads, seconds):
    """Pictures per second, and CPU seconds for each picture, of this many threads in
    this process. data: the bytes of a file."""
    cv2.setNumThreads(1)
    encoded = np.frombuffer(data, np.uint8)
    # A network must not be used by two threads: every thread has a lesson of its own.
    lessons = [imported_lesson() for _ in range(threads)]

    def look(lesson):
        img = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        lesson.inference(img, "strawberry")

    def look_until(lesson, stop):
        count = 0
        while time.perf_counter() < stop:
            look(lesson)
            count += 1
        return count

    for lesson in lessons:
        look(lesson)
    cpu_start = time.process_time()
    start = time.perf_counter()
    stop = start + seconds
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(look_until, lesson, stop) for lesson in lessons]
        count = sum(job.result() for job in jobs)
    wall = time.perf_counter() - start
    return count / wall, (time.process_time() - cpu_start) / count


def imported_lesson():
    """A fresh copy of the lesson's module."""
    path = ROOT / "08_inference.py"
    spec = importlib.util.spec_from_file_location("lesson_8", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["lesson_8"] = module  # Flask looks there for the lesson's folder
    spec.loader.exec_module(module)
    return module


# 3. The servers: the commands of docs/serving.md.


def commands():
    """{server: command}: the first line of docs/serving.md that begins as below."""
    lines = SERVING.read_text(encoding="utf-8").splitlines()
    beginnings = {"python": "python 08_inference.py"}
    if sys.platform != "win32":
        beginnings["gunicorn"] = "gunicorn 08_inference:app"
    beginnings["waitress"] = 'python -c "import importlib, waitress;'
    found = {}
    for name, beginning in beginnings.items():
        found[name] = next(line for line in lines if line.startswith(beginning))
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def port_for(name):
    """python 08_inference.py has its own port; the others take any."""
    return int(LESSON_PORT) if name == "python" else free_port()


def argv(command, port):
    """The words of a command, on this port instead of the lesson's."""
    words = shlex.split(command.replace(LESSON_PORT, str(port)))
    return [sys.executable if word == "python" else word for word in words]


def is_listening(port):
    """Whether a server listens at this port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@contextmanager
def started(words, port, log):
    """The running server, as soon as it listens; stopped at the end."""
    if is_listening(port):
        sys.exit(f"port {port} is in use: stop the server there")
    # With this PATH gunicorn is found even if .venv is not activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"PATH": path}
    with log.open("wb") as file:
        process = subprocess.Popen(words, cwd=ROOT, env=env, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + 60
        while not is_listening(port):
            if process.poll() is not None or time.monotonic() > deadline:
                printed = log.read_text(errors="replace")
                sys.exit(f"{words} does not listen. It printed:\n{printed}")
            time.sleep(0.01)
        yield process
    finally:
        process.terminate()
        process.wait(60)


def seconds_to_first_answer(name, command, request, folder):
    """From the start of a server until it has answered one picture; median of three."""
    times = []
    for _ in range(3):
        port = port_for(name)
        start = time.perf_counter()
        with started(argv(command, port), port, folder / name):
            assert ask(port, request)[0] == 200
            times.append(time.perf_counter() - start)
    return median(times)


def tree(process):
    """The process and all processes that it has started, directly or not."""
    main = psutil.Process(process.pid)
    return [main, *main.children(recursive=True)]


def cpu_seconds(process):
    total = 0
    for member in tree(process):
        times = member.cpu_times()
        total += times.user + times.system
    return total


# 4. The table.


def measure_round(seconds, servers, size, data, expected, client_pool, baseline_pool):
    """A line of figures (a dict) for each number of threads of the baseline, then one
    for each server and number of clients. size: a name such as "640x480" for the
    picture whose bytes are data.

    The two pools have one process each, for the clients and for the baseline: the CPU
    time that is measured is that of a whole process."""
    lines = []
    rates = {}
    cpus = {}
    for threads in BASELINE_THREADS:
        job = baseline_pool.submit(baseline, data, threads, seconds)
        rate, cpu = job.result()
        lines.append({"key": (size, threads, "baseline"), "rate": rate, "cpu": cpu})
        rates[threads] = rate
        cpus[threads] = cpu
    # The size serves as the file's name.
    request = post((size, data))
    for clients in CLIENTS:
        for name, (port, process) in servers.items():
            cpu_start = cpu_seconds(process)
            job = client_pool.submit(load, port, request, expected, clients, seconds)
            times, rate, busy = job.result()
            cpu = (cpu_seconds(process) - cpu_start) / len(times)
            # One client is set beside one thread, more clients beside two.
            threads = min(clients, 2)
            lines.append(
                {
                    "key": (size, clients, name),
                    "rate": rate,
                    "cpu": cpu,
                    "times": times,
                    "busy": busy,
                    # Both are above 1 where the server does better.
                    "of_rate": rate / rates[threads],
                    "of_cpu": cpus[threads] / cpu,
                    "memory": sum(p.memory_info().rss for p in tree(process)),
                }
            )
    return lines


def measure(rounds, seconds, servers, pictures):
    """The lines of measure_round() of all rounds. pictures: {size: bytes}."""
    # The answer to each picture, the same from every server.
    expected = {}
    for size, data in pictures.items():
        request = post((size, data))
        for port, _ in servers.values():
            answer = ask(port, request)
            assert answer[0] == 200, answer
            assert answer == expected.setdefault(size, answer)
            # Warm up: in 0 seconds each client asks twice (see load()).
            load(port, request, answer, os.cpu_count(), 0)
    lines = []
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        client_pool = stack.enter_context(ProcessPoolExecutor(1, spawn))
        baseline_pool = stack.enter_context(ProcessPoolExecutor(1, spawn))
        for number in range(rounds):
            for size, data in pictures.items():
                print(f"round {number + 1} of {rounds}: {size}", file=sys.stderr)
                lines += measure_round(
                    seconds,
                    servers,
                    size,
                    data,
                    expected[size],
                    client_pool,
                    baseline_pool,
                )
    return lines


def show(lines):
    # In a line of the baseline the column "clients" holds its threads.
    print(
        "picture    clients  served by  requests/s  x baseline  CPU ms  CPU ratio"
        "  p50 ms  p99 ms  p99/p50  MB in all"
    )
    for key in sorted({line["key"] for line in lines}):
        of_key = [line for line in lines if line["key"] == key]
        size, clients, name = key
        rate = median(line["rate"] for line in of_key)
        cpu = 1000 * median(line["cpu"] for line in of_key)
        text = f"{size:9}  {clients:7}  {name:9}  {rate:10.1f}"
        if name == "baseline":
            print(f"{text}        1.00  {cpu:6.1f}       1.00")
            continue
        of_rate = median(line["of_rate"] for line in of_key)
        of_cpu = median(line["of_cpu"] for line in of_key)
        times = itertools.chain.from_iterable(line["times"] for line in of_key)
        percentiles = quantiles(times, n=100)
        p50 = 1000 * percentiles[49]
        p99 = 1000 * percentiles[98]
        memory = max(line["memory"] for line in of_key) / 1e6
        print(
            f"{text}  {of_rate:10.2f}  {cpu:6.1f}  {of_cpu:9.2f}"
            f"  {p50:6.1f}  {p99:6.1f}  {p99 / p50:7.1f}  {memory:9.0f}"
        )
    busy = max(line.get("busy", 0) for line in lines)
    print(f"\nThe clients' own process was busy for at most {busy:.0%} of the time.")
    print("Near 100% the clients, not the servers, would be the limit.")


def enlarged(width, height):
    """The drawn strawberries as the bytes of a JPEG of this size."""
    # Not imread(): on Windows it finds no file in a folder with Korean letters.
    drawn = cv2.imdecode(np.fromfile(PICTURE, np.uint8), cv2.IMREAD_COLOR)
    img = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", img)[1].tobytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2, help="for each figure")
    options = parser.parse_args()
    pictures = {"640x480": PICTURE.read_bytes(), "4000x3000": enlarged(4000, 3000)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        request = post(("640x480", pictures["640x480"]))
        # Each alone, then all of them together.
        for name, command in commands().items():
            seconds = seconds_to_first_answer(name, command, request, folder)
            print(f"{name}: first answer {seconds:.1f} s after the start")
        servers = {}
        for name, command in commands().items():
            port = port_for(name)
            running = started(argv(command, port), port, folder / name)
            process = stack.enter_context(running)
            servers[name] = (port, process)
        show(measure(options.rounds, options.seconds, servers, pictures))


if __name__ == "__main__":
    main()
