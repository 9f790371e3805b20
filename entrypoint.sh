#!/usr/bin/env -S --block-signal=TERM --block-signal=INT sh
# One script for every entry point of the image: the name that it is started under selects one.
# It always ends in exec, so that the command itself is process 1 and gets the signals. The kernel drops those that
# process 1 has no handler for, so they are held back from the first line on, until the command has one.
set -eu
case "$(basename "$0")" in
  # The reader takes the last line of both streams merged. Two pipes have no common order, so there is only one here.
  check-size.sh) exec artifact-downloader check-size "$@" 2>&1 ;;
  initializer-entrypoint) exec artifact-downloader kserve "$@" ;;
  adapter-stage.sh) exec artifact-downloader adapter-stage "$@" ;;
  adapter-reap.sh) exec artifact-downloader adapter-reap "$@" ;;
  adapter-subtree-sync.sh) exec artifact-downloader adapter-sync "$@" ;;
esac
case "${1:-}" in
  *://*) exec artifact-downloader download "$@" ;;
esac
exec artifact-downloader "$@"
