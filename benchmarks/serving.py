"""What lesson 8 carries, beside the limit: the same work without any server.

Run    uv run benchmarks/serving.py     (or python, with the packages named below)

It starts the README's three commands, asks them from another process and prints one
table, then what each does under overload and rude clients. All of it stays on
127.0.0.1 and takes under ten minutes. Read the ratios, not the absolute numbers: the
limit and the servers take turns, so that whatever else the machine does hits all.
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

import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "scripts" / "pictures" / "strawberries.jpg"
HOST = "127.0.0.1"


# 1. A client: raw sockets, and requests that are made beforehand.
def post(*files, path="/inference", model_type="strawberry"):
    """The bytes of a request with these (name, content) pairs as img_file."""
    parts = [("", "model_type", "", model_type.encode())]
    parts += [("; filename=", "img_file", name, data) for name, data in files]
    body = b""
    for kind, field, name, data in parts:
        quoted = f'{kind}"{name}"' if kind else ""
        head = f'--cut\r\nContent-Disposition: form-data; name="{field}"{quoted}'
        body += head.encode() + b"\r\n\r\n" + data + b"\r\n"
    body += b"--cut--\r\n"
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: multipart/form-data; boundary=cut", "", ""]
    return "\r\n".join(lines).encode() + body


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
        self.connect().sendall(request)
        return self.answer()

    def answer(self):
        data = self.more(b"")
        while b"\r\n\r\n" not in data:
            data = self.more(data)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)[1])
        while len(body) < length:
            body = self.more(body)
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return int(head.split()[1]), body

    def more(self, data):
        piece = self.sock.recv(1 << 16)
        if not piece:
            raise ConnectionError(f"hung up after {len(data)} bytes")
        return data + piece


def load(port, request, want, clients, seconds):
    """Ask for some seconds: latencies, this process's CPU seconds and wall seconds."""
    times, stop = [[] for _ in range(clients)], time.perf_counter() + seconds

    def one(mine):
        client = Client(port)
        while (start := time.perf_counter()) < stop:
            assert client.ask(request) == (200, want), "a wrong answer"
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
    import cv2
    import numpy as np

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
