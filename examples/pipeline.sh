#!/usr/bin/env bash
# Sync into any Airbyte destination, without Airbyte; from the second run on, only what changed.
#
#   DESTINATION=airbyte/destination-postgres:3.0.0 ./pipeline.sh DIRECTORY
#   SOURCE=source-ravan-calcom DESTINATION=airbyte-destination-ailake ./pipeline.sh DIRECTORY
#
# SOURCE and DESTINATION are images, run with docker or podman, or installed commands. Without SOURCE, it is the image
# that `make image` builds in the connector's clone, or the one that the variable IMAGE names. DIRECTORY holds
# source.json and destination.json, their settings, which nobody but you needs to be able to read; container.sh and
# messages.py are beside this script. Every stream is synced incrementally and merged by primary key, unless
# DIRECTORY/catalog.json, a configured catalog, says otherwise. Needs bash and Python 3.10.
#
# The state that the destination has confirmed is kept in DIRECTORY/state.json. A run that fails or is killed, on either
# side, is resumed there by the next one. Ends with 0 only if both sides did. It does so, with a warning, if the
# destination confirms no state: everything was delivered, and a scheduler that repeats failed jobs would deliver it
# twice.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
directory=$(cd "${1:?usage: SOURCE=… DESTINATION=… $0 DIRECTORY}" && pwd)
: "${DESTINATION:?names an image or an installed command}"
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT

# Containers see both directories where they are, so that their arguments are the same as outside.
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
  echo "The source ended with ${codes[0]}, the destination with ${codes[2]}; the next run goes on from state.json." >&2
elif ! [ "$directory/state.json" -nt "$temporary/began" ]; then
  echo "WARNING: The destination confirmed no state, so the next run starts where this one did and delivers everything" \
    "that this one delivered again." >&2
fi
# A source whose destination has died ends with 141, which says less.
exit $((codes[2] ? codes[2] : codes[0] ? codes[0] : codes[1]))
