#!/usr/bin/env bash
# Generates halfbeat/v1 from proto/. With --check: fails if the committed code differs from what the proto files give.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=.
if [ "${1:-}" = "--check" ]; then
  out=$(mktemp -d)
  trap 'rm -rf "$out"' EXIT
fi
$python -m grpc_tools.protoc -I proto --python_out="$out" --pyi_out="$out" proto/halfbeat/v1/*.proto
$python -m grpc_tools.protoc -I proto --grpc_python_out="$out" proto/halfbeat/v1/voice.proto
if [ "$out" != . ]; then
  diff -ru --exclude=__init__.py --exclude=__pycache__ "$out/halfbeat/v1" halfbeat/v1 || {
    echo "generated code is out of date: run 'make proto' and commit the result" >&2
    exit 1
  }
fi
