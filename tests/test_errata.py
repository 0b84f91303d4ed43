"""What the notes get wrong: every row of the README's table, run.

For each row the form of the notes, in its smallest shape, still goes wrong as the
row says, and the lesson works. An old form that starts to work fails its test, so
the table cannot go stale; a row without a test fails, too.
"""

import ast
import json
import logging
import os
import re
import shutil
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from http.client import HTTPConnection
from io import BytesIO, StringIO

import cv2
import numpy as np
import psutil
import pytest
from collection import (
    ENVIRONMENT,
    LESSONS,
    NAMES,
    PICTURES,
    ROOT,
    imported,
    port_of,
    serve,
)
from collection import lesson as start_lesson
from flask import Flask, jsonify, request
from test_readme import (
    ERRATA,
    HEADINGS,
    README,
    code_in,
    links_in,
    notes_section,
    table,
)
from werkzeug.serving import run_simple

MARKS = {"**STOPS**", "*unsafe*", "misleads"}
PROVEN = {}
NOT_RUN = {32: "a sentence about the direction of a request, no code to run"}


def erratum(number):
    """Ties a test to the row of the table that it proves."""

    def remember(test):
        PROVEN.setdefault(number, []).append(test.__name__)
        return test

    return remember


def rows():
    """The table: number -> its cells, in the order of the README."""
    cells = table(README, ERRATA)
    return {int(row[0]): row[1:] for row in cells}


def error_of(number):
    """The error that the row promises, such as "NameError: name ..."."""
    return next(code for code in code_in(rows()[number][3]) if "Error" in code)


# --- The table and the tests belong together.


def test_every_row_is_proven_or_says_why_not():
    assert len(table(README, ERRATA)) == len(rows()), "a number is there twice"
    assert sorted(rows()) == list(range(1, 34))
    assert set(PROVEN) | set(NOT_RUN) == set(rows())
    assert not set(PROVEN) & set(NOT_RUN)
    assert all(NOT_RUN.values())


def test_every_row_is_whole_and_in_the_order_of_the_notes():
    order = list(HEADINGS)
    at = 0
    for number, row in rows().items():
        assert len(row) == 5 and all(row), number
        assert row[0] in MARKS, number
        named = [name for name in row[1].split(", ") if name != "…"]
        assert set(named) <= set(order), number
        assert order.index(named[0]) >= at, f"row {number} comes too late"
        at = order.index(named[0])


def test_every_stop_with_an_error_names_it():
    """Rows that stop the code give the exact error, or what happens in its place."""
    stops = {number for number, row in rows().items() if row[0] == "**STOPS**"}
    silent = {21, 23, 27}  # these stop in the shell, not with an exception
    assert stops - silent == {
        number
        for number in stops
        if any("Error" in code for code in code_in(rows()[number][3]))
    }


@pytest.mark.parametrize("number", range(1, 34))
def test_the_lesson_says_so_where_the_row_points(number):
    links = links_in(rows()[number][4])
    assert links
    for link in links:
        text = (ROOT / link).read_text(encoding="utf-8")
        assert re.search(rf"\b[Ee]rratum {number}\b", text), link


@pytest.mark.parametrize("number", range(1, 34))
def test_the_notes_have_it(number):
    """What the row quotes stands under the headings that it names."""
    named = [name for name in rows()[number][1].split(", ") if name != "…"]
    text = " ".join(notes_section(name) for name in named)
    codes = code_in(rows()[number][2])
    assert codes
    for code in codes:
        assert code in text, f"{code} is not under {named}"


def test_no_lesson_names_a_row_that_is_not_there():
    for file in [*LESSONS, *ROOT.glob("scripts/*.sh")]:
        text = file.read_text(encoding="utf-8")
        for number in re.findall(r"\b[Ee]rratum (\d+)", text):
            assert int(number) in rows(), file.name


# --- Ways to run the two forms.


def run_python(code, folder):
    """`code` as a program of its own: the finished process."""
    (folder / "notes.py").write_text(code, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "notes.py"],
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_stops(number, code, folder):
    """The program ends with the very error that the row promises."""
    done = run_python(code, folder)
    assert done.returncode == 1, done
    assert done.stderr.splitlines()[-1].startswith(error_of(number)), done.stderr


