#!/usr/bin/env python3
"""Makes a larger distribution of a given one, to see how cost grows: every package again, under another name.

    benches/duplicate.py SET FACTOR OUT [--sources N]

SET holds two rpm-md repositories, `binary` and `source`, with primary as .zst, .gz or plain, and without file lists that are
needed. OUT gets the same with FACTOR times as many packages; with --sources N only of the first N source packages. In copy
number n every package, provide, requirement, conflict, obsolete, weak dependency, part of a rich dependency and file has `!n`
behind its name, so that copies have nothing to do with each other, and candidates keep their order (`!` sorts before every
character of a package name). Copies stand behind the originals. What is `rpmlib(...)` keeps its name, and the build group stays
that of the originals: a copy's buildroot holds the original base, and of the copied base what the copy needs, so that it is
larger than the original's (298 packages on average instead of 251 when a distribution is doubled).

    benches/duplicate.py data/full 2 /tmp/twice
    koschei resolve --repo /tmp/twice/binary --source /tmp/twice/source --distances --stats --no-texts

Needs the zstd command. Takes half a minute for 63,000 packages.
"""

import argparse
import gzip
import hashlib
import html
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

REPOMD = "{http://linux.duke.edu/metadata/repo}"
PACKAGE = re.compile(r"<package\b.*?</package>\s*", re.S)
NAMES = re.compile(r'(<name>)([^<]*)(?=</name>)|(<rpm:entry name=")([^"]*)(?=")|(<file(?: [^>]*)?>)([^<]*)(?=</file>)')
WORDS = {"and", "or", "if", "else", "unless", "with", "without"}
OPERATOR = re.compile(r"[<=>]+")


def renamed(name, suffix):
    """A name, path or rich dependency of a copy; both as XML has them."""
    if name.startswith("rpmlib("):
        return name
    if not name.startswith("("):
        return name + suffix
    words, version = [], False
    for word in html.unescape(name).split():
        core = word.lstrip("(")
        before = word[: len(word) - len(core)]
        after = ""
        while core.count(")") > core.count("("):
            core, after = core[:-1], ")" + after
        if OPERATOR.fullmatch(core):
            version = True
        elif version:
            version = False
        elif core and core not in WORDS:
            core += suffix
        words.append(before + core + after)
    return html.escape(" ".join(words))


def copy(package, suffix):
    """The text of one package under another name."""
    return NAMES.sub(lambda m: next(g for g in m.groups()[::2] if g is not None) + renamed(m[m.lastindex], suffix), package)


def read(repository):
    """repomd's entries by type, and the text of primary."""
    entries = {}
    for data in ElementTree.parse(os.path.join(repository, "repodata/repomd.xml")).iter(REPOMD + "data"):
        entries[data.get("type")] = os.path.join(repository, data.find(REPOMD + "location").get("href"))
    path = entries["primary"]
    if path.endswith(".zst"):
        data = subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    else:
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as stream:
            data = stream.read()
    return entries, data.decode()


def write(repository, primary, group):
    """A repository with right checksums."""
    directory = os.path.join(repository, "repodata")
    os.makedirs(directory)
    path = os.path.join(directory, "primary.xml.zst")
    subprocess.run(["zstd", "-q", "-3", "-o", path], input=primary, check=True)
    files = [("primary", path, f"<open-size>{len(primary)}</open-size>")]
    if group:
        files.append(("group", shutil.copy(group, os.path.join(directory, "comps.xml")), ""))
    index = '<?xml version="1.0" encoding="UTF-8"?>\n<repomd xmlns="http://linux.duke.edu/metadata/repo">\n'
    for kind, path, size in files:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        href = "repodata/" + os.path.basename(path)
        index += f'<data type="{kind}"><checksum type="sha256">{digest}</checksum><location href="{href}"/>{size}</data>\n'
    with open(os.path.join(directory, "repomd.xml"), "w", encoding="utf-8") as stream:
        stream.write(index + "</repomd>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("set", metavar="SET")
    parser.add_argument("factor", metavar="FACTOR", type=int, help="how many times as many packages, 1 or more")
    parser.add_argument("out", metavar="OUT", help="a directory that does not exist yet")
    parser.add_argument("--sources", metavar="N", type=int, help="only the first N source packages, before they are copied")
    args = parser.parse_args()
    if args.factor < 1:
        parser.error("FACTOR is 1 or more")
    os.makedirs(args.out)
    for part, most in (("binary", None), ("source", args.sources)):
        entries, text = read(os.path.join(args.set, part))
        packages = PACKAGE.findall(text)[:most]
        start = text.index("<package")
        head = re.sub(r' packages="\d+"', f' packages="{len(packages) * args.factor}"', text[:start])
        pieces = [head, *packages]
        for number in range(2, args.factor + 1):
            pieces += [copy(package, f"!{number}") for package in packages]
        primary = "".join(pieces).rstrip() + "\n</metadata>\n"
        write(os.path.join(args.out, part), primary.encode(), entries.get("group"))
        print(f"{os.path.join(args.out, part)}: {len(packages) * args.factor} packages")


if __name__ == "__main__":
    main()
