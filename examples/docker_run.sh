#!/usr/bin/env bash
# Sync to JSON lines with `docker run` or podman; from the second run on, only changes.
#
#   ./docker_run.sh DIRECTORY
#
# DIRECTORY/config.json contains the connector's settings and may be readable by you only. container.sh, messages.py and
# catalog.json must be in the directory of this script. The image is the one that `make image` builds in the connector's
# clone, or the one that the variable IMAGE names. Needs bash and Python 3.10.
#
# Each run adds files to DIRECTORY/appointments and DIRECTORY/organizations, one row per line, and replaces
# DIRECTORY/state.json, from which the next run continues. A killed run leaves no incomplete file and loses no row; rows
# may then be delivered twice, and the one with the latest synced_at counts. The exit code is the connector's: 0 if all
# organizations were read.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
directory=$(cd "${1:?usage: $0 DIRECTORY}" && pwd)
# shellcheck source=examples/container.sh
. "$here/container.sh"

# The directory has the same path in the container, and is read-only.
exec python3 "$here/messages.py" read "$directory" -- \
  "${container[@]}" --read-only --cap-drop ALL --security-opt no-new-privileges \
  --volume "$directory:$directory:ro" --volume "$here/catalog.json:/catalog.json:ro" \
  "$IMAGE" read --config "$directory/config.json" --catalog /catalog.json
