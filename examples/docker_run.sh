#!/usr/bin/env bash
# Sync into JSON lines with plain `docker run`, or podman; from the second run on, only what changed.
#
#   ./docker_run.sh DIRECTORY
#
# DIRECTORY/config.json holds the connector's settings, which nobody but you needs to be able to read; container.sh,
# messages.py and catalog.json are beside this script. The image is the one that `make image` builds in the connector's
# clone, or the one that the variable IMAGE names. Needs bash and Python 3.10.
#
# Each run adds files to DIRECTORY/appointments and DIRECTORY/organizations, one row a line, and replaces
# DIRECTORY/state.json, from which the next run goes on. A run that is killed leaves no half file and loses nothing; a
# row may then come twice, and the one with the latest synced_at counts. Ends as the connector does: 0 when all was read.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
directory=$(cd "${1:?usage: $0 DIRECTORY}" && pwd)
# shellcheck source=examples/container.sh
. "$here/container.sh"

# The container sees the directory where it is, and can change nothing.
exec python3 "$here/messages.py" read "$directory" -- \
  "${container[@]}" --read-only --cap-drop ALL --security-opt no-new-privileges \
  --volume "$directory:$directory:ro" --volume "$here/catalog.json:/catalog.json:ro" \
  "$IMAGE" read --config "$directory/config.json" --catalog /catalog.json
