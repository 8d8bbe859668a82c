#!/usr/bin/env bash
# Sync into any Airbyte destination, without Airbyte; from the second run on, only what changed.
#
#   SOURCE=airbyte/source-ravan-calcom:0.2.0 DESTINATION=airbyte/destination-postgres:3.0.0 ./pipeline.sh DIRECTORY
#   SOURCE=source-ravan-calcom DESTINATION=airbyte-destination-ailake ./pipeline.sh DIRECTORY
#
# SOURCE and DESTINATION are images, run with docker or podman, or installed commands. DIRECTORY holds source.json and
# destination.json, their settings, which nobody but you needs to be able to read; container.sh and messages.py lie
# beside this script. Every stream is synced incrementally and merged by primary key, unless DIRECTORY/catalog.json, a
# configured catalog, says otherwise. Needs bash and Python 3.10.
#
# The state that the destination has confirmed is kept in DIRECTORY/state.json. A run that fails or is killed, on either
# side, is resumed there by the next one. Ends with 0 only if both sides did.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
directory=$(cd "${1:?usage: SOURCE=… DESTINATION=… $0 DIRECTORY}" && pwd)
: "${SOURCE:=source-ravan-calcom}" "${DESTINATION:?names an image or an installed command}"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

# Containers see both directories where they are, so that their arguments are the same as outside.
# shellcheck source=examples/container.sh
. "$here/container.sh"
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

set +e
"${source[@]}" read "${arguments[@]}" </dev/null | messages forward |
  messages write "$directory/state.json" -- \
    "${destination[@]}" write --config "$directory/destination.json" --catalog "$catalog"
codes=("${PIPESTATUS[@]}")
if [ "${codes[*]}" != "0 0 0" ]; then
  echo "The source ended with ${codes[0]}, the destination with ${codes[2]}; the next run goes on from state.json." >&2
fi
# A source whose destination has died ends with 141, which says less.
exit $((codes[2] ? codes[2] : codes[0] ? codes[0] : codes[1]))