def assert_raises(number, call, *args):
    """The call raises the very error that the row promises."""
    with pytest.raises(Exception) as info:
        call(*args)
    assert f"{info.type.__name__}: {info.value}".startswith(error_of(number))
    return info.value


def run_settings(name):
    """What the lesson passes to app.run()."""
    tree = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "app.run":
            return {word.arg: ast.literal_eval(word.value) for word in node.keywords}


def listening(server):
    """The addresses at which a started server waits."""
    found = psutil.Process(server.process.pid).net_connections()
    return {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN}


def shell(command, **options):
    """What the command prints when sh runs it."""
    options = {"stdin": subprocess.DEVNULL} | options
    done = subprocess.run(
        ["sh", "-c", command],
        env=ENVIRONMENT,
        capture_output=True,
        timeout=60,
        **options,
    )
    return (done.stdout + done.stderr).decode()


def client_of(name):
    return imported(name).app.test_client()


@pytest.fixture
def logging_lesson(tmp_path, monkeypatch):
    """Lesson 5's app, with its log in an empty folder."""
    monkeypatch.chdir(tmp_path)
    app = imported("05_logger").app
    yield app
    for handler in list(app.logger.handlers):
        if isinstance(handler, logging.FileHandler):
            app.logger.removeHandler(handler)
            handler.close()


@pytest.fixture(scope="module")
def pictures_lesson():
    """A client of lesson 8."""
    return client_of("08_inference")


def upload(client, *files, url="/inference", **fields):
    """Sends (bytes, name) files as img_file, with a model that needs no network."""
    data = {"model_type": "qrcode"} | fields
    data["img_file"] = [(BytesIO(content), name) for content, name in files]
    return client.post(url, data=data)


def png():
    return (PICTURES / "qrcode.png").read_bytes()


def huge_png():
    """A PNG of a few bytes that claims more pixels than OpenCV ever accepts."""

    def chunk(kind, data):
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


# --- app, route, argument.


class Headings(HTMLParser):
    """Counts the <h1> tags that open and close."""

    def __init__(self, text):
        super().__init__()
        self.opened = self.closed = 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.opened += tag == "h1"

    def handle_endtag(self, tag):
        self.closed += tag == "h1"


@erratum(1)
def test_heading_never_ends():
    notes = Headings("<h1>Hello World!<h1>")
    assert (notes.opened, notes.closed) == (2, 0)
    ours = Headings(client_of("01_hello").get("/hello").text)
    assert (ours.opened, ours.closed) == (1, 1)


@erratum(2)
def test_misspelt_name(tmp_path):
    assert_stops(2, 'if __nmame__ == "__main__":\n    print("started")\n', tmp_path)
    with start_lesson("01_hello", tmp_path) as server:
        assert "Running on" in server.log


@erratum(3)
def test_two_views_of_one_name():
    app = Flask("notes")

    def add(path):
        @app.route(path)
        def get_username():
            return path

    add("/one")
    assert_raises(3, add, "/two")
    lesson = client_of("02_route_args")
    assert lesson.get("/test/foo").headers["X-View"] == "get_username"
    assert lesson.get("/test/42").headers["X-View"] == "get_number"


@erratum(4)
def test_path_comes_back_as_html():
    app = Flask("notes")

    @app.route("/test/<username>")
    def test(username):
        return f"test: {username}"

    attack = "<img src=x onerror=alert(1)>"
    assert attack in rows()[4][3]
    answer = app.test_client().get(f"/test/{attack}")
    assert (answer.mimetype, answer.text) == ("text/html", f"test: {attack}")
    answer = client_of("02_route_args").get(f"/test/{attack}")
    assert answer.text == "test: &lt;img src=x onerror=alert(1)&gt;"


@erratum(5)
def test_int_takes_digits_alone():
    app = Flask("notes")

    @app.route("/test/<int:number>")
    def test(number):
        return f"{number}"

    notes, lesson = app.test_client(), client_of("02_route_args")
    for text in ("-1", "1.5", "abc"):
        assert text in rows()[5][3]
        assert notes.get(f"/test/{text}").status_code == 404
        answer = lesson.get(f"/test/{text}")
        assert answer.status_code == 200
        assert answer.headers["X-View"] == "get_username"
    assert notes.get("/test/007").text == "7"
    assert lesson.get("/test/007").text == "test: 7"


