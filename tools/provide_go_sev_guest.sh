#!/bin/sh
# Build the tools `check` and `show` of google/go-sev-guest, which read what the development kit mints, outside the
# checkout, and print the folder in which they are:
#     sh tools/provide_go_sev_guest.sh
# A folder with both of that version in SEALWARD_GO_SEV_GUEST or in the cache is used as it is. Otherwise Go builds them from
# their module, whose checksum Go's database vouches for (which Go: provide_go.sh).
set -eu

version=0.15.0
module=github.com/google/go-sev-guest
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sealward/go-sev-guest-$version

is_right() { # a program of Go names the module that it was built from
  [ -n "$1" ] || return 1
  for tool in check show; do
    [ -x "$1/$tool" ] && grep -aq "mod	$module	v$version" "$1/$tool" || return 1
  done
}

for found in "${SEALWARD_GO_SEV_GUEST:-}" "$cache"; do
  if is_right "$found"; then
    printf '%s\n' "$found"
    exit 0
  fi
done

mkdir -p "$cache"
draft=$(mktemp -d "$cache/draft.XXXXXX") # in the cache, so that what is done moves there in one step
trap 'chmod -R u+w "$draft"; rm -rf "$draft"' EXIT
go=$(sh "$(dirname "$0")/provide_go.sh" "$draft")
echo "building the tools of go-sev-guest $version with $("$go" version)" >&2
GOBIN=$draft/bin CGO_ENABLED=0 GOFLAGS= nice -n 10 "$go" install "$module/tools/check@v$version" "$module/tools/show@v$version" >&2
is_right "$draft/bin"
mv "$draft/bin/check" "$draft/bin/show" "$cache/"
printf '%s\n' "$cache"
