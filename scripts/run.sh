#!/bin/sh
# Starts a lesson as you would, plays its script, stops it again.
#   sh scripts/run.sh             all lessons, one after the other
#   sh scripts/run.sh 3           lesson 3
#   sh scripts/run.sh 8 my.jpg    lesson 8 with your own photograph
# The first run makes .venv and installs requirements.txt in it;
# "sh scripts/run.sh setup" does that alone.
set -u
unset FLASK_DEBUG FLASK_APP FLASK_RUN_HOST FLASK_RUN_PORT
export PYTHONUTF8=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
lesson_pid='' watch_pid='' log=''

stop() {
    echo "run.sh: $*" >&2
    exit 1
}

# Whatever happens, no server stays behind.
leave() {
    [ -z "$watch_pid" ] || kill "$watch_pid" 2>/dev/null
    [ -z "$lesson_pid" ] || kill "$lesson_pid" 2>/dev/null
    [ -z "$log" ] || rm -f "$log"
}
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

photo=${2:-}
[ -z "$photo" ] || [ -f "$photo" ] || stop "there is no file $photo"
case $photo in '' | /*) ;; *) photo=$PWD/$photo ;; esac
cd "$(dirname "$0")/.." || exit 1
log=$(mktemp) || exit 1

# --- Set-up: once, and again when requirements.txt changes or the folder moves.

command -v curl >/dev/null ||
    stop "curl is missing. Debian, Ubuntu: apt install curl. Then run this again."
python=''
for name in python3 python; do
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
        python=$name && break
done
[ -n "$python" ] ||
    stop "Python 3.11 or newer is missing. Install python3, then run this again."

wanted="$PWD $(cksum <requirements.txt)"
if [ "$(cat .venv/ready 2>/dev/null)" != "$wanted" ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        stop "venv is missing. Debian, Ubuntu: apt install python3-venv. Then run this again."
    echo "Setting up .venv: a minute or two, this once."
    # A .venv that this script made, or half made, is made anew. Yours is kept.
    if [ -f .venv/ready ] || [ -f .venv/half-made ] || [ ! -d .venv ]; then
        rm -rf .venv && mkdir .venv && : >.venv/half-made || exit 1
        "$python" -m venv .venv || stop "could not make .venv, see above."
    fi
    bin=.venv/bin
    [ -d $bin ] || bin=.venv/Scripts
    "$bin/python" -m pip install --quiet --retries 2 -r requirements.txt ||
        stop "could not install the packages, see above. No network? Run this again."
    if ! "$bin/python" -c 'import cv2' 2>"$log"; then
        grep -q 'ImportError: lib.*\.so' "$log" || stop "$(tail -n 1 "$log")"
        echo "OpenCV finds no $(sed -n 's/^ImportError: \([^:]*\).*/\1/p' "$log")" \
            "here: taking opencv-python-headless, the same without windows."
        "$bin/python" -m pip uninstall --quiet --yes opencv-python || exit 1
        "$bin/python" -m pip install --quiet --retries 2 \
            "$(sed -n 's/^opencv-python/&-headless/p' requirements.txt)" ||
            stop "could not install the packages, see above. No network? Run this again."
        "$bin/python" -c 'import cv2' 2>"$log" || stop "$(tail -n 1 "$log")"
    fi
    rm -f .venv/half-made
    echo "$wanted" >.venv/ready
fi
bin=.venv/bin
[ -d $bin ] || bin=.venv/Scripts

# --- One lesson.

fail() {
    echo "run.sh: $*. Its last output:" >&2
    tail -n 20 "$log" >&2
    exit 1
}

play() {
    lesson=$1
    port=8080
    [ "$lesson" != 08_inference ] || port=4958
    ! "$bin/python" -c "import socket; socket.create_connection(('127.0.0.1', $port), 2)" 2>/dev/null ||
        stop "port $port is in use. Stop what uses it (lsof -i :$port), then run this again."
    "$bin/python" "$lesson.py" >"$log" 2>&1 &
    lesson_pid=$!
    tries=0
    until grep -q 'Running on' "$log"; do
        tries=$((tries + 1))
        kill -0 "$lesson_pid" 2>/dev/null || fail "$lesson.py did not start"
        [ $tries -le 600 ] || fail "$lesson.py did not start within a minute"
        sleep 0.1
    done
    # A lesson that hangs is stopped, so that its script comes to an end.
    "$bin/python" -c "import os, time; time.sleep(${LESSON_SECONDS:-120}); os.kill($lesson_pid, 15)" &
    watch_pid=$!
    # The last argument only if there is one: lesson 8's photograph.
    PATH="$PWD/$bin:$PATH" sh "scripts/$lesson.sh" "http://127.0.0.1:$port" ${photo:+"$photo"} 2>&1
    kill "$watch_pid" 2>/dev/null
    wait "$watch_pid" 2>/dev/null
    watch_pid=''
    kill -0 "$lesson_pid" 2>/dev/null || fail "$lesson.py stopped answering"
    curl -s -o /dev/null --max-time 10 "http://127.0.0.1:$port/" ||
        fail "$lesson.py stopped answering"
    kill "$lesson_pid"
    wait "$lesson_pid" 2>/dev/null
    lesson_pid=''
}

# --- Which ones.

case ${1:-all} in
setup) exit 0 ;;
all) lessons='0[1-8]_*.py' ;;
[1-8]) lessons="0$1_*.py" ;;
0[1-8]) lessons="$1_*.py" ;;
*) stop "there is no lesson $1: 1 to 8, or nothing for all" ;;
esac
# Unquoted: the pattern becomes the files.
# shellcheck disable=SC2086
set -- $lessons
count=0
for file in "$@"; do
    lesson=${file%.py}
    echo
    echo "=== $lesson ==="
    play "$lesson"
    count=$((count + 1))
    echo
    echo "=== $lesson answered ($count of $#) ==="
done
echo
echo "$count of $# lessons answered."
