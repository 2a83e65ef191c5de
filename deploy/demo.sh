#!/usr/bin/env bash
# Feeds the repository's recording into a new log and shows the result.
# `demo.sh --before` says what the whole demonstration needs.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
if [ "${1:-}" = --before ]; then
    if [ -x "$target/debug/koschei" ]; then
        echo "Bringing the build up to date, then a few seconds of demonstration."
    else
        echo "The first time this installs what building needs (some 60 MB of packages), and compiles: about three minutes on two"
        echo "cores, 1 GB in $target, 400 MB in cargo's own directory. The demonstration itself takes seconds, and 5 MB in demo/."
    fi
    exit 0
fi
out=${1:-demo}
koschei=${KOSCHEI:-$target/debug/koschei}
data=tests/data/koji
rm -rf "$out"
mkdir -p "$out"
db=$out/koschei.db

title() { printf '\n== %s ==\n' "$1"; }

title "Messages recorded from a Koji hub become an append-only log"
"$koschei" ingest --from "$data/events.jsonl" --archive "$data" --db "$db" --metrics "$out/metrics.prom"

title "What broke, since when, by which update, who was rebuilt for it, who recovered"
"$koschei" broken --db "$db" --archive "$data"

title "Each update that broke packages, once, from the log alone"
"$koschei" causes --db "$db" --all

title "The last rebuild commands"
"$koschei" commands --db "$db" --table --last 10
"$koschei" commands --db "$db" --to "$out/commands.jsonl"

title "Nothing was changed since it was written, and every decision follows from the rules"
"$koschei" log verify --db "$db"
"$koschei" log audit --db "$db"
cat <<END

The log is $db, the commands are $out/commands.jsonl, the metrics $out/metrics.prom. Try next:

  $koschei web --db $db --listen 127.0.0.1:8080
      pages over this log, at http://127.0.0.1:8080/ until Ctrl-C
  $koschei why appbar --db $db --collection f99-build
      what decides about one package, and what changed in its buildroot
  $koschei status --db $db --as-of 2026-11-20T08:45:00Z --state unresolved,failing
      who was broken just after the update of libfoo; any moment can be asked for
  $koschei history --db $db --under collection/f99-build/ --kind package_state_changed
      every change of state
END
