#!/usr/bin/env bash
# Writes requirements/*.txt: every package with its hashes, from pyproject.toml. `make lock`.
#   scripts/lock.sh [--upgrade]      without --upgrade, versions that still fit are kept
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
export CUSTOM_COMPILE_COMMAND="make lock"
compile() {
  ${PYTHON:-.venv/bin/python} -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --annotation-style line \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options "$@" 2> build/lock.log || { cat build/lock.log >&2; exit 1; }
}
compile "$@" --output-file requirements/build.txt requirements/build.in
compile "$@" --constraint requirements/build.txt --extra dev --output-file requirements/dev.txt pyproject.toml
compile "$@" --constraint requirements/dev.txt --extra bench-echo --output-file requirements/bench-echo.txt pyproject.toml
compile "$@" --constraint requirements/dev.txt --extra local --output-file requirements/local.txt pyproject.toml

# The images. Each has core.txt and what comes on top of it; the lower folders are layers that images share.
# What a lock has beyond others: LOCK LOWER...
beyond() {
  local lock=$1
  shift
  awk 'FILENAME != lock { if ($1 ~ /==/) below[$1] = 1; next }
       /^[a-z0-9]/ { kept = !($1 in below) }
       /^#/ || kept' lock="$lock" "$@" "$lock"
}
layer() {
  local name=$1 lower=$2
  shift 2
  compile "$@" --constraint requirements/dev.txt --output-file "build/$name.txt"
  beyond "build/$name.txt" $lower > "requirements/$name.txt"
}
layer core "" "$@" pyproject.toml
layer onnx requirements/core.txt "$@" --extra asr pyproject.toml
layer router "requirements/core.txt requirements/onnx.txt" "$@" --extra router pyproject.toml
layer tts "requirements/core.txt requirements/onnx.txt" "$@" --extra tts pyproject.toml
layer dialogue requirements/core.txt "$@" --extra dialogue --extra postgres pyproject.toml
layer llm requirements/core.txt "$@" --extra llama pyproject.toml
layer asr-cuda requirements/core.txt "$@" requirements/asr-cuda.in
# PyTorch of the index, with CUDA, also where a folder of wheels has one without.
PIP_FIND_LINKS='' layer tts-cuda "requirements/core.txt requirements/onnx.txt" "$@" requirements/tts-cuda.in
compile "$@" --output-file requirements/compose.txt requirements/compose.in
compile "$@" --output-file requirements/deploy-tools.txt requirements/deploy-tools.in
# Extras that name other extras of ours make pip-compile write the project itself, with the path of this checkout.
sed -i -e '/^halfbeat @ /d' -e '/^# WARNING: pip install will require/d' -e '/^# Consider using a hashable URL/d' \
  requirements/dev.txt requirements/local.txt requirements/bench-echo.txt

if grep -nE '^(torch|nvidia|triton)[a-z0-9-]*==' requirements/*.txt | grep -v -- -cuda.txt:; then
  echo "the lock pulls in gigabytes of GPU packages: see which requirement wants them" >&2
  exit 1
fi
if grep -nE '(https?|file):/|^--(index|find|extra|trusted)|(-c|-r) /' requirements/*.txt; then
  echo "the lock names an address or a path of this machine" >&2
  exit 1
fi
grep -c '==' requirements/build.txt requirements/dev.txt requirements/local.txt requirements/bench-echo.txt
