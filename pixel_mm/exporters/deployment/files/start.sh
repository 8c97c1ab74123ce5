#!/usr/bin/env bash
# Start the server and what watches it, wait until they are healthy, and say what is there. `docker compose down` ends it.
#
#   export GRAFANA_ADMIN_PASSWORD=...                  needed; stored in no file
#   MODEL_REPOSITORY=DIR BIND_ADDRESS=IP ./start.sh    another repository, another address than loopback
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

if ! docker compose version >/dev/null 2>&1; then
  echo "start: Docker with its compose plugin is missing or does not run" >&2
  exit 2
fi
if ! docker compose up --detach --wait --wait-timeout 300; then
  ./health.sh || true
  echo "start: not everything became healthy; docker compose logs says why" >&2
  exit 1
fi
exec ./health.sh
