#!/usr/bin/env bash
# Proves the install step where nothing is left over: makes a bare Debian 12 root in a temporary folder and runs inside.sh in it, on the
# tracked files of this checkout as they are now. It needs root, and is the one test that talks to package registries.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ]; then
    echo "make test-bare needs root: it makes a Debian root directory and changes into it." >&2
    exit 1
fi
if [ "${1:-}" != --in-own-namespace ]; then
    if ! command -v mmdebstrap >/dev/null; then
        command -v apt-get >/dev/null || { echo "make test-bare needs mmdebstrap, and this system has no apt to install it with." >&2; exit 1; }
        DEBIAN_FRONTEND=noninteractive apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
    fi
    root=$(mktemp -d "${TMPDIR:-/tmp}/koschei-bare.XXXXXX")
    # What is mounted in it is so only in a namespace that ends before this: only the root's own files are removed.
    trap 'rm -rf --one-file-system "$root"' EXIT
    unshare --mount --propagation private -- "$0" --in-own-namespace "$root"
    exit
fi
root=$2

cargo=$(command -v cargo) || { echo "make test-bare needs cargo." >&2; exit 1; }
sysroot=$(rustc --print sysroot)
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
start=$(date +%s)
said() { printf '%5d s  %s\n' $(($(date +%s) - start)) "$1"; }
said "making a bare Debian 12 root in $root"
# The machine's own apt configuration: its sources, proxies and keys.
sources=()
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -s "$file" ] && sources+=("$file")
done
options=()
for file in /etc/apt/apt.conf /etc/apt/apt.conf.d/*; do
    # What hooks into dpkg or debconf of this machine has nothing to do with where packages come from.
    [ -f "$file" ] && grep -q '^ *Acquire' "$file" && options+=(--aptopt="$file")
done
mmdebstrap --quiet --variant=minbase --mode=root "${options[@]}" bookworm "$root" "${sources[@]}"

mkdir -p "$root/koschei" "$root/opt/rust" "$root/usr/sbin"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
mount --bind "$sysroot" "$root/opt/rust"
mount -o remount,bind,ro "$root/opt/rust"
# Not where the package ca-certificates puts its own, which comes with what tests need: its installation replaces that file.
touch "$root/opt/certificates.crt"
mount --bind "$certificates" "$root/opt/certificates.crt"
mount -o remount,bind,ro "$root/opt/certificates.crt"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    [ -e "$file" ] && cp --dereference "$file" "$root$file"
done
for file in config config.toml; do
    if [ -f "${CARGO_HOME:-$HOME/.cargo}/$file" ]; then
        mkdir -p "$root/root/.cargo"
        cp "${CARGO_HOME:-$HOME/.cargo}/$file" "$root/root/.cargo/"
    fi
done
git ls-files -z | tar --create --null --files-from=- | tar --extract --directory="$root/koschei"
# The directory of the toolchain is a plain one here, without rustup's choice between several.
rm -f "$root/koschei/rust-toolchain.toml"

said "in it: install step, make demo, a start of every server"
proxies=()
for name in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY no_proxy NO_PROXY; do
    [ -n "${!name:-}" ] && proxies+=("$name=${!name}")
done
env --ignore-environment "${proxies[@]}" PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    LANG=C.UTF-8 SSL_CERT_FILE=/opt/certificates.crt PIP_CERT=/opt/certificates.crt NODE_EXTRA_CA_CERTS=/opt/certificates.crt CARGO_HTTP_CAINFO=/opt/certificates.crt KOSCHEI_BARE_START="$start" \
    chroot "$root" /bin/bash /koschei/tests/bare/inside.sh
said "done: both commands of the README have what they need on a bare Debian 12"
