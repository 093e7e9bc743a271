#!/bin/sh
# Build the real `opa` of the version that tests compare with, outside the checkout, and print where it is:
#     sh tools/provide_opa.sh
# An `opa` of that version on PATH, in SEALWARD_OPA or in the cache is used as it is. Otherwise Go builds it from its
# module, whose checksum Go's database vouches for (which Go: provide_go.sh).
set -eu

version=1.22.2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sealward/opa-$version

is_right() {
  [ -n "$1" ] && [ -x "$1" ] && [ "$("$1" version 2>/dev/null | sed -n 's/^Version: //p')" = "$version" ]
}

for found in "${SEALWARD_OPA:-}" "$(command -v opa || true)" "$cache/opa"; do
  if is_right "$found"; then
    printf '%s\n' "$found"
    exit 0
  fi
done

mkdir -p "$cache"
draft=$(mktemp -d "$cache/draft.XXXXXX") # in the cache, so that what is done moves there in one step
trap 'chmod -R u+w "$draft"; rm -rf "$draft"' EXIT
go=$(sh "$(dirname "$0")/provide_go.sh" "$draft")
echo "building opa $version with $("$go" version); this takes minutes, once" >&2
# Its caches go with the draft: a gigabyte that nobody needs again.
GOBIN=$draft/bin GOPATH=$draft/path GOCACHE=$draft/cache GOFLAGS=-modcacherw CGO_ENABLED=0 \
  nice -n 10 "$go" install "github.com/open-policy-agent/opa@v$version" >&2
is_right "$draft/bin/opa"
mv "$draft/bin/opa" "$cache/opa"
printf '%s\n' "$cache/opa"
