#!/usr/bin/env bash
# Feeds the recording that ships in the repository into a fresh log and shows what came out.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-demo}
koschei=${KOSCHEI:-"${CARGO_TARGET_DIR:-target}"/debug/koschei}
data=tests/data/koji
rm -rf "$out"
mkdir -p "$out"
db=$out/koschei.db

echo
echo "== A Koji hub's recorded messages become an append-only log =="
"$koschei" ingest --from "$data/events.jsonl" --archive "$data" --db "$db" --commands "$out/commands.jsonl" --metrics "$out/metrics.prom"
echo
echo "== Packages: state, priority, cause =="
"$koschei" status --db "$db" --collection f99-build
echo
echo "== The last rebuild commands of $(wc -l <"$out/commands.jsonl") =="
tail -n 8 "$out/commands.jsonl" | sed 's/^\(.\{200\}\).*/\1…/'
echo
echo "== Nothing was changed since it was written, and every decision follows from the rules =="
"$koschei" log verify --db "$db"
"$koschei" log audit --db "$db"
cat <<EOF

The log is $db, the commands are $out/commands.jsonl, the metrics $out/metrics.prom. Try next:

  $koschei why appbar --db $db --collection f99-build          what decides about a package, and what changed
  $koschei why appfoo --db $db --as-of 2026-11-20T08:49:10Z    the same, as of any moment
  $koschei status --db $db --state failing,unresolved
  $koschei history --db $db --under collection/f99-build/ --kind package_state_changed
  $koschei replay --db $db --until 800 --json                  fold the log again, act on nothing
  $koschei log tail --db $db -n 20
EOF
