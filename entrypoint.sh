#!/bin/sh
# One script behind every door of the image: the name it is started under says which door it is.
set -eu
case "$(basename "$0")" in
  check-size.sh) exec artifact-downloader size "$@" ;;
  initializer-entrypoint) exec artifact-downloader kserve "$@" ;;
esac
case "${1:-}" in
  *://*) exec artifact-downloader download "$@" ;;
esac
exec artifact-downloader "$@"
