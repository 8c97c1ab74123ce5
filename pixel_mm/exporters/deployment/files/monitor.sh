#!/usr/bin/env bash
# Show what the server does, a line per model and version every few seconds, from its own metrics. Ctrl-C ends it.
#
#   ./monitor.sh [SECONDS [TIMES]]                          every 5 seconds, for ever
#   METRICS_URL=http://HOST:8002/metrics ./monitor.sh       somewhere else
#
# Exit code 1 when the server did not answer at least once.
set -uo pipefail

seconds=${1:-5}
times=${2:-0}
url=${METRICS_URL:-http://${BIND_ADDRESS:-127.0.0.1}:8002/metrics}
failed=0

scrape() { curl --silent --show-error --fail --max-time 5 "$url"; }

compare() { # BEFORE AFTER, two texts of metrics
  awk -v seconds="$seconds" '
    FNR == 1 { file++ }
    /^nv_inference_/ && match($0, /\{.*\}/) {
      metric = substr($0, 1, RSTART - 1)
      labels = substr($0, RSTART, RLENGTH)
      match(labels, /model="[^"]*"/); name = substr(labels, RSTART + 7, RLENGTH - 8)
      match(labels, /version="[^"]*"/); key = name " " substr(labels, RSTART + 9, RLENGTH - 10)
      value[file, key, metric] += $NF
      if (file == 2 && metric == "nv_inference_pending_request_count") keys[++count] = key
    }
    function grown(metric) {
      difference = value[2, key, metric] - value[1, key, metric]
      return difference < 0 ? value[2, key, metric] : difference  # smaller: the server was restarted
    }
    function per(amount, number) { return number > 0 ? sprintf("%.1f", amount / number) : "-" }
    END {
      for (number = 1; number <= count; number++) {
        key = keys[number]
        done = grown("nv_inference_request_success")
        printf "%-24s %9.1f %9.1f %9s %9s %9s %8d\n", key, done / seconds,
          grown("nv_inference_request_failure") / seconds,
          per(grown("nv_inference_request_duration_us") / 1000, done),
          per(grown("nv_inference_queue_duration_us") / 1000, done),
          per(grown("nv_inference_count"), grown("nv_inference_exec_count")),
          value[2, key, "nv_inference_pending_request_count"]
      }
    }' <(echo "$1") <(echo "$2")
}

printf '%-24s %9s %9s %9s %9s %9s %8s\n' 'model version' 'done/s' 'failed/s' 'mean ms' 'queue ms' 'batch' 'waiting'
before=$(scrape) || failed=1
for ((turn = 1; times == 0 || turn <= times; turn++)); do
  sleep "$seconds"
  if after=$(scrape); then
    if [[ -n $before ]]; then compare "$before" "$after"; fi
  else
    failed=1
  fi
  before=$after
done
exit "$failed"
