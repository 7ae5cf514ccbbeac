#!/bin/sh
# The digits example from start to end; `make demo` calls it with the environment's programs and the
# folder where the sweeps are kept. With OPEN=1 the dashboard is opened afterwards.
set -eu
bin=$1
out=$2
cd "$(dirname "$0")"
export TUNE_BRIDGE_HOME="$out/home"
mkdir -p "$TUNE_BRIDGE_HOME"
PATH="$bin:$PATH"

say_and_do() {
    printf '\n$ %s\n' "$*"
    "$@"
}

echo "in examples/digits:"
say_and_do tune-bridge convert experiment.py -o sweep.yaml
say_and_do tune-bridge run sweep.yaml

if [ "${OPEN:-}" = 1 ]; then
    say_and_do tune-bridge dashboard --open
    exit
fi
printf '\nTo look at the sweep in a browser: make demo OPEN=1 runs another one and opens it, or\n\n'
printf '    TUNE_BRIDGE_HOME=demo/home .venv/bin/tune-bridge dashboard --open\n'
