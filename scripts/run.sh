#!/bin/sh
# Plays the lessons: sh scripts/run.sh --help says how.
# The first run makes .venv, and installs there what requirements.txt names: OpenCV and
# NumPy only when lesson 8 is asked for.
set -u
export PYTHONUTF8=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P) || exit 1
venv=$here/.venv

stop() {
    echo "run.sh: $*" >&2
    exit 1
}

# --- Python, and which lessons are asked for.

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}
python=''
for name in python3 python python3.15 python3.14 python3.13 python3.12 python3.11 py; do
    if is_new_enough "$name"; then
        python=$name
        break
    fi
done
[ -n "$python" ] ||
    stop "Python 3.11 or newer is missing. Install it, then run this again."
# Where .venv is activated, take the Python that it was made from: below, .venv may be
# removed and made anew. (Windows writes the path with "\", and print() without end=""
# would add the line end of Windows.)
case $(command -v "$python") in
*[\\/].venv[\\/]*)
    python=$("$python" -c 'import sys; print(sys._base_executable, end="")')
    ;;
esac
case " $* " in
*' --help '* | *' -h '*) exec "$python" "$here/scripts/play.py" --help ;;
' setup ') lessons='all, with 08_inference' ;;
*) lessons=$("$python" "$here/scripts/play.py" --lessons "$@") || exit ;;
esac
command -v curl >/dev/null ||
    stop "curl is missing. Debian, Ubuntu: apt install curl. Then run this again."

# --- Set-up: once, and again when requirements.txt or Python changes or the folder moves.

# made-by-run.sh says that this script has made .venv. While it sets .venv up, the file
# holds its process number: so another run.sh, in another terminal, leaves .venv alone.
owner() {
    cat "$venv/made-by-run.sh" 2>/dev/null
}

leave_it_to_another() {
    other=$(owner)
    # kill -0: is there such a process?
    if [ -n "$other" ] && kill -0 "$other" 2>/dev/null; then
        stop "another run.sh is setting up .venv. When it is done, run this again." \
            "(If there is none, remove .venv first.)"
    fi
}

# A .venv of this script that is not ready (Ctrl+C, no network) is removed. Yours is kept.
remove_half_made_venv() {
    # A second Ctrl+C does not stop the removal.
    trap '' HUP INT QUIT TERM
    if [ "$(owner)" = $$ ] && [ ! -f "$venv/ready" ]; then
        rm -rf "$venv"
    fi
}
trap remove_half_made_venv EXIT
# After a signal, too, the script must end with exit: then the line above is obeyed.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 131' QUIT
trap 'exit 143' TERM

print_version='import sys; print("%d.%d" % sys.version_info[:2])'

# Set $bin, where .venv has its programs, and $wanted, what a finished set-up writes into
# .venv: the folder, the version of Python, and the checksum of the requirements.
look_at_venv() {
    bin=$venv/bin
    [ ! -d "$venv/Scripts" ] || bin=$venv/Scripts # Windows
    version=$("$bin/python" -c "$print_version" 2>/dev/null)
    wanted="$here $version $(cksum <"$here/requirements.txt")"
}

is_ready() {
    [ -x "$bin/python" ] && [ "$(cat "$venv/$1" 2>/dev/null)" = "$wanted" ]
}

# Only what is built already: to build OpenCV takes an hour and a compiler.
install() {
    "$bin/python" -m pip install --retries 2 \
        --only-binary numpy,opencv-python,opencv-python-headless "$@"
}

# The lines of requirements.txt without its comments.
requirements() {
    sed 's/ *#.*//' "$here/requirements.txt"
}

# Install OpenCV. Where it lacks a library, take the one without windows in its place.
add_opencv() {
    # Unquoted: an argument for each line.
    # shellcheck disable=SC2046
    install $(requirements | grep -e opencv -e numpy) || return
    if why=$("$bin/python" -c 'import cv2' 2>&1); then
        return 0
    fi
    why=$(echo "$why" | tail -n 1)
    case $why in
    'ImportError: lib'*.so*) ;;
    *)
        echo "$why" >&2
        return 1
        ;;
    esac
    echo "OpenCV needs a library that is missing here ($why)."
    echo "Taking opencv-python-headless, the same without windows."
    # Remove both: they have the same files. The second --quiet hides the warning about
    # one that is not there.
    "$bin/python" -m pip uninstall --quiet --quiet --yes \
        opencv-python opencv-python-headless || return
    install "$(requirements | sed -n 's/^opencv-python/&-headless/p')" || return
    "$bin/python" -c 'import cv2'
}

look_at_venv
leave_it_to_another
if ! is_ready ready; then
    echo "Setting up .venv: this once, less than a minute."
    if [ ! -e "$venv" ] || [ -f "$venv/made-by-run.sh" ]; then
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            package=python$("$python" -c "$print_version")-venv
            stop "venv is missing. Debian, Ubuntu: apt install $package. Then run this again."
        fi
        # Another one may have begun since.
        leave_it_to_another
        rm -rf "$venv"
        mkdir "$venv" || exit 1
        echo $$ >"$venv/made-by-run.sh" || exit 1
        "$python" -m venv "$venv" || stop "could not make .venv, see above."
        look_at_venv
    elif ! "$bin/python" -m pip --version >/dev/null 2>&1; then
        # "uv venv" makes such a .venv.
        stop "your .venv has no pip, or is of another system (Windows, WSL)." \
            "Remove .venv, and run this again."
    elif ! is_new_enough "$bin/python"; then
        stop "your .venv has a Python older than 3.11. Remove .venv, and run this again."
    fi
    # Lessons 1 to 7 need neither OpenCV nor NumPy. Unquoted, as above.
    # shellcheck disable=SC2046
    install $(requirements | grep -v -e opencv -e numpy) ||
        stop "could not install the packages, see above. No network? Run this again."
    "$bin/http" --version >/dev/null 2>&1 ||
        stop "the commands in .venv do not start. Did the folder move?" \
            "Remove .venv, and run this again."
    echo "$wanted" >"$venv/ready"
fi
case $lessons in *08_inference*)
    if ! is_ready ready-for-8; then
        echo "Adding OpenCV for lesson 8: this once, about 100 MB."
        # Until this is over, .venv is not ready.
        [ ! -f "$venv/made-by-run.sh" ] || echo $$ >"$venv/made-by-run.sh"
        rm -f "$venv/ready"
        if add_opencv; then
            echo "$wanted" >"$venv/ready-for-8"
        else
            echo "run.sh: no OpenCV, see above. No network? Run this again." >&2
            echo "No matching distribution? There is none for this system (macOS before" \
                "13, with Intel before 14; Alpine; Python for ARM on Windows)." >&2
            echo "Lessons 1 to 7 run without it, lesson 8 does not." >&2
        fi
        echo "$wanted" >"$venv/ready"
    fi
    ;;
esac

# --- Go.

# The set-up is over: another run.sh may begin one.
if [ "$(owner)" = $$ ]; then
    : >"$venv/made-by-run.sh"
fi
if [ "$*" = setup ]; then
    is_ready ready-for-8
    exit
fi
exec "$bin/python" "$here/scripts/play.py" "$@"
