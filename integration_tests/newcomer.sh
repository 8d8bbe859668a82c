#!/usr/bin/env bash
# Goes through README and docs as a newcomer does: in a bare clone, in a directory with spaces in its path, from top to
# bottom, with a virtual environment of its own. Every command has to end as the page says; how long each took is printed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
clone="$work/a fresh clone"
git clone --quiet "$root" "$clone"
chmod 755 "$work" # the image reads the directory as another user
if [ -e "$root/.image" ]; then
  ln -s "$root/.image" "$clone/.image" # the base image, where it can't be pulled
fi
python3 "$clone/integration_tests/snippets.py" "$clone"
