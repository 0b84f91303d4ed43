"""How long a lesson takes from `python` to its first answer, against a bare app.

Run    uv run benchmarks/start.py [ROUNDS]     (or python, with Flask)

Starts 01_hello.py and an app that is the same without its comments in turn, 20 times
each unless ROUNDS says otherwise, so that whatever else the machine does hits both
alike. Prints the median of each and their ratio. Needs port 8080.
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PORT = 8080
URL = f"http://127.0.0.1:{PORT}/hello"
# Ask the lesson itself, even if a proxy is set on this computer.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
BARE = """from flask import Flask
app = Flask(__name__)
@app.route("/hello")
def hello():
    return "<h1>Hello World!</h1>"
if __name__ == "__main__":
    app.run(port=8080)
"""


def seconds_to_first_answer(file):
    """Start `file`, ask until it answers, stop it; the seconds until the answer."""
    begin = time.perf_counter()
    quiet = subprocess.DEVNULL
    server = subprocess.Popen([sys.executable, file], stdout=quiet, stderr=quiet)
    try:
        while server.poll() is None:
            try:
                with DIRECT.open(URL, timeout=5) as answer:
                    answer.read()
                    return time.perf_counter() - begin
            except urllib.error.HTTPError:
                # It answers, but not with the page: asking again changes nothing.
                raise
            except OSError:
                # It does not answer yet.
                time.sleep(0.002)
        raise SystemExit(f"{file} did not start")
    finally:
        server.terminate()
        server.wait()


def main(rounds):
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            raise SystemExit(f"port {PORT} is in use: stop the program that uses it")
    lesson = Path(__file__).parent.parent / "01_hello.py"
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        times = {lesson: [], bare: []}
        for _ in range(rounds):
            for file in times:
                times[file].append(seconds_to_first_answer(file))
    for file in times:
        print(f"{file.name:12} {statistics.median(times[file]):.3f} s")
    ratio = statistics.median(times[lesson]) / statistics.median(times[bare])
    print(f"ratio        {ratio:.2f} ({rounds} rounds)")


if __name__ == "__main__":
    rounds = 20
    if len(sys.argv) > 1:
        rounds = int(sys.argv[1])
    main(rounds)
