#!/usr/bin/env bash
# Sync appointments into JSON lines with plain `docker run`; every further run appends only what changed.
#
#   examples/docker_run.sh DIRECTORY        (DIRECTORY/config.json holds the connector's settings)
#
# Leaves DIRECTORY/appointments.jsonl, one record a line, and DIRECTORY/state.json. The user of the image, uid 1000,
# must be able to read the directory.
set -euo pipefail
directory=$(cd "$1" && pwd)
image=${IMAGE:-airbyte/source-ravan-calcom:0.1.0}
connector() { docker run --rm -v "$directory:/data:ro" "$image" "$@"; }

cat > "$directory/catalog.json" <<'EOF'
{"streams": [{"sync_mode": "incremental", "destination_sync_mode": "append_dedup", "stream":
  {"name": "appointments", "json_schema": {}, "supported_sync_modes": ["full_refresh", "incremental"]}}]}
EOF
arguments=(--config /data/config.json --catalog /data/catalog.json)
if [ -e "$directory/state.json" ]; then
  arguments+=(--state /data/state.json)
fi

# The exit code is kept for the end: what was read before a failure is true, and so is its state.
code=0
connector read "${arguments[@]}" > "$directory/messages.jsonl" || code=$?
grep '^{"type":"RECORD"' "$directory/messages.jsonl" >> "$directory/appointments.jsonl" || true
grep '^{"type":"STATE"' "$directory/messages.jsonl" | tail -n 1 |
  sed 's/^{"type":"STATE","state":\(.*\)}$/[\1]/' > "$directory/state.json.new"
[ -s "$directory/state.json.new" ] && mv "$directory/state.json.new" "$directory/state.json"
rm -f "$directory/state.json.new"
grep -v '^{"type":"\(RECORD\|STATE\)"' "$directory/messages.jsonl" >&2 || true
rm "$directory/messages.jsonl"
exit "$code"