@erratum(6)
def test_every_machine_is_served(tmp_path):
    port = port_of("01_hello")
    program = f"""
from flask import Flask
Flask("notes").run(host="0.0.0.0", port={port})
"""
    with serve([sys.executable, "-c", program], port, tmp_path) as server:
        assert listening(server) == {"0.0.0.0"}
    with start_lesson("01_hello", tmp_path) as server:
        assert listening(server) == {"127.0.0.1"}
    for name in NAMES:
        assert run_settings(name)["host"] == "127.0.0.1", name


@erratum(7)
def test_port_as_text(monkeypatch):
    app = Flask("notes")
    seen = []
    monkeypatch.setattr(
        "werkzeug.serving.run_simple",
        lambda host, port, *args, **more: seen.append(port),
    )
    app.run(port="8080")
    assert seen == [8080]
    assert_raises(7, run_simple, "127.0.0.1", "8080", app)
    for name in NAMES:
        assert run_settings(name)["port"] == port_of(name)


# --- The hooks.


@erratum(11)
def test_before_first_request_is_gone():
    assert_raises(11, getattr, Flask("notes"), "before_first_request")
    lesson = imported("04_hooks").app

    def order(_):
        return lesson.test_client().get("/open").headers["X-Order"]

    with ThreadPoolExecutor(8) as crowd:
        orders = list(crowd.map(order, range(40)))
    assert sum("before_first_request" in order for order in orders) == 1


@erratum(12)
def test_false_is_no_flask(tmp_path):
    assert_stops(12, "app = False(__name__)\n", tmp_path)
    assert isinstance(imported("04_hooks").app, Flask)


@erratum(13)
def test_after_request_must_take_and_return_the_response():
    def app_with(after):
        app = Flask("notes")
        app.after_request(after)
        app.add_url_rule("/", view_func=lambda: "view")
        return app

    def takes_nothing():
        print("done")

    def returns_nothing(response):
        print("done")

    notes = app_with(takes_nothing)
    assert notes.test_client().get("/").status_code == 500
    assert notes.test_client().get("/nowhere").status_code == 500
    notes.testing = True
    assert_raises(13, notes.test_client().get, "/")
    assert_raises(13, app_with(returns_nothing).test_client().get, "/")
    answer = client_of("04_hooks").get("/open")
    assert answer.status_code == 200
    assert answer.headers["X-Order"].endswith("view, after_request")


@erratum(14)
def test_before_request_can_answer():
    app = Flask("notes")
    app.before_request(lambda: "hook")
    app.add_url_rule("/", view_func=lambda: "view")
    assert app.test_client().get("/").text == "hook"
    lesson = client_of("04_hooks")
    assert lesson.get("/open").text == "open\n"
    answer = lesson.get("/closed")
    assert (answer.status_code, answer.text) == (503, "closed\n")
    assert "view" not in answer.headers["X-Order"]


# --- run.


@erratum(8)
def test_ports_of_http_and_https():
    """A URL leaves out the port that its scheme implies; so does Flask."""
    app = Flask("notes")

    def host(url):
        with app.test_request_context(base_url=url):
            return request.host

    assert host("http://example.com:80") == host("https://example.com:443")
    assert host("http://example.com:443") == "example.com:443"
    assert host("https://example.com:80") == "example.com:80"
    text = (ROOT / "01_hello.py").read_text(encoding="utf-8")
    assert "80 for http, 443 for https" in text


@erratum(9)
def test_host_is_an_interface(tmp_path):
    # 192.0.2.1 is for examples: no computer has it.
    program = 'from flask import Flask\nFlask("notes").run(host="192.0.2.1")\n'
    done = run_python(program, tmp_path)
    assert done.returncode == 1
    assert "assign requested address" in done.stderr
    # The lesson listens at 127.0.0.1 and answers whatever name it is called by.
    answer = client_of("01_hello").get("/hello", base_url="http://www.example.com")
    assert answer.status_code == 200


