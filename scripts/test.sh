#!/bin/sh
# Runs the tests. The first run sets up .venv as run.sh does and adds what
# requirements-test.txt names. Arguments go to pytest: sh scripts/test.sh -k hello
set -eu
export PYTHONUTF8=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
CDPATH='' cd -- "$(dirname -- "$0")/.."
sh scripts/run.sh setup
bin=.venv/bin
[ -d $bin ] || bin=.venv/Scripts
# Again when requirements-test.txt changes, and when run.sh has set up .venv again.
wanted=$(cat .venv/ready requirements-test.txt | cksum)
if [ "$(cat .venv/test-ready 2>/dev/null)" != "$wanted" ]; then
    echo "Adding what the tests need: this once."
    "$bin/python" -m pip install --retries 2 -r requirements-test.txt || {
        echo "test.sh: could not install, see above. No network? Run this again." >&2
        exit 1
    }
    echo "$wanted" >.venv/test-ready
fi
exec "$bin/python" -m pytest "$@"
