"""Lesson 8's worker processes: start when needed, end with the server, come back."""

import io
import os
import shutil
import signal
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest
import requests
from collection import (
    ROOT,
    change,
    first_to_compute,
    imported,
    lesson,
    limited,
    port_of,
    serve,
    wait_until,
    wait_until_none_computes,
    workers_among,
)
from pictures import (
    PNG_END,
    arithmetic_jpeg,
    jpeg_with_empty_segments,
    plain,
    png,
    png_chunk,
    png_head,
    transparent_webp,
)
from uploads import (
    BERRIES,
    CRASHED,
    TOO_MANY_PIXELS,
    TOO_MUCH_MEMORY,
    TOO_SLOW,
    TWO_LINES,
    WORKERS,
    check_no_second_line,
    check_refused,
    needs_memory_limit,
    result_of,
    upload,
)

LESSON_8 = [sys.executable, str(ROOT / "08_inference.py")]
# It would take minutes.
SLOW = arithmetic_jpeg(1000)
# It leaves more than MAX_KEPT in its worker.
SCATTERED = jpeg_with_empty_segments(1_200_000)


@pytest.fixture
def server(tmp_path):
    with lesson("08_inference", tmp_path) as server:
        yield server


def workers_of(server):
    """The worker processes of a server that runs."""
    return workers_among(psutil.Process(server.process.pid).children(recursive=True))


def ready_workers_of(server):
    """Its workers, once all of them are ready: none computes any more."""
    wait_until(lambda: len(workers_of(server)) == WORKERS)
    workers = workers_of(server)
    wait_until_none_computes(workers)
    return workers


def check_all_are_answered(server):
    """Twice as many pictures as there are workers: so each worker gets one."""
    for _ in range(2 * WORKERS):
        result_of(server, BERRIES)


