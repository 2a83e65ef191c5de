#!/usr/bin/env bash
# Installs the missing packages for building (`build`) and testing (`test`), with apt or dnf. For testing it also installs the pinned
# Python packages of tests/requirements.txt from PyPI and the pinned npm packages of tests/asyncapi and tests/oidc. Does nothing if nothing is missing.
# `--list` installs nothing and prints one line for each package: its name in Debian and its name in Fedora.
set -euo pipefail
cd "$(dirname "$0")/.."
list=no
if [ "${1:-}" = --list ]; then
    list=yes
    shift
fi

# --- cargo --------------------------------------------------------------------------------------------------------------
want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
help="install it with:  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh   (then open a new shell)"
if [ $list = no ] && ! command -v cargo >/dev/null; then
    echo "koschei needs cargo $want or newer, and there is none; $help" >&2
    exit 1
fi
have=$(cargo --version 2>/dev/null | awk '{print $2}')
if [ $list = no ] && [ "$(printf '%s\n%s\n' "$want" "${have%%-*}" | sort -V | head -n 1)" != "$want" ]; then
    echo "koschei needs cargo $want or newer, and this is $have." >&2
    if command -v rustup >/dev/null; then
        echo "update it with:  rustup toolchain install $want" >&2
    else
        echo "$help" >&2
    fi
    exit 1
fi

# --- packages -----------------------------------------------------------------------------------------------------------
missing=()
need() { # need CHECK APT-PACKAGE DNF-PACKAGE
    if [ $list = yes ]; then
        echo "$2 $3"
    elif ! eval "$1" >/dev/null 2>&1; then
        if command -v apt-get >/dev/null; then missing+=("$2"); else missing+=("$3"); fi
    fi
}
export PATH="$PATH:/usr/sbin:/usr/local/sbin"
for part in "$@"; do
    case $part in
        build)
            need 'command -v cc' gcc gcc
            need 'command -v make' make make
            need 'command -v pkg-config' pkg-config pkgconf-pkg-config
            need 'command -v pkg-config && pkg-config --exists libsolv' libsolv-dev libsolv-devel
            # OpenSSL: login with a certificate to web servers that ask for it only after the request.
            need 'command -v pkg-config && pkg-config --exists openssl' libssl-dev openssl-devel
            # GSSAPI: login with Kerberos.
            need 'command -v pkg-config && pkg-config --exists krb5-gssapi' libkrb5-dev krb5-devel
            ;;
        test)
            need 'ls /usr/lib/postgresql/*/bin/postgres || command -v postgres' postgresql postgresql-server
            need 'command -v pgbouncer' pgbouncer pgbouncer
            # Tests back up SQLite logs with its command.
            need 'command -v sqlite3' sqlite3 sqlite
            need 'command -v nats-server' nats-server nats-server
            need 'command -v rabbitmq-server' rabbitmq-server rabbitmq-server
            need 'command -v prometheus' prometheus golang-github-prometheus
            need 'command -v chromium || command -v chromium-browser' chromium chromium
            need 'command -v systemd-analyze' systemd systemd
            need 'command -v krb5kdc' krb5-kdc krb5-server
            need 'command -v kadmin.local' krb5-admin-server krb5-server
            need 'command -v kinit' krb5-user krb5-workstation
            need 'command -v openssl' openssl openssl
            need 'python3 -c "import venv, ensurepip"' python3-venv python3
            # The official koji client and Fedora Messaging come from PyPI; pip compiles the module for GSSAPI.
            need "python3 -c 'import os, sysconfig; assert os.path.exists(sysconfig.get_path(\"include\") + \"/Python.h\")'" python3-dev python3-devel
            # AsyncAPI's own parser comes from npm.
            need 'command -v node' nodejs nodejs
            need 'command -v npm' npm nodejs-npm
            ;;
        *)
            echo "usage: $0 [build] [test]" >&2
            exit 2
            ;;
    esac
done
[ $list = no ] || exit 0

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
if [ ${#missing[@]} = 0 ]; then
    :
elif command -v apt-get >/dev/null; then
    echo "Installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${sudo[@]}" apt-get update -qq
    # The output of apt-get is long and only useful if it fails.
    log=$(mktemp)
    if ! "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        exit 1
    fi
    rm -f "$log"
elif command -v dnf >/dev/null; then
    echo "Installing ${missing[*]}"
    "${sudo[@]}" dnf install -y -q "${missing[@]}"
else
    echo "neither apt nor dnf is here; install by hand: ${missing[*]}" >&2
    exit 1
fi

# --- Python packages ------------------------------------------------------------------------------------------------------
case " $* " in
    *" test "*)
        venv=${CARGO_TARGET_DIR:-target}/koji-client
        if ! cmp -s tests/requirements.txt "$venv/requirements.txt"; then
            echo "Installing the koji client and Fedora Messaging into $venv"
            rm -rf "$venv"
            python3 -m venv "$venv"
            "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement tests/requirements.txt
            cp tests/requirements.txt "$venv/requirements.txt"
        fi
        # Our own package of message classes. Tests use its code from here; installed, it has the entry points.
        own=deploy/koschei-messages-ng
        if ! cmp -s "$own/pyproject.toml" "$venv/koschei-messages-ng.toml"; then
            # pip would build in the source tree.
            copy=$(mktemp -d)
            cp -r "$own" "$copy/"
            "$venv/bin/pip" install --quiet --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall \
                "$copy/koschei-messages-ng"
            rm -rf "$copy"
            cp "$own/pyproject.toml" "$venv/koschei-messages-ng.toml"
        fi
        ;;
esac

# --- npm packages ---------------------------------------------------------------------------------------------------------
case " $* " in
    *" test "*)
        # AsyncAPI's parser, and a provider of logins by OpenID Connect.
        for needed in asyncapi oidc; do
            into=${CARGO_TARGET_DIR:-target}/$needed
            # The lock is copied last: with it there, everything is installed.
            if ! cmp -s "tests/$needed/package.json" "$into/package.json" || ! cmp -s "tests/$needed/package-lock.json" "$into/installed.json"; then
                echo "Installing the npm packages of tests/$needed into $into"
                mkdir -p "$into"
                rm -f "$into/installed.json"
                cp "tests/$needed/package.json" "tests/$needed/package-lock.json" "$into/"
                # No package needs its install script; the only one reports to its author.
                npm ci --prefix "$into" --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
                cp "tests/$needed/package-lock.json" "$into/installed.json"
            fi
        done
        ;;
esac
