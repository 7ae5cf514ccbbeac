#!/bin/sh
# The digits example from start to end; `make demo` calls it with the environment's programs and the
# folder for everything that it writes. With OPEN=1 the dashboard is opened afterwards.
set -eu
bin=$1
out=$2
cd "$(dirname "$0")"
mkdir -p "$out"
export TUNE_BRIDGE_HOME="$out/home"
PATH="$bin:$PATH"

echo "== translate: experiment.py -> sweep.yaml"
tune-bridge convert experiment.py -o "$out/sweep.yaml"

echo "== run"
tune-bridge run "$out/sweep.yaml"

if [ "${OPEN:-}" = 1 ]; then
    echo "== dashboard (Ctrl-C ends it)"
    exec tune-bridge dashboard --open
fi
echo
echo "The sweep is in demo/. To look at it in a browser:"
echo
echo "    TUNE_BRIDGE_HOME=demo/home .venv/bin/tune-bridge dashboard --open"