def is_alive(process):
    """Whether a process runs: a zombie has ended, and waits to be noticed."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_first_requests_that_come_together(tmp_path):
    """With `flask run` the workers start with the first picture: all of them, once."""
    port = str(port_of("08_inference"))
    command = [sys.executable, "-m", "flask", "--app", str(ROOT / "08_inference.py")]
    command += ["run", "--port", port]
    with serve(command, int(port), tmp_path) as server:
        assert workers_of(server) == []
        with ThreadPoolExecutor(8) as clients:
            answers = clients.map(lambda _: result_of(server, BERRIES), range(8))
            assert [len(answer["detections"]) for answer in answers] == [3] * 8
        ready_workers_of(server)
        # None was added meanwhile.
        workers = workers_of(server)
        assert len(workers) == WORKERS
        if sys.platform == "linux":
            # One computes, one waits for the end of the server.
            assert [worker.num_threads() for worker in workers] == [2] * WORKERS


def test_a_worker_is_killed_in_the_middle_of_a_picture(server):
    """That picture is refused; the next ones, more than there are workers, are not."""
    before = ready_workers_of(server)
    with ThreadPoolExecutor(1) as client:
        response = client.submit(upload, server, ("x", SLOW))
        first_to_compute(before).kill()
    check_refused(response.result(), 400, f"img_file: 'x' {CRASHED}")
    assert "a worker has crashed: exit code " in server.log
    if os.name == "posix":
        assert f"exit code -{signal.SIGKILL:d}\n" in server.log
    # It is replaced without a further request.
    wait_until(lambda: len(workers_of(server)) == len(before))
    check_all_are_answered(server)
    assert len(workers_of(server)) == len(before)


def test_all_workers_are_killed_while_they_wait(server):
    """No request is lost: each dead worker is replaced by the request that finds it."""
    before = ready_workers_of(server)
    for process in before:
        process.kill()
    check_all_are_answered(server)
    wait_until(lambda: len(workers_of(server)) == len(before))


def test_ctrl_c_does_not_end_a_worker(server, posix):
    """Nor one that was started in place of a dead one. A terminal sends SIGINT to the
    server and to its workers; here only to the workers."""
    for process in ready_workers_of(server):
        process.kill()
    check_all_are_answered(server)
    workers = ready_workers_of(server)
    for process in workers:
        process.send_signal(signal.SIGINT)
    check_all_are_answered(server)
    assert workers_of(server) == workers


def test_workers_that_do_not_answer_are_replaced(server, posix):
    """Such as stopped ones: they take no task."""
    before = ready_workers_of(server)
    for process in before:
        process.suspend()
    check_all_are_answered(server)
    assert not any(is_alive(process) for process in before)
    assert len(workers_of(server)) == len(before)


class BrokenFile(io.BytesIO):
    """A file that cannot be read. For example, its temporary file is gone."""

    def read(self, size=-1):
        raise OSError("the disk is gone")


@pytest.fixture
def fresh():
    """Lesson 8 as a module, imported anew: only the newest import can start workers,
    since their processes find run_worker() by its name."""
    return imported("08_inference")


@pytest.fixture
def worker(fresh, monkeypatch):
    """A Worker object of the module `fresh`, in this process."""
    # As start_workers() does in the server.
    for name, value in fresh.WORKER_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    worker = fresh.Worker()
    worker.start()
    yield worker
    worker.stop()


def test_a_file_that_cannot_be_read_costs_no_worker(fresh, worker, monkeypatch):
    """The same process looks at the next file."""
    monkeypatch.setattr(fresh, "workers_are_started", True)
    fresh.idle_workers.give_back(worker)
    process = worker.process
    with pytest.raises(OSError, match="the disk is gone"):
        fresh.ask_worker(BrokenFile(), "strawberry", False)
    answer = fresh.ask_worker(io.BytesIO(BERRIES), "strawberry", False)
    assert len(answer["detections"]) == 3
    assert fresh.idle_workers.take() is worker
    assert worker.process is process


def test_a_file_is_not_read_before_a_worker_is_free(fresh, monkeypatch):
    """So the server holds about as many large files in memory as there are workers."""
    steps = []

    class IdleWorkers:
        def take(self):
            steps.append("take")
            return SimpleNamespace(process="alive", ask=lambda *_: ("ok", {}))

        def give_back(self, worker):
            steps.append("give back")

    class File:
        def read(self):
            steps.append("read")
            return BERRIES

    monkeypatch.setattr(fresh, "workers_are_started", True)
    monkeypatch.setattr(fresh, "idle_workers", IdleWorkers())
    fresh.ask_worker(File(), "strawberry", False)
    assert steps == ["take", "read", "give back"]


class FailingPipe:
    """A pipe that gives some answers; the next one cannot be received."""

    def __init__(self, pipe, answers_left):
        self.pipe = pipe
        self.answers_left = answers_left

    def __getattr__(self, name):
        return getattr(self.pipe, name)

    def recv(self):
        if self.answers_left == 0:
            raise MemoryError
        self.answers_left -= 1
        return self.pipe.recv()


# The first answer is "go on", the second that for the picture.
@pytest.mark.parametrize("answers_left", [0, 1])
def test_an_answer_that_is_not_received_is_not_left_for_the_next(worker, answers_left):
    first = worker.process.pid
    worker.pipe = FailingPipe(worker.pipe, answers_left)
    with pytest.raises(MemoryError):
        worker.ask(BERRIES, "strawberry", False)
    assert worker.process is None
    assert not psutil.pid_exists(first)
    status, answer = worker.ask(BERRIES, "strawberry", False)
    assert (status, len(answer["detections"])) == ("ok", 3)


def test_a_worker_ends_before_the_file_has_arrived(worker):
    """Then sending fails, not receiving. It counts as a crash, too."""
    assert worker.send_task(("strawberry", False))
    worker.process.kill()
    worker.process.join()
    assert worker.send_file(BERRIES) == ("bad picture", CRASHED)


def test_a_large_file_arrives_whole(server):
    """The picture stands behind 240 comments: nearly 16 MB, the most that may come."""
    comment = b"\xff\xfe\xff\xff" + bytes(65_533)
    large = BERRIES[:2] + 240 * comment + BERRIES[2:]
    assert len(result_of(server, large)["detections"]) == 3


@needs_memory_limit
def test_a_picture_that_needs_more_than_max_memory(copy, tmp_path):
    """The limit is lowered here to less than the 75 MB of a decoded PNG. The same
    worker looks at the next picture."""
    file = copy / "08_inference.py"
    change(file, "\nMAX_MEMORY = 280_000_000\n", "\nMAX_MEMORY = 60_000_000\n")
    command = [sys.executable, str(file)]
    with serve(command, port_of("08_inference"), tmp_path) as server:
        before = ready_workers_of(server)
        # The workers take turns: so each gets one of these, and then one of the others.
        for _ in before:
            response = upload(server, ("x", png(plain(5000, 5000))))
            check_refused(response, 400, f"img_file: 'x' {TOO_MUCH_MEMORY}")
        check_all_are_answered(server)
        assert workers_of(server) == before


@needs_memory_limit
def test_a_worker_that_keeps_memory_is_replaced(worker, capfd):
    """A picture that needs most of MAX_MEMORY, before and after a hostile JPEG."""
    # The fixture has started its process before capfd begins: start another one.
    worker.stop()
    worker.start()
    hungry = transparent_webp(5000, 4700)
    first = worker.process.pid

    def check_good(data):
        status, answer = worker.ask(data, "strawberry", False)
        assert (status, type(answer)) == ("ok", dict), answer

    check_good(hungry)
    # The good picture has not cost the worker.
    check_good(SCATTERED)
    assert worker.process.pid == first
    # These meet the new one.
    check_good(hungry)
    check_good(hungry)
    # The first has been replaced, and has said why.
    assert worker.process.pid != first
    assert "a worker is replaced: it kept more than MAX_KEPT" in capfd.readouterr().err


@needs_memory_limit
def test_a_worker_that_has_kept_too_much_ends_at_once(worker):
    """No thread of it keeps it alive: so the next request need not wait for its end."""
    process = worker.process
    assert worker.ask(SCATTERED, "strawberry", False)[0] == "ok"
    process.join(2)
    assert process.exitcode == 0


def test_the_limit_is_beyond_what_a_worker_holds(fresh, monkeypatch):
    """Also after a picture that has left a little behind."""

    class Pipe:
        """Two pictures come, then the server is gone."""

        received = iter([("strawberry", False), b"", ("strawberry", False), b""])

        def send(self, answer):
            pass

        def recv(self):
            try:
                return next(self.received)
            except StopIteration:
                raise EOFError from None

        recv_bytes = recv

    limits = []
    # At the start, and before each picture.
    held = iter([100, 100, 120, 130])
    monkeypatch.setattr(fresh, "held_memory", lambda: next(held))
    monkeypatch.setattr(fresh, "limit_memory", limits.append)
    for name in ("signal.signal", "send_decoder_messages_nowhere", "end_with_server"):
        monkeypatch.setattr(f"08_inference.{name}", lambda *_: None)
    threads = cv2.getNumThreads()
    fresh.run_worker(Pipe())
    cv2.setNumThreads(threads)
    assert limits == [fresh.MAX_MEMORY + number for number in (100, 120, 130)]


@needs_memory_limit
def test_memory_that_was_never_used_is_held(fresh):
    """It counts for the limit, too."""
    before = fresh.held_memory()
    unused = np.empty(100_000_000, np.uint8)
    assert fresh.held_memory() - before >= unused.nbytes


@needs_memory_limit
def test_the_limit_can_become_higher_again(fresh, monkeypatch):
    """Only the first number of the two is set. The second cannot be made higher."""
    limits = []
    monkeypatch.setattr("resource.getrlimit", lambda _: (1, 500))
    monkeypatch.setattr("resource.setrlimit", lambda _, pair: limits.append(pair))
    for limit in (300, 400, 600):
        fresh.limit_memory(limit)
    assert limits == [(300, 500), (400, 500), (500, 500)]


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (4, 4), (64, 8), (None, 1)])
def test_a_worker_for_each_core_but_at_most_eight(cores, workers, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert imported("08_inference").WORKERS == workers


@needs_memory_limit
def test_under_a_limit_of_the_system(copy, tmp_path):
    """8 GB for each process. MAX_MEMORY, made larger here, would allow 50 GB: a worker
    must take the lower limit."""
    file = copy / "08_inference.py"
    change(file, "\nMAX_MEMORY = 280_000_000\n", "\nMAX_MEMORY = 50_000_000_000\n")
    command = limited("ulimit -d 8000000", [sys.executable, str(file)])
    with serve(command, port_of("08_inference"), tmp_path) as server:
        assert len(result_of(server, BERRIES)["detections"]) == 3


def test_a_body_that_cannot_be_stored(tmp_path, posix):
    """As on a full disk: a 500 in JSON, and a traceback in the log. The path of the
    request, TWO_LINES, has a newline, but is one line there."""
    # A file may have 1000 blocks: half a megabyte, or one, as the shell counts.
    command = limited("ulimit -f 1000", LESSON_8)
    with serve(command, port_of("08_inference"), tmp_path) as server:
        files = {"img_file": bytes(2_000_000)}
        response = requests.post(server.url + TWO_LINES, files=files, timeout=60)
        assert (response.status_code, list(response.json())) == (500, ["error"])
        assert "the body of a request could not be read\nTraceback" in server.log
        check_no_second_line(server)


def test_who_has_waited_longest_gets_the_next_worker(fresh):
    workers = fresh.IdleWorkers()
    with ThreadPoolExecutor(3) as threads:
        requests_in_order = []
        for _ in range(3):
            requests_in_order.append(threads.submit(workers.take))
            wait_until(lambda: len(workers.waiting) == len(requests_in_order))
        for worker in ("first", "second", "third"):
            workers.give_back(worker)
        taken = [request.result(20) for request in requests_in_order]
    assert taken == ["first", "second", "third"]
    # Nobody waits: it is kept for the next one.
    workers.give_back("kept")
    assert workers.take() == "kept"


def test_idle_workers_change_only_under_their_lock(fresh):
    """Otherwise a worker may be put back just before a request begins to wait: it would
    wait for ever."""
    idle = fresh.IdleWorkers()
    is_locked = []

    class Watched(deque):
        def append(self, item):
            is_locked.append(idle.lock.locked())
            super().append(item)

        def popleft(self):
            is_locked.append(idle.lock.locked())
            return super().popleft()

    idle.workers = Watched()
    idle.waiting = Watched()
    with ThreadPoolExecutor(1) as threads:
        request = threads.submit(idle.take)
        wait_until(lambda: idle.waiting)
        idle.give_back("handed over")
        assert request.result(20) == "handed over"
    idle.give_back("kept")
    assert idle.take() == "kept"
    assert is_locked == [True] * 4


def test_one_request_starts_the_workers_while_others_wait(fresh, monkeypatch):
    is_locked = []
    start_lock = fresh.start_lock
    monkeypatch.setattr(fresh, "WORKER_ENVIRONMENT", {})
    monkeypatch.setattr(
        fresh, "start_in_background", lambda _: is_locked.append(start_lock.locked())
    )
    fresh.start_workers()
    fresh.start_workers()
    assert is_locked == [True] * WORKERS


def raising(error):
    """A function that raises this error."""

    def fail():
        raise error

    return fail


def not_starting(error):
    """What takes the place of Process or Thread: its start() raises this error."""
    return lambda **_: SimpleNamespace(start=raising(error))


@pytest.mark.parametrize(
    ("name", "fake"),
    [
        ("SPAWN.Pipe", raising(OSError("too many open files"))),
        ("SPAWN.Process", not_starting(OSError("too many open files"))),
        # Any other exception.
        ("SPAWN.Process", not_starting(AttributeError("poll"))),
        # The process calls bool(pipe), and ends without saying "ready".
        ("run_worker", bool),
        ("threading.Thread", not_starting(RuntimeError("can't start new thread"))),
    ],
)
def test_a_worker_that_cannot_start_is_not_lost(name, fake, fresh, monkeypatch, caplog):
    """For example because the server has too many open files. The log says why."""
    worker = fresh.Worker()
    with monkeypatch.context() as patch:
        patch.setattr(f"08_inference.{name}", fake)
        fresh.start_in_background(worker)
        wait_until(lambda: fresh.idle_workers.workers)
    if name != "threading.Thread":
        assert "a worker did not start: " in caplog.text
    status, answer = worker.ask(BERRIES, "strawberry", False)
    assert (status, len(answer["detections"])) == ("ok", 3)
    worker.stop()


def test_a_worker_that_ends_at_its_start_as_on_windows(fresh, monkeypatch, posix):
    """There the server still holds a copy of the worker's end of the pipe, so the pipe
    does not say that the worker has ended. The start must fail, not wait for ever."""
    make_pipe = fresh.SPAWN.Pipe
    copies = []

    def pipe_with_a_copy():
        pipe, pipe_of_worker = make_pipe()
        copies.append(os.dup(pipe_of_worker.fileno()))
        return pipe, pipe_of_worker

    monkeypatch.setattr(fresh.SPAWN, "Pipe", pipe_with_a_copy)
    # The process calls bool(pipe), and ends.
    monkeypatch.setattr(fresh, "run_worker", bool)
    worker = fresh.Worker()
    fresh.start_in_background(worker)
    try:
        wait_until(lambda: fresh.idle_workers.workers)
    finally:
        os.close(copies[0])
    assert worker.process is None


def test_the_server_waits_for_a_worker_that_is_starting(fresh, monkeypatch):
    """Also where a request, in a daemon thread, has begun the start."""
    seen = []
    monkeypatch.setattr(
        fresh, "start_worker", lambda _: seen.append(threading.current_thread().daemon)
    )
    thread = threading.Thread(
        target=fresh.start_in_background, args=(fresh.Worker(),), daemon=True
    )
    thread.start()
    wait_until(lambda: seen)
    assert seen == [False]


def test_no_worker_starts_when_the_server_is_ending(fresh, monkeypatch):
    """Its process could not import the lesson any more, and would print a traceback."""
    ended = SimpleNamespace(is_alive=lambda: False)
    monkeypatch.setattr(threading, "main_thread", lambda: ended)
    monkeypatch.setattr(fresh, "ignore_ctrl_c_while_starting", lambda: None)
    started = []
    fresh.start_worker(SimpleNamespace(start=lambda: started.append("started")))
    assert started == []


def test_processes_start_and_end_one_at_a_time(fresh, monkeypatch):
    """start() also asks which processes have ended: it must not be told of one that
    stop() waits for."""
    busy = []

    class FakeProcess:
        def __init__(self, target, args, daemon):
            self.pipe = args[0]
            # What start() waits for, too. It is ready once its other end is gone.
            self.sentinel = fresh.SPAWN.Pipe()[0]

        def work(self):
            busy.append(self)
            time.sleep(0.01)
            assert busy == [self]
            busy.remove(self)

        def start(self):
            self.pipe.send("ready")
            self.work()

        kill = join = work

    def start_and_stop(_):
        worker = fresh.Worker()
        for _ in range(5):
            worker.start()
            worker.stop()

    monkeypatch.setattr(fresh.SPAWN, "Process", FakeProcess)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(start_and_stop, range(8)))


def test_a_new_worker_that_takes_no_picture_is_ended(worker, monkeypatch):
    """Otherwise its answer to this task would come for the next one."""
    monkeypatch.setattr(worker, "send_task", lambda task: False)
    with pytest.raises(RuntimeError, match="does not take a picture"):
        worker.ask(BERRIES, "strawberry", False)
    assert worker.process is None


def test_a_mistake_of_a_model_is_a_bug_after_an_error_of_a_decoder(module, monkeypatch):
    """OpenCV keeps the number of its last exception: error.code would still be that of
    the decoder."""

    def find_nothing(img):
        raise cv2.error("a mistake of the model")

    monkeypatch.setitem(module.MODELS, "wrong", find_nothing)
    # This process has OpenCV's own limit: a thousand million pixels.
    too_large = png_head(40_000, 40_000) + png_chunk(b"IDAT", b"") + PNG_END
    answer = module.answer_of_worker(too_large, "wrong", False)
    assert answer == ("bad picture", TOO_MANY_PIXELS)
    status, text = module.answer_of_worker(BERRIES, "wrong", False)
    assert status == "bug"
    assert text.endswith("a mistake of the model\n")


def test_a_model_can_refuse_a_picture(module, monkeypatch):
    def find_light(img):
        raise module.BadPicture("is too dark")

    monkeypatch.setitem(module.MODELS, "light", find_light)
    answer = module.answer_of_worker(BERRIES, "light", False)
    assert answer == ("bad picture", "is too dark")


def test_no_worker_survives_the_server(server):
    """Neither the one that looks at a picture nor those that wait."""
    workers = ready_workers_of(server)
    children = psutil.Process(server.process.pid).children(recursive=True)
    with ThreadPoolExecutor(1) as client:
        response = client.submit(upload, server, ("x", SLOW))
        first_to_compute(workers)
        server.process.kill()
        wait_until(lambda: not any(is_alive(process) for process in children))
        assert isinstance(response.exception(), OSError)


@pytest.mark.parametrize("seconds", [0, 0.1, 0.2, 0.4, 0.8])
def test_ctrl_c_while_workers_start_ends_everything_quietly(tmp_path, posix, seconds):
    """Ctrl+C reaches the server and its workers: a group of processes."""
    with lesson("08_inference", tmp_path, new_group=True) as server:
        # Werkzeug catches Ctrl+C once it can answer, not while it gets ready.
        requests.get(server.url, timeout=20)
        time.sleep(seconds)
        processes = psutil.Process(server.process.pid).children(recursive=True)
        # At first there may be none.
        assert processes or seconds < 0.4
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(20) == 0
    wait_until(lambda: not any(is_alive(process) for process in processes))
    # Nothing else of the server's group is left, either, such as a worker that was
    # started after Ctrl+C.
    wait_until(lambda: group_of(server.process.pid) == [])
    assert "Traceback" not in server.log


def test_ctrl_c_while_workers_compute_ends_everything_quietly(tmp_path, posix):
    """No request says that its picture has crashed a worker."""
    with lesson("08_inference", tmp_path, new_group=True) as server:
        workers = ready_workers_of(server)
        with ThreadPoolExecutor(8) as clients:
            answers = [clients.submit(upload, server, ("x", SLOW)) for _ in range(8)]
            first_to_compute(workers)
            os.killpg(server.process.pid, signal.SIGINT)
            assert server.process.wait(20) == 0
            assert all(isinstance(answer.exception(), OSError) for answer in answers)
    assert "Traceback" not in server.log
    assert "Error" not in server.log


def test_workers_are_replaced_where_sigchld_is_ignored(tmp_path, posix):
    """A program that ignores SIGCHLD hands this on to the lesson that it starts. Then
    join() does not learn that a worker has ended."""
    ignore = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    ignore += "os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", ignore, *LESSON_8]
    with serve(command, port_of("08_inference"), tmp_path) as server:
        for _ in range(WORKERS):
            response = upload(server, ("x", SLOW))
            check_refused(response, 400, f"img_file: 'x' {TOO_SLOW}")
        check_all_are_answered(server)


def group_of(leader):
    """The processes of a group that are alive."""
    members = []
    for process in psutil.process_iter():
        with suppress(ProcessLookupError, PermissionError):
            if os.getpgid(process.pid) == leader and is_alive(process):
                members.append(process)
    return members


@pytest.mark.parametrize(
    "code, line",
    [
        ("", " WARNING in 08_inference: logged by the model"),
        # It makes a handler, which has the stderr of before.
        ("logging.basicConfig()", "\nWARNING:__mp_main__:logged by the model"),
    ],
    ids=["Flask's handler", "basicConfig"],
)
def test_a_mistake_in_a_model_is_a_500_with_its_traceback_in_the_log(
    code, line, tmp_path
):
    """A model of the reader's own raises: the workers live on, and the log says why. It
    also shows what the model prints and logs."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    file = tmp_path / "08_inference.py"
    shutil.copyfile(ROOT / "08_inference.py", file)
    old = "\nMODELS = {\n"
    new = f"""
{code}

def find_none(img):
    print("printed by the model")
    app.logger.warning("logged by the model")
    print("to stderr \\udc80", file=sys.stderr)
    return img.no_such_name

{old}    "none": find_none,
"""
    change(file, old, new)
    command = [sys.executable, "08_inference.py"]
    with serve(command, port_of("08_inference"), tmp_path) as server:
        result_of(server, BERRIES)
        before = ready_workers_of(server)
        for _ in range(3):
            response = upload(server, ("x", BERRIES), model_type="none")
            assert (response.status_code, list(response.json())) == (500, ["error"])
        assert "return img.no_such_name" in server.log
        assert "AttributeError" in server.log
        assert server.log.count("\nprinted by the model\n") == 3
        # A text that cannot be written as UTF-8 is no reason to lose it.
        assert server.log.count("\nto stderr \\udc80\n") == 3
        assert server.log.count(f"{line}\n") == 3
        assert workers_of(server) == before
