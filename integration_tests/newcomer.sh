#!/usr/bin/env bash
# Runs the commands of the READMEs as a newcomer does: in a bare clone, in a directory with spaces in its path, with a
# virtual environment of its own. Prints how long each took.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
clone="$work/a fresh clone"
git clone --quiet "$root" "$clone"
if [ -e "$root/.image" ]; then
  ln -s "$root/.image" "$clone/.image" # the base image, where it can't be pulled
fi
chmod 755 "$work" # the image reads the directory as another user
python3 "$clone/integration_tests/snippets.py" "$clone"
