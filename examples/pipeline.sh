#!/usr/bin/env bash
# Sync to any Airbyte destination, without Airbyte; from the second run on, only changes.
#
#   DESTINATION=airbyte/destination-postgres:3.0.0 ./pipeline.sh DIRECTORY
#   SOURCE=source-ravan-calcom DESTINATION=airbyte-destination-ailake ./pipeline.sh DIRECTORY
#
# SOURCE and DESTINATION are images, run with docker or podman, or installed commands. SOURCE is by default the image
# that `make image` builds in the connector's clone, or the one that the variable IMAGE names. DIRECTORY contains their
# settings, source.json and destination.json, which may be readable by you only. container.sh and messages.py must be in
# the directory of this script. Every stream is synced incrementally and merged by primary key, unless there is a
# configured catalog in DIRECTORY/catalog.json. Needs bash and Python 3.10.
#
# The states that the destination has confirmed are stored in DIRECTORY/state.json. If a run fails or is killed on
# either side, the next run continues from there. The exit code is 0 only if both sides end with 0. If the destination
# confirms no state, it is 0 with a warning: all rows were delivered, and a scheduler that repeats failed jobs would
# deliver them twice.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
directory=$(cd "${1:?usage: SOURCE=… DESTINATION=… $0 DIRECTORY}" && pwd)
: "${DESTINATION:?names an image or an installed command}"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

# Both directories have the same path in the containers, so that arguments are the same for images and commands.
# shellcheck source=examples/container.sh
. "$here/container.sh"
: "${SOURCE:=$IMAGE}"
container+=(--interactive --volume "$directory:$directory:ro" --volume "$temporary:$temporary:ro")
source=("$SOURCE")
command -v "$SOURCE" >/dev/null || source=("${container[@]}" "$SOURCE")
destination=("$DESTINATION")
command -v "$DESTINATION" >/dev/null || destination=("${container[@]}" "$DESTINATION")
messages() { python3 "$here/messages.py" "$@"; }

catalog=$directory/catalog.json
if ! [ -e "$catalog" ]; then
  catalog=$temporary/catalog.json
  "${source[@]}" discover --config "$directory/source.json" </dev/null | messages catalog >"$catalog"
fi
arguments=(--config "$directory/source.json" --catalog "$catalog")
if [ -e "$directory/state.json" ]; then
  arguments+=(--state "$directory/state.json")
fi

touch "$temporary/began"
set +e
"${source[@]}" read "${arguments[@]}" </dev/null | messages forward |
  messages write "$directory/state.json" -- \
    "${destination[@]}" write --config "$directory/destination.json" --catalog "$catalog"
codes=("${PIPESTATUS[@]}")
if [ "${codes[*]}" != "0 0 0" ]; then
  echo "The source ended with ${codes[0]}, the destination with ${codes[2]}; the next run continues from state.json." >&2
elif ! [ "$directory/state.json" -nt "$temporary/began" ]; then
  echo "WARNING: The destination confirmed no state, so the next run continues from the same state as this one and" \
    "delivers the same rows again." >&2
fi
# The destination's code comes first: if the destination ends early, the source ends with 141.
exit $((codes[2] ? codes[2] : codes[0] ? codes[0] : codes[1]))
