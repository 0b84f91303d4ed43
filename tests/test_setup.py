"""The set-up by scripts/run.sh and test.sh: on poor machines, and what can go wrong.

No network is needed: the packages are small wheels made here.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress

import pytest
from collection import ENVIRONMENT, cksum, wait_until

# Skip the whole file.
if os.name == "nt":
    pytest.skip(
        "Windows has no links and no sh programs; run wsl sh scripts/test.sh",
        allow_module_level=True,
    )

NO_LIBRARY = "libxcb.so.1: cannot open shared object file: No such file or directory"
# In place of the real ones: a new lesson may need more packages.
REQUIREMENTS = """flask>=3.1,<4
numpy>=2.3,<3
opencv-python>=5.0,<6
httpie>=3.2,<4
"""
# In place of the player: says which lessons are asked for, and that it was called.
PLAYER = """import sys
if "--lessons" in sys.argv:
    print("08_inference" if "8" in sys.argv else "01_hello")
else:
    print("played by", sys.executable)
"""
# Such as 3.12.
VERSION = ".".join(map(str, sys.version_info[:2]))
# Programs in sh: the Python that runs the tests, and the same with a part missing.
PYTHON = f'exec "{sys.executable}" "$@"'
# Says that it is an older version, and then does what -c asks for.
OLD_PYTHON = f"""[ "$1" = -c ] || exit 1
exec "{sys.executable}" -c "import sys; sys.version_info = (3, 10, 9); $2"
"""
NO_ENSUREPIP = f'case "$*" in *ensurepip*) exit 1 ;; esac\n{PYTHON}'
NO_VENV = f'case "$*" in *"-m venv"*) exit 1 ;; esac\n{PYTHON}'
# As PYTHON, but "-m venv X" makes only X/bin/python and X/bin/http, two links to
# $PYTHON_INSIDE.
FAKE_VENV = f"""case "$*" in
*"-m venv"*)
    mkdir -p "$3/bin"
    ln -s "$PYTHON_INSIDE" "$3/bin/python"
    ln -s "$PYTHON_INSIDE" "$3/bin/http"
    ;;
*) {PYTHON} ;;
esac"""


@pytest.fixture
def folder(copy):
    (copy / "scripts" / "play.py").write_text(PLAYER)
    (copy / "requirements.txt").write_text(REQUIREMENTS)
    return copy


def program(file, code):
    """An executable sh script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{code}\n")
    file.chmod(0o755)
    return str(file)


def machine(folder, without="", **programs):
    """A PATH with what a small machine has, and these programs."""
    names = "cat cksum curl dirname grep ln ls mkdir rm sed sh sleep tail".split()
    (folder / "bin").mkdir()
    for name in names:
        if name != without:
            (folder / "bin" / name).symlink_to(shutil.which(name))
    for name, code in programs.items():
        program(folder / "bin" / name, code)
    return str(folder / "bin")


