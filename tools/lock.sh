#!/bin/sh
# Resolve the three locks again, from pyproject.toml, with the versions that are locked now unless told otherwise:
#     sh tools/lock.sh [--upgrade] [--upgrade-package NAME] [--exclude-newer "1 week"]
# Needs uv. The locks carry hashes for every platform and no address of an index.
set -eu
cd "$(dirname "$0")/.."

draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT

compile() { # lock, options of uv
  lock=$1
  shift
  uv pip compile pyproject.toml --quiet --universal --generate-hashes --no-emit-index-url --no-header \
    --python-version 3.11 --output-file "$draft/$lock" "$@"
  { printf '# Made by `make lock` from pyproject.toml. Install with: pip install --require-hashes -r %s\n' "$lock"
    sed '/^# The following packages were excluded/,$d' "$draft/$lock"; } > "$lock"
}

grep -v '^#' requirements-dev.lock > "$draft/requirements-dev.lock" || true # uv keeps the versions it finds there
compile requirements-dev.lock --extra dev "$@"
cp "$draft/requirements-dev.lock" "$draft/requirements.lock"
compile requirements.lock
cp "$draft/requirements-dev.lock" "$draft/requirements-demo.lock"
# shellcheck disable=SC2046  # one option for each name
compile requirements-demo.lock --extra demo $(sed -n 's/^\([a-z0-9.-]*\)==.*/--no-emit-package \1/p' requirements.lock)