@erratum(10)
def test_debug_shows_the_source(tmp_path):
    port = port_of("01_hello")
    program = f"""
from flask import Flask

app = Flask("notes")

@app.route("/")
def view():
    password = "a secret in the source"
    return {{}}[password]

@app.errorhandler(500)
def ours(error):
    return "our page", 500

app.run(port={port}, debug=True, use_reloader=False)
"""

    def get(path, host):
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    (tmp_path / "notes.py").write_text(program, encoding="utf-8")
    with serve([sys.executable, "notes.py"], port, tmp_path):
        for host, console in [("192.0.2.1", "false"), ("localhost", "true")]:
            status, text = get("/", host)
            assert status == 500
            assert "a secret in the source" in text
            assert text != "our page"
            assert f"EVALEX = {console}" in text
            key = re.search(r'SECRET = "(\w+)"', text)[1]
            answer = get(f"/?__debugger__=yes&cmd=pinauth&pin=0&s={key}", host)
            assert answer[0] == (400 if console == "false" else 200)
        assert '"auth": false' in answer[1]  # a PIN is asked for
    for name in NAMES:
        assert run_settings(name)["debug"] is False, name
    assert client_of("03_errorhandler").get("/bug").text.startswith("<h1>500 Error")


# --- response_class, logger, jsonify.


@erratum(15)
def test_three_names_are_missing():
    code = "response_class(json.dumps(reslult), status, mimetype='application/json')"
    names = {"response_class": Flask.response_class}
    for missing, cure in [("json", json), ("reslult", {}), ("status", 200)]:
        assert f"`{missing}`" in rows()[15][3]
        error = assert_raises(15, eval, code, names)
        assert error.name == missing
        names[missing] = cure
    assert eval(code, names).status_code == 200
    answer = client_of("06_jsonify").get("/test/foo")
    assert answer.json == {"username": "foo", "foo": "foo", "bar": 10000}


@erratum(16)
def test_mimetype_is_no_route():
    assert "`test/json`" in rows()[16][3]
    notes = Flask.response_class("{}", mimetype="test/json")
    assert notes.headers["Content-Type"] == "test/json"
    assert not notes.is_json
    answer = client_of("06_jsonify").get("/test/foo")
    assert answer.is_json
    assert answer.headers["Content-Type"] == "application/json"


@erratum(17)
def test_flast_is_no_flask(tmp_path, logging_lesson):
    assert_stops(17, "from flask import Flast\n", tmp_path)
    assert isinstance(logging_lesson, Flask)


def app_that_logs(name, level):
    """An app whose log goes into a text, by a handler of this level."""
    app, text = Flask(name), StringIO()
    handler = logging.StreamHandler(text)
    handler.setLevel(level)
    app.logger.addHandler(handler)
    return app, text


@erratum(18)
def test_log_line_without_path_or_forged(logging_lesson, tmp_path):
    path = "/x%0a2026-01-01 ERROR all is lost"
    for raw in (False, True):
        app, text = app_that_logs(f"notes_18_{raw}", logging.WARNING)

        @app.errorhandler(404)
        def page_not_found(error, app=app, raw=raw):
            if raw:
                app.logger.error("404: %s", request.path)
            else:
                app.logger.error(error)
            return "", 404

        app.test_client().get(path)
        lines = text.getvalue().splitlines()
        if raw:
            assert lines == ["404: /x", "2026-01-01 ERROR all is lost"]
        else:
            assert len(lines) == 1 and "404 Not Found" in lines[0]
            assert "/x" not in lines[0] and "all is lost" not in lines[0]
    logging_lesson.test_client().get(path)
    lines = (tmp_path / "exam_log.log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(r"ERROR 404: '/x\n2026-01-01 ERROR all is lost'")


@erratum(19)
def test_info_stops_at_the_logger(logging_lesson, tmp_path):
    app, text = app_that_logs("notes_19", logging.INFO)
    app.logger.info("an info")
    app.logger.warning("a warning")
    assert text.getvalue() == "a warning\n"
    assert app.logger.getEffectiveLevel() == logging.WARNING
    app.logger.setLevel(logging.INFO)
    app.logger.info("an info")
    assert text.getvalue() == "a warning\nan info\n"
    logging_lesson.test_client().get("/levels")
    lines = (tmp_path / "exam_log.log").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "WARNING a warning",
        "ERROR an error",
    ]


@erratum(20)
def test_korean_json():
    app = Flask("notes")
    app.config["JSON_AS_ASCII"] = False  # ignored, without a word
    with app.app_context():
        assert jsonify("한").get_data(as_text=True) == '"\\ud55c"\n'
    assert r"`\ud55c`" in rows()[20][3]
    answer = client_of("06_jsonify").get("/dict")
    assert answer.text == '{"인사":"안녕하세요"}\n'