def start(folder, *arguments, script="run.sh", **env):
    return subprocess.Popen(
        ["sh", str(folder / "scripts" / script), *arguments],
        cwd="/",
        env=ENVIRONMENT | {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"} | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture
def begin():
    """start(), but what a failed test leaves behind is ended."""
    processes = []

    def begin(folder, *arguments, **env):
        processes.append(start(folder, *arguments, **env))
        return processes[-1]

    yield begin
    for process in processes:
        # Where all is well there is nothing left of it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run(folder, *arguments, script="run.sh", **env):
    """The script to its end: (status, standard output, standard error)."""
    process = start(folder, *arguments, script=script, **env)
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def wheel(folder, package, version, module, code="", command=""):
    """A package of one module, as pip installs it, and perhaps a command: it calls the
    module's main()."""
    info = f"{package}-{version}.dist-info"
    name = package.replace("_", "-")
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    about_wheel = ["Wheel-Version: 1.0", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    files = {
        f"{module}.py": code,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "\n".join(about_wheel) + "\n",
        f"{info}/RECORD": "",
    }
    if command:
        files[f"{info}/entry_points.txt"] = (
            f"[console_scripts]\n{command}={module}:main"
        )
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as file:
        for path, text in files.items():
            file.writestr(path, text)


def test_from_nothing_to_opencv_without_its_libraries(folder, tmp_path):
    """One learner's way: each step installs what is new, and nothing twice."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "flask", "3.1.3", "flask")
    code = "def main(): pass"
    wheel(wheels, "httpie", "3.2.4", "httpie", code, command="http")
    status, output, errors = run(folder, "1", PIP_FIND_LINKS=str(wheels))
    assert status == 0, errors
    # pip says what it does meanwhile.
    assert "\nInstalling collected packages: httpie, flask\n" in output
    assert output.splitlines()[-1] == f"played by {folder}/.venv/bin/python"
    assert "OpenCV" not in output
    again = run(folder, "1", PIP_FIND_LINKS="")
    assert again == (0, output.splitlines()[-1] + "\n", "")

    # No wheel of OpenCV for this machine. Its source would take an hour.
    wheel(wheels, "numpy", "2.3.0", "numpy")
    (wheels / "opencv_python-5.0.0.tar.gz").touch()
    status, output, errors = run(folder, "8", PIP_FIND_LINKS=str(wheels))
    assert (status, "played by" in output) == (0, True)
    assert "No matching distribution found for opencv-python" in errors
    assert "run.sh: no OpenCV, see above." in errors
    assert "Lessons 1 to 7 run without it, lesson 8 does not." in errors
    assert run(folder, "setup", PIP_FIND_LINKS=str(wheels))[0] == 1
    assert run(folder, "1", PIP_FIND_LINKS="") == again

    # A bare Debian: opencv-python is there and finds no libxcb.
    wheel(wheels, "opencv_python", "5.0.0", "cv2", f"raise ImportError({NO_LIBRARY!r})")
    wheel(wheels, "opencv_python_headless", "5.0.0", "cv2")
    status, output, errors = run(folder, "8", PIP_FIND_LINKS=str(wheels))
    assert (status, errors) == (0, "")
    assert f"a library that is missing here (ImportError: {NO_LIBRARY})." in output
    assert "Taking opencv-python-headless, the same without windows." in output
    assert "played by" in output
    assert run(folder, "8", PIP_FIND_LINKS="") == again
    assert run(folder, "setup", PIP_FIND_LINKS="") == (0, "", "")

    # Without this file .venv is the reader's own: it is kept when the requirements
    # change. The two packages have the same files: removing one breaks the other.
    (folder / ".venv" / "made-by-run.sh").unlink()
    with (folder / "requirements.txt").open("a") as file:
        file.write("# a new line\n")
    status, output, errors = run(folder, "8", PIP_FIND_LINKS=str(wheels))
    assert (status, errors) == (0, "")
    assert "played by" in output
    assert run(folder, "setup", PIP_FIND_LINKS="") == (0, "", "")


@pytest.mark.parametrize(
    "without, programs, message",
    [
        ("curl", {"python3": PYTHON}, "curl is missing. Debian, Ubuntu: apt install"),
        ("", {}, "Python 3.11 or newer is missing"),
        ("", {"python3": OLD_PYTHON}, "Python 3.11 or newer is missing"),
        (
            "",
            {"python3": NO_ENSUREPIP},
            # The package of this very Python: python3-venv may be that of another.
            f"venv is missing. Debian, Ubuntu: apt install python{VERSION}-venv. Then",
        ),
        ("", {"python3": NO_VENV}, "could not make .venv, see above"),
        (
            "",
            {"python3": FAKE_VENV},
            "could not install the packages, see above. No network? Run this again.",
        ),
    ],
    ids=["curl", "python", "old python", "ensurepip", "venv", "network"],
)
def test_what_is_missing_is_named(without, programs, message, folder, tmp_path):
    path = machine(tmp_path, without, **programs)
    inside = program(tmp_path / "inside", "exit 1")
    status, output, errors = run(folder, PATH=path, PYTHON_INSIDE=inside)
    assert (status, "played" in output) == (1, False)
    assert errors.startswith(f"run.sh: {message}")
    assert not (folder / ".venv").exists()


NO_GL = NO_LIBRARY.replace("libxcb", "libGL")
OTHER_ERROR = "numpy.core.multiarray failed to import"


@pytest.mark.parametrize(
    "opencv, headless, end",
    [
        (NO_GL, "", ""),
        (OTHER_ERROR, "", f"ImportError: {OTHER_ERROR}"),
        (NO_GL, OTHER_ERROR, f"ImportError: {OTHER_ERROR}"),
    ],
    ids=["no libGL", "another error", "headless"],
)
def test_opencv_that_does_not_import(opencv, headless, end, folder, tmp_path):
    """It is replaced only where a library is missing, and has to work then."""
    # This file says that the packages were exchanged.
    exchanged = tmp_path / "exchanged"
    code = f"""
case "$*" in
*uninstall*) : >"{exchanged}" ;;
*"import cv2"*)
    error="{opencv}"
    [ ! -f "{exchanged}" ] || error="{headless}"
    [ -n "$error" ] || exit 0
    echo "ImportError: $error" >&2
    exit 1
    ;;
esac"""
    inside = program(tmp_path / "inside", code)
    path = machine(tmp_path, python3=FAKE_VENV)
    status, _, errors = run(folder, "setup", PATH=path, PYTHON_INSIDE=inside)
    assert exchanged.exists() == (opencv == NO_GL)
    if end:
        assert status == 1
        assert errors.startswith(f"{end}\nrun.sh: no OpenCV, see above.")
    else:
        assert (status, errors) == (0, "")


def test_a_newer_python_beside_an_old_one(folder, tmp_path):
    path = machine(tmp_path, **{"python3": OLD_PYTHON, "python3.12": PYTHON})
    status, output, errors = run(folder, "3", "--help", PATH=path)
    assert (status, errors) == (0, "")
    assert output.startswith("played by")


# py: on Windows.
NAMES = ["python3", "python", *(f"python3.{minor}" for minor in range(11, 16)), "py"]


@pytest.mark.parametrize("name", NAMES)
def test_python_has_many_names(name, folder, tmp_path):
    path = machine(tmp_path, **{name: PYTHON})
    status, output, errors = run(folder, "-h", PATH=path)
    assert (status, errors) == (0, "")
    assert output.startswith("played by")


def test_a_link_to_the_folder_is_the_same_folder(folder, tmp_path):
    """Such as /tmp on a Mac, which is a link to /private/tmp."""
    link = tmp_path / "link"
    link.symlink_to(folder)
    inside = program(tmp_path / "inside", "echo 3.12")
    path = machine(tmp_path, python3=FAKE_VENV)
    assert run(folder, "1", PATH=path, PYTHON_INSIDE=inside)[0] == 0
    left_over = folder / ".venv" / "left-over"
    left_over.touch()
    assert run(link, "1", PATH=path, PYTHON_INSIDE=inside)[0] == 0
    assert left_over.exists()


def test_a_folder_that_moved_is_set_up_anew(folder, tmp_path):
    """Only the folder in .venv/ready is another one."""
    program(folder / ".venv" / "bin" / "python", "echo 3.12")
    sums = cksum((folder / "requirements.txt").read_bytes())
    for name in ("made-by-run.sh", "ready", "left-over"):
        (folder / ".venv" / name).write_text(f"/elsewhere 3.12 {sums}")
    inside = program(tmp_path / "inside", "exit 0")
    path = machine(tmp_path, python3=FAKE_VENV)
    assert run(folder, "1", PATH=path, PYTHON_INSIDE=inside)[0] == 0
    assert str(folder) in (folder / ".venv" / "ready").read_text()
    assert not (folder / ".venv" / "left-over").exists()


def test_after_a_change_of_python_all_is_set_up_anew(folder, tmp_path):
    path = machine(tmp_path, python3=FAKE_VENV)
    left_over = folder / ".venv" / "left-over"
    for version, is_kept in [("3.12", False), ("3.12", True), ("3.13", False)]:
        inside = program(tmp_path / "inside", f"echo {version}")
        assert run(folder, "1", PATH=path, PYTHON_INSIDE=inside)[0] == 0
        assert left_over.exists() == is_kept
        left_over.touch()


def test_an_activated_venv_is_made_anew_with_the_same_python(folder, tmp_path):
    """Its Python is the first in PATH, but is removed with it. The next is too old."""
    path = machine(tmp_path, python3=OLD_PYTHON)
    base = program(tmp_path / "base", FAKE_VENV)
    program(folder / ".venv" / "bin" / "python", "echo 3.12")
    answer = (
        f"""case "$*" in *_base_executable*) echo "{base}" ;; *) {PYTHON} ;; esac"""
    )
    program(folder / ".venv" / "bin" / "python3", answer)
    (folder / ".venv" / "made-by-run.sh").touch()
    inside = program(tmp_path / "inside", "exit 0")
    path = f"{folder}/.venv/bin:{path}"
    status, _, errors = run(folder, "1", PATH=path, PYTHON_INSIDE=inside)
    assert (status, errors) == (0, "")


# In the place of .venv/bin/python: each does only what run.sh asks of it.
LOGS_INSTALLS = 'case "$*" in *install*) echo "$@" >>"$LOG" ;; esac'
HAS_NO_PIP = "exit 1"
IS_TOO_OLD = '[ "$1" = -m ]'  # has pip, but fails the check of its version
HAS_NO_NETWORK = '[ "$1" = -c ] || [ "$3" = --version ]'  # fails only at pip install


def make_own_venv(folder, python, http="exit 0"):
    """A .venv that run.sh has not made, with these two programs."""
    program(folder / ".venv" / "bin" / "python", python)
    program(folder / ".venv" / "bin" / "http", http)


def test_a_venv_of_the_readers_own_gets_the_packages(folder):
    """Made by hand, as the README shows: nothing in it is removed."""
    log = folder / "log"
    make_own_venv(folder, LOGS_INSTALLS)
    own = folder / ".venv" / "own"
    own.write_text("the reader's")
    status, _, errors = run(folder, "setup", LOG=str(log))
    assert status == 0, errors
    assert_asked_for_all(log)
    # Again after a change of the requirements. The names in a comment are no packages.
    with (folder / "requirements.txt").open("a") as file:
        file.write("# numpy and opencv-python: for lesson 8\n")
    log.unlink()
    assert run(folder, "setup", LOG=str(log))[0] == 0
    assert_asked_for_all(log)
    assert own.read_text() == "the reader's"


@pytest.mark.parametrize(
    "python, http, message",
    [
        (
            HAS_NO_PIP,
            "exit 0",
            "your .venv has no pip, or is of another system (Windows, WSL). "
            "Remove .venv, and run this again.",
        ),
        (
            IS_TOO_OLD,
            "exit 0",
            "your .venv has a Python older than 3.11. "
            "Remove .venv, and run this again.",
        ),
        (
            HAS_NO_NETWORK,
            "exit 0",
            "could not install the packages, see above. No network? Run this again.",
        ),
        (
            # Its first line names a Python that is not there any more.
            "exit 0",
            "exit 127",
            "the commands in .venv do not start. Did the folder move? "
            "Remove .venv, and run this again.",
        ),
    ],
    ids=["no pip", "too old", "no network", "moved"],
)
def test_a_venv_of_the_readers_own_that_does_not_work(python, http, message, folder):
    """run.sh says why, and removes nothing."""
    own = folder / ".venv" / "own"
    make_own_venv(folder, python, http)
    own.write_text("the reader's")
    status, _, errors = run(folder, "setup")
    assert (status, errors) == (1, f"run.sh: {message}\n")
    assert (folder / ".venv" / "bin" / "python").exists()
    assert own.read_text() == "the reader's"
    assert not (folder / ".venv" / "ready").exists()


def test_a_venv_of_the_readers_own_needs_no_venv_module(folder, tmp_path):
    """It may come from uv or virtualenv, where Debian's python3-venv is missing."""
    make_own_venv(folder, "exit 0")
    path = machine(tmp_path, python3=NO_ENSUREPIP)
    status, _, errors = run(folder, "setup", PATH=path)
    assert (status, errors) == (0, "")


