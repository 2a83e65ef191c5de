#!/usr/bin/env bash
# What `make test-bare` does inside the bare root. No package is here that the install step did not ask for.
set -euo pipefail
cd /koschei
said() { printf '%5d s  %s\n' $(($(date +%s) - KOSCHEI_BARE_START)) "$1"; }

# `make` itself is what a person types; a minimal Debian lacks it, and the install step brings it.
said "install step for building"
deploy/install-deps.sh build
said "make demo"
make demo
grep -q '"command":"rebuild"' demo/commands.jsonl
said "install step for testing"
deploy/install-deps.sh build test
target/koji-client/bin/python -c 'import gssapi, koji, koschei_messages'
node tests/asyncapi/check.mjs target/asyncapi <schemas/asyncapi.json

# One start of every server the tests need, each asked something it can only answer when it runs.
work=$(mktemp -d)
chmod 755 "$work"
pids=()
trap 'for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; epmd -port 14369 -kill >/dev/null 2>&1 || true' EXIT
as() { setpriv --reuid "$1" --regid "$1" --clear-groups -- "${@:2}"; }
until_works() { # until_works NAME COMMAND…: at most a minute
    for _ in $(seq 120); do
        if "${@:2}" >/dev/null 2>&1; then
            said "$1 answers"
            return
        fi
        sleep 0.5
    done
    echo "$1 does not answer" >&2
    exit 1
}

postgres=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
install -d -o postgres "$work/postgres"
as postgres "$postgres/initdb" -D "$work/postgres/data" -A trust >/dev/null
as postgres "$postgres/postgres" -D "$work/postgres/data" -k "$work/postgres" -c listen_addresses= >/dev/null 2>&1 &
pids+=($!)
until_works PostgreSQL as postgres "$postgres/psql" -h "$work/postgres" -c 'SELECT 1' postgres

install -d -o postgres "$work/pgbouncer"
printf '[databases]\n* = host=%s\n[pgbouncer]\nlisten_port = 16432\nunix_socket_dir = %s\nauth_type = any\n' \
    "$work/postgres" "$work/pgbouncer" >"$work/pgbouncer.ini"
sed -i 's/^\* = /* = user=postgres /' "$work/pgbouncer.ini"
as postgres pgbouncer "$work/pgbouncer.ini" >/dev/null 2>&1 &
pids+=($!)
until_works pgbouncer as postgres "$postgres/psql" -h "$work/pgbouncer" -p 16432 -c 'SELECT 1' postgres

nats-server -a 127.0.0.1 -p 14222 -js -sd "$work/nats" >/dev/null 2>&1 &
pids+=($!)
until_works nats-server bash -c 'exec 3<>/dev/tcp/127.0.0.1/14222 && head -c 4 <&3 | grep -q INFO'

# Not Debian's wrapper in /usr/sbin, which becomes the user `rabbitmq` and keeps its files in /var.
install -d "$work/rabbitmq"
env HOME="$work/rabbitmq" RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME=bare@localhost RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
    RABBITMQ_NODE_PORT=15672 RABBITMQ_DIST_PORT=25672 ERL_EPMD_PORT=14369 RABBITMQ_MNESIA_BASE="$work/rabbitmq" \
    RABBITMQ_LOG_BASE="$work/rabbitmq" RABBITMQ_LOGS=- RABBITMQ_PID_FILE="$work/rabbitmq/pid" \
    RABBITMQ_ENABLED_PLUGINS_FILE="$work/rabbitmq/plugins" /usr/lib/rabbitmq/bin/rabbitmq-server >"$work/rabbitmq/out" 2>&1 &
pids+=($!)
until_works RabbitMQ bash -c 'exec 3<>/dev/tcp/127.0.0.1/15672 && printf "AMQP\0\0\11\1" >&3 && head -c 1 <&3 | grep -q .'

sqlite3 "$work/log.db" 'CREATE TABLE t (x); INSERT INTO t VALUES (1)' "VACUUM INTO '$work/backup.db'"
test "$(sqlite3 "$work/backup.db" 'SELECT x FROM t')" = 1
said "sqlite3 takes a backup"

printf 'scrape_configs: []\n' >"$work/prometheus.yml"
promtool check config "$work/prometheus.yml" >/dev/null
prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" --web.listen-address=127.0.0.1:19090 >/dev/null 2>&1 &
pids+=($!)
until_works Prometheus bash -c 'exec 3<>/dev/tcp/127.0.0.1/19090 && printf "GET /-/ready HTTP/1.0\r\n\r\n" >&3 && grep -q " 200 " <&3'

printf '<title>x</title><p id="it">works</p>' >"$work/page.html"
chromium --headless --no-sandbox --disable-gpu --user-data-dir="$work/chromium" --dump-dom "file://$work/page.html" 2>/dev/null | grep -q works
said "Chromium shows a page"

realm=BARE.TEST
printf '[libdefaults]\n default_realm = %s\n dns_lookup_kdc = false\n udp_preference_limit = 1\n[realms]\n %s = {\n  kdc = 127.0.0.1:10088\n }\n' $realm $realm >"$work/krb5.conf"
printf '[kdcdefaults]\n kdc_listen = 127.0.0.1:10088\n kdc_tcp_listen = 127.0.0.1:10088\n[realms]\n %s = {\n  database_name = %s/principal\n  key_stash_file = %s/stash\n }\n' $realm "$work" "$work" >"$work/kdc.conf"
export KRB5_CONFIG="$work/krb5.conf" KRB5_KDC_PROFILE="$work/kdc.conf" KRB5CCNAME="FILE:$work/cc"
kadmin.local -r $realm create -s -P bare >/dev/null 2>&1 || kdb5_util -r $realm create -s -P bare >/dev/null
kadmin.local -q 'addprinc -pw secret somebody' >/dev/null
krb5kdc -n &
pids+=($!)
until_works "the Kerberos KDC" bash -c 'echo secret | kinit somebody'

systemd-analyze --version >/dev/null
said "systemd-analyze is there"
make install BINARY=target/debug/koschei DESTDIR="$work/installed" >/dev/null
"$work/installed/usr/local/bin/koschei" --version