@erratum(21)
def test_httpie_reads_standard_input(tmp_path):
    """The notes' call waits for its standard input while the lesson's is answered."""
    with start_lesson("06_jsonify", tmp_path) as server:
        url = f"{server.url}/json_test"
        ours = ["http", "--ignore-stdin", "--pretty=none", "--body", "GET", url]
        with subprocess.Popen(
            ["http", "--body", "GET", url],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as notes:
            try:
                for count in (1, 2, 3):
                    read, write = os.pipe()  # open, and nothing comes
                    done = subprocess.run(
                        ours,
                        env=ENVIRONMENT,
                        stdin=read,
                        capture_output=True,
                        timeout=60,
                    )
                    os.close(read)
                    os.close(write)
                    assert done.stdout == b'{"one":1,"two":2,"tmp":10000}\n'
                    assert len(server.requests()) == count
                assert notes.poll() is None, "the notes' call did not wait"
                # Only the end of its standard input lets it go on.
                answer, _ = notes.communicate(timeout=60)
                assert b"10000" in answer
                assert len(server.requests()) == 4
            finally:
                notes.kill()
        # Without the word GET and with an empty standard input: a POST.
        shell(f"http --body {url}")
        assert server.requests()[-1] == ("POST", "/json_test", 405)
    # What stands in standard input is sent: here the rest of a loop's list.
    sent = shell(
        "http --offline --pretty=none GET 127.0.0.1", input=b"rest", stdin=None
    )
    assert sent.startswith("GET ") and sent.rstrip().endswith("rest")


# --- request: args, files, form.


@erratum(22)
def test_misspelt_answer():
    app = Flask("notes")
    app.add_url_rule("/login", view_func=lambda: {"auth": "seccess"})
    assert app.test_client().get("/login").json["auth"] != "success"
    answer = client_of("07_request_args").get("/login?user_name=foo")
    assert answer.json["auth"] == "success"


@erratum(23)
def test_shell_cuts_at_the_ampersand(tmp_path):
    with start_lesson("07_request_args", tmp_path) as server:
        url = f"{server.url}/login?user_name=foo&tmp_parameter=bar"
        http = "http --ignore-stdin --pretty=none --body GET"
        answer = shell(f"{http} {url}\nwait")
        assert json.loads(answer) == {"auth": "success", "tmp_parameter": None}
        answer = shell(f'{http} "{url}"')
        assert json.loads(answer) == {"auth": "success", "tmp_parameter": "bar"}
        asked = [path for _, path, _ in server.requests()]
    assert asked == ["/login?user_name=foo", "/login?user_name=foo&tmp_parameter=bar"]


@erratum(23)
@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_refuses_the_question_mark():
    done = subprocess.run(
        ["zsh", "-fc", "echo http://127.0.0.1/login?user_name=foo"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "no matches found" in done.stderr


@erratum(24)
def test_get_hides_mistakes():
    app = Flask("notes")

    @app.route("/get")
    def get():
        return f"{request.args.get('page', 1, type=int)}"

    @app.route("/item")
    def item():
        return request.args["user_name"]

    notes, lesson = app.test_client(), client_of("07_request_args")
    assert notes.get("/get?page=two").text == "1"
    assert notes.get("/item").status_code == 400
    assert lesson.get("/items?page=two").json["page"] == 1
    assert lesson.get("/login").json["auth"] == "failed"
    for url in ("/twice?number=two", "/twice"):
        answer = lesson.get(url)
        assert answer.status_code == 400
        assert answer.json["error"].startswith("number: ")


@erratum(25)
def test_a_file_is_no_list(pictures_lesson):
    app = Flask("notes")
    app.testing = True

    @app.post("/exam")
    def exam():
        files = request.files["img_file"]
        for file in files:
            files[file].read()

    def send():
        return upload(app.test_client(), (png(), "a.png"), url="/exam")

    assert_raises(25, send)
    answer = upload(pictures_lesson, (png(), "a.png"), (png(), "b.png"))
    assert [one["filename"] for one in answer.json["results"]] == ["a.png", "b.png"]


@erratum(26)
def test_fromstring_is_gone(pictures_lesson):
    assert_raises(26, np.fromstring, png(), np.int8)
    # As int8 a bright pixel would be a negative one.
    assert np.frombuffer(b"\xff", np.int8) == [-1]
    assert np.frombuffer(b"\xff", np.uint8) == [255]
    answer = upload(pictures_lesson, (png(), "a.png"))
    assert len(answer.json["results"][0]["detections"]) == 2


@erratum(27)
def test_d_does_not_upload(tmp_path):
    app = Flask("notes")
    app.add_url_rule(
        "/", methods=["POST"], view_func=lambda: request.files["img_file"].filename
    )
    answer = app.test_client().post("/", data={"img_file": "file_path"})
    assert answer.status_code == 400
    with start_lesson("08_inference", tmp_path) as server:
        fields = "-d model_type=qrcode -d img_file=file_path"
        answer = json.loads(shell(f"curl -s {server.url}/exam {fields}"))
        assert answer["form"]["img_file"] == "file_path"
        assert answer["files"] == {}
        shell(f"curl -s {server.url}/inference {fields}")
        file = f"-F model_type=qrcode -F 'img_file=@{PICTURES}/qrcode.png'"
        answer = json.loads(shell(f"curl -s {server.url}/inference {file}"))
        assert answer["results"][0]["filename"] == "qrcode.png"
        assert [status for _, _, status in server.requests()] == [200, 400, 200]


@erratum(28)
def test_imdecode_seldom_raises(pictures_lesson):
    def decode(data):
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

    bad = {"text": b"no picture", "cut": png()[:40], "empty": b"", "huge": huge_png()}
    assert decode(bad["text"]) is None
    assert decode(bad["cut"]) is None
    for name in ("empty", "huge"):
        with pytest.raises(cv2.error):
            decode(bad[name])
    for name, data in bad.items():
        answer = upload(pictures_lesson, (data, name))
        assert answer.status_code == 400
        assert f"'{name}'" in answer.json["error"]


@erratum(29)
def test_print_dumps_the_upload(pictures_lesson, capfd):
    data = b"no picture" * 1000
    print(data)
    assert len(capfd.readouterr().out) > len(data)
    answer = upload(pictures_lesson, (data, "a.png"))
    assert "'a.png'" in answer.json["error"]
    assert "no picture" not in answer.text + "".join(capfd.readouterr())


@erratum(30)
def test_tabs_and_missing_names(tmp_path):
    assert error_of(30) == "TabError"
    assert_stops(30, "def view():\n    images = []\n   \tfiles = []\n", tmp_path)
    for line in ("app.route", "np.frombuffer", "cv2.imdecode", "json.dumps"):
        with pytest.raises(NameError) as info:
            exec(f"from flask import Flask, request\n{line}", {})
        assert info.value.name == line.split(".")[0]
        assert f"`{info.value.name}`" in rows()[30][3]
    module = imported("08_inference")
    assert {"app", "np", "cv2"} <= set(vars(module))
    text = (ROOT / "08_inference.py").read_text(encoding="utf-8")
    assert "\t" not in text and "json" in text


@erratum(31)
def test_only_the_last_result_is_left(pictures_lesson):
    code = "for picture in ['a', 'b']:\n    result = picture\n"
    names = {}
    exec(code, names)
    assert names["result"] == "b"
    assert_raises(31, exec, f"{code}res['result']", {})
    answer = upload(pictures_lesson, (png(), "a"), (png(), "b"), (png(), "c"))
    assert [one["filename"] for one in answer.json["results"]] == ["a", "b", "c"]


@erratum(33)
def test_form_not_from(pictures_lesson):
    with pytest.raises(SyntaxError):
        compile("request.from", "notes", "eval")
    app = Flask("notes")
    context = app.test_request_context("/?a=1", method="POST", data={"b": "2"})
    with context:
        assert request.args.to_dict() == {"a": "1"}
        assert request.form.to_dict() == {"b": "2"}
        assert request.values.to_dict() == {"a": "1", "b": "2"}
    answer = upload(pictures_lesson, (png(), "a.png"), url="/exam?a=1", b="2").json
    assert answer["args"] == {"a": "1"}
    assert answer["form"] == {"model_type": "qrcode", "b": "2"}
    assert list(answer["files"]) == ["img_file"]
