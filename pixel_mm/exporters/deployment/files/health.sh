#!/usr/bin/env bash
# Say whether the server, its models and what watches them answer. Exit code 0: all do, 1: something does not.
#
#   ./health.sh
#   TRITON_URL=http://HOST:8000 PROMETHEUS_URL= GRAFANA_URL= ./health.sh    somewhere else; an empty one is left out
set -uo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

host=${BIND_ADDRESS:-127.0.0.1}
triton=${TRITON_URL-http://$host:8000}
prometheus=${PROMETHEUS_URL-http://$host:9090}
grafana=${GRAFANA_URL-http://$host:3000}
failed=0

check() { # WHAT URL
  local reason
  if reason=$(curl --silent --show-error --fail --max-time 5 --output /dev/null "$2" 2>&1); then
    echo "ok      $1"
  else
    echo "FAILED  $1: $2: ${reason#curl: }"
    failed=1
  fi
}

if [[ -n $triton ]]; then
  check "server lives" "$triton/v2/health/live"
  check "server is ready" "$triton/v2/health/ready"
  while read -r model; do
    check "model $model" "$triton/v2/models/$model/ready"
  done <models.txt
fi
if [[ -n $prometheus ]]; then check "Prometheus" "$prometheus/-/ready"; fi
if [[ -n $grafana ]]; then check "Grafana" "$grafana/api/health"; fi
exit "$failed"
