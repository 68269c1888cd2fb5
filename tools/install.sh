#!/bin/sh
# Install the package into the environment of the given Python: sh tools/install.sh PYTHON TARGET
# A torch that is already there and new enough is kept; everything else comes in the tested versions of constraints.txt.
set -eu
python=$1
target=$2
constraints=$(mktemp)
trap 'rm -f "$constraints"' EXIT
if "$python" -c 'import sys, importlib.metadata as m; v = m.version("torch").split("."); sys.exit((int(v[0]), int(v[1])) < (2, 6))' 2>/dev/null; then
    grep -v '^torch==' constraints.txt > "$constraints"
    "$python" -c 'import importlib.metadata as m; print("torch==" + m.version("torch"))' >> "$constraints"
else
    cp constraints.txt "$constraints"
fi
"$python" -m pip install --quiet --constraint "$constraints" --editable "$target"