def assert_asked_for_all(log):
    small, opencv, *_ = log.read_text().splitlines()
    assert small.endswith(" flask>=3.1,<4 httpie>=3.2,<4")
    assert opencv.endswith(" numpy>=2.3,<3 opencv-python>=5.0,<6")


def waiting_in_pip(folder, package, wait):
    """A program for $PYTHON_INSIDE that waits, by this command, when pip installs this
    package; and the file that it makes before it does so."""
    pip = folder / "pip"
    install = f"""*-m*pip*"{package}"*) : >"{pip}"; exec {wait} ;;"""
    return program(folder / "inside", f'case "$*" in\n{install}\nesac'), pip


@pytest.mark.parametrize("name", ["SIGINT", "SIGHUP", "SIGTERM", "SIGQUIT"])
@pytest.mark.parametrize("number, package", [("1", "flask>"), ("8", "numpy>")])
def test_an_interrupt_leaves_nothing_half_made(
    name, number, package, folder, tmp_path, begin
):
    """A signal while pip downloads the small packages, or OpenCV."""
    inside, pip = waiting_in_pip(tmp_path, package, "sleep 60")
    path = machine(tmp_path, python3=FAKE_VENV)
    process = begin(folder, number, PATH=path, PYTHON_INSIDE=inside)
    wait_until(pip.exists, 30)
    signal_number = getattr(signal, name)
    # As a terminal does it: to all of them.
    os.killpg(process.pid, signal_number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + signal_number
    assert not (folder / ".venv").exists()


def test_a_second_interrupt_does_not_stop_the_removal(folder, tmp_path, begin):
    """As a reader does who presses Ctrl+C until she has her prompt."""
    inside, pip = waiting_in_pip(tmp_path, "flask>", "sleep 60")
    removing = tmp_path / "removing"
    # cat waits until something is written into this pipe.
    go_on = tmp_path / "go_on"
    os.mkfifo(go_on)
    slow_rm = f"""[ ! -f "{pip}" ] || {{ : >"{removing}"; cat "{go_on}"; }}
exec {shutil.which("rm")} "$@\""""
    path = machine(tmp_path, "rm", python3=FAKE_VENV, rm=slow_rm)
    process = begin(folder, "1", PATH=path, PYTHON_INSIDE=inside)
    wait_until(pip.exists, 30)
    os.killpg(process.pid, signal.SIGINT)
    wait_until(removing.exists, 30)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    # Not write_text(): it would wait for ever if nobody reads.
    pipe = os.open(go_on, os.O_RDWR)
    os.write(pipe, b"\n")
    os.close(pipe)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not (folder / ".venv").exists()


def test_run_sh_hands_its_words_on_as_they_are(ready):
    """The folder's name has a space."""
    photo = ready / "scripts" / "pictures" / "strawberries.jpg"
    answer = run(ready, "--lessons", "8", str(photo))
    assert answer == (0, "08_inference\n", "")


@pytest.mark.parametrize(
    "played_before, number, package", [([], "1", "flask>"), (["1"], "8", "numpy>")]
)
def test_two_at_once(played_before, number, package, folder, tmp_path, begin):
    """The second, in another terminal, leaves the .venv of the first alone."""
    # cat waits until something is written into this pipe.
    go_on = tmp_path / "go_on"
    os.mkfifo(go_on)
    inside, pip = waiting_in_pip(tmp_path, package, f'cat "{go_on}"')
    path = machine(tmp_path, python3=FAKE_VENV)
    for lesson in played_before:
        assert run(folder, lesson, PATH=path, PYTHON_INSIDE=inside)[0] == 0
    first = begin(folder, number, PATH=path, PYTHON_INSIDE=inside)
    wait_until(pip.exists, 30)
    (folder / ".venv" / "of-the-first").touch()
    status, output, errors = run(folder, "1", PATH=path, PYTHON_INSIDE=inside)
    assert (status, output) == (1, "")
    message = "run.sh: another run.sh is setting up .venv. When it is"
    assert errors.startswith(message)
    go_on.write_text("")
    assert first.communicate(timeout=30)[1] == ""
    assert first.returncode == 0
    assert (folder / ".venv" / "of-the-first").exists()
    # Now the second may run. The first is over, whoever has its number now.
    assert (folder / ".venv" / "made-by-run.sh").read_text() == ""
    assert run(folder, "1", PATH=path, PYTHON_INSIDE=inside)[0] == 0


def test_two_at_once_that_both_found_no_venv(folder, tmp_path, begin):
    """The first looks whether Python has venv. Meanwhile the second begins."""
    looking = tmp_path / "looking"
    go_on = tmp_path / "go_on"
    finish = tmp_path / "finish"
    for pipe in (go_on, finish):
        os.mkfifo(pipe)
    # mkdir fails for the second.
    looks = f'*ensurepip*) mkdir "{looking}" && exec cat "{go_on}"; exit 0 ;;\n'
    python = FAKE_VENV.replace('*"-m venv"*)', f'{looks}*"-m venv"*)', 1)
    inside, pip = waiting_in_pip(tmp_path, "flask>", f'cat "{finish}"')
    path = machine(tmp_path, python3=python)
    first = begin(folder, "1", PATH=path, PYTHON_INSIDE=inside)
    wait_until(looking.exists, 30)
    second = begin(folder, "1", PATH=path, PYTHON_INSIDE=inside)
    wait_until(pip.exists, 30)
    (folder / ".venv" / "of-the-second").touch()
    go_on.write_text("")
    _, errors = first.communicate(timeout=30)
    assert first.returncode == 1
    assert "run.sh: another run.sh is setting up .venv. When it is" in errors
    finish.write_text("")
    second.communicate(timeout=30)
    assert second.returncode == 0
    assert (folder / ".venv" / "of-the-second").exists()


def test_what_a_killed_set_up_has_left_is_made_anew(folder, tmp_path):
    """It could not remove .venv, which has the number of a process that is gone."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    left_over = folder / ".venv" / "made-by-run.sh"
    left_over.parent.mkdir()
    left_over.write_text(f"{gone.pid}\n")
    inside = program(tmp_path / "inside", "exit 0")
    path = machine(tmp_path, python3=FAKE_VENV)
    status, _, errors = run(folder, "1", PATH=path, PYTHON_INSIDE=inside)
    assert (status, errors) == (0, "")
    assert left_over.read_text() == ""


def test_wrong_words_install_nothing(copy):
    status, _, errors = run(copy, "99")
    assert status == 2
    assert "there is no lesson 99" in errors
    assert not (copy / ".venv").exists()


def test_test_sh_hands_its_arguments_to_pytest(ready):
    both = (ready / ".venv" / "ready").read_bytes()
    both += (ready / "requirements-test.txt").read_bytes()
    (ready / ".venv" / "test-ready").write_text(cksum(both))
    # Two arguments, one with a space: no such file.
    status, output, errors = run(ready, "-q", "no such file", script="test.sh")
    assert status == 4, output
    assert errors == "ERROR: file or directory not found: no such file\n\n"


def test_test_sh_installs_what_the_tests_need_once(folder):
    log = folder / "log"
    requirements = folder / "requirements-test.txt"
    make_own_venv(folder, 'echo "$@" >>"$LOG"')

    def commands():
        """What test.sh itself runs."""
        log.unlink(missing_ok=True)
        words = ("-k", "hello")
        status, _, errors = run(folder, *words, script="test.sh", LOG=str(log))
        assert (status, errors) == (0, "")
        lines = log.read_text().splitlines()
        return [
            line for line in lines if "requirements-test" in line or "pytest" in line
        ]

    install = "-m pip install --retries 2 -r requirements-test.txt"
    assert commands() == [install, "-m pytest -k hello"]
    assert commands() == ["-m pytest -k hello"]
    with requirements.open("a") as file:
        file.write("# a new line\n")
    assert commands() == [install, "-m pytest -k hello"]
    # run.sh sets up .venv again.
    with (folder / "requirements.txt").open("a") as file:
        file.write("# a new line\n")
    assert commands() == [install, "-m pytest -k hello"]
    # No network.
    with requirements.open("a") as file:
        file.write("# one more\n")
    make_own_venv(folder, 'case "$*" in *requirements-test*) exit 1 ;; esac')
    status, _, errors = run(folder, script="test.sh")
    assert status == 1
    assert (
        errors == "test.sh: could not install, see above. No network? Run this again.\n"
    )
