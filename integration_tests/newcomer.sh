#!/usr/bin/env bash
# Runs the commands of the READMEs in a new clone, in a path with spaces, with a new virtual environment. Prints how long
# each of them took.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
clone="$work/a fresh clone"
git clone --quiet "$root" "$clone"
if [ -e "$root/.image" ]; then
  ln -s "$root/.image" "$clone/.image" # the base image, if it can't be pulled
fi
chmod 755 "$work" # the image reads the directory as another user
python3 "$clone/integration_tests/snippets.py" "$clone"
