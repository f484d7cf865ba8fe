#!/usr/bin/env bash
# Every test of the deployment, after fetching what it takes: tools, a Docker engine where none runs, base images.
#   scripts/test_deploy.sh [PYTEST ARGUMENT]...
# HALFBEAT_TEST_DEPLOY=1 (`make test-deploy`): what cannot be had is a failure. Otherwise, as in CI, its tests are skipped
# and say why. HALFBEAT_ENGINE is the folder of the engine that is started, kept for the next time: build/engine.
set -euo pipefail
cd "$(dirname "$0")/.."
engine=${HALFBEAT_ENGINE:-build/engine}
export PYTHON=$PWD/.venv/bin/python
say() { printf '\033[1m%s\033[0m\n' "test_deploy: $*" >&2; }
try() {
  "$@" && return
  say "failed: $*"
  [ "${HALFBEAT_TEST_DEPLOY:-}" != 1 ] || exit 1
  return 1
}

for part in prometheus kubernetes crds; do try scripts/deploy_tools.sh "$part" || true; done

if ! docker version >/dev/null 2>&1 && try scripts/docker_engine.sh start "$engine"; then
  trap 'scripts/docker_engine.sh stop "$engine"' EXIT
  # shellcheck source=/dev/null
  . "$engine/env"
fi
if docker version >/dev/null 2>&1; then
  missing=
  # shellcheck source=/dev/null
  for name in $(. ./.env && echo "$BASE_IMAGE" "$NATS_IMAGE" "$PROMETHEUS_IMAGE" "$ALERTMANAGER_IMAGE"); do
    docker image inspect "$name" >/dev/null 2>&1 || timeout 120 docker pull --quiet "$name" || missing="$missing $name"
  done
  if [ -n "$missing" ]; then
    say "stand-ins are made for what cannot be pulled:$missing"
    try scripts/base_images.sh "$engine/base" python nats prometheus alertmanager ||
      export DOCKER_HOST=unix:///no/base/images # nothing can be built: its tests are skipped
  fi
fi

"$PYTHON" -m pytest tests/deploy -m "deploy or containers" "$@"
