#!/usr/bin/python3
"""Times hawkey, as the original Koschei uses it, and `koschei resolve` on the same packages, by turns, in one run.

    benches/hawkey.py SET [--rounds N] [--sample N] [--threads N] [--koschei PATH]

SET holds two rpm-md repositories: `binary`, with a group file, and `source`, whose requires are the BuildRequires. Each round
runs every program once in a process of its own:

    hawkey          reads `binary` from XML into an empty cache, then for every source package runs one goal with the build
                    group and the BuildRequires, weak dependencies off, and Koschei's distances where it succeeded. Counted:
                    load + resolve + distances; reading the source repository and starting Python are not.
    koschei two     the whole process, from its start to its end, reading the source repository included; mock's two phases
    koschei joint   the same in one transaction, as hawkey's

With --sample hawkey resolves that many source packages, and its times for them are scaled up to all; koschei always does all.
Printed: medians of wall and of processor time, ratios, peak memory, and koschei's own account of the last round.

Needs Debian's or Fedora's python3-hawkey, which is built for the system's Python: run it with /usr/bin/python3. One core for
hawkey; give koschei an idle machine, or compare processor times.
"""

import argparse
import json
import os
import random
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
import xml.etree.ElementTree as ElementTree

DISTANCE_MAX = 4  # Koschei's limit
REPOMD = "{http://linux.duke.edu/metadata/repo}"


def metadata(repository):
    """Paths of a repository's metadata files, by type."""
    index = os.path.join(repository, "repodata", "repomd.xml")
    found = {"repomd": index}
    for data in ElementTree.parse(index).iter(REPOMD + "data"):
        found[data.get("type")] = os.path.join(repository, data.find(REPOMD + "location").get("href"))
    return found


def load(hawkey, name, repository, arch, cache):
    """A sack with the packages of one repository."""
    files = metadata(repository)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the constructor counts as deprecated, but nothing replaces it here
        repo = hawkey.Repo(name)
    repo.repomd_fn = files["repomd"]
    repo.primary_fn = files["primary"]
    sack = hawkey.Sack(arch=arch, cachedir=cache)
    sack.load_repo(repo)
    return sack


def group_members(path, wanted):
    """Mandatory and default members of a comps group."""
    for group in ElementTree.parse(path).iter("group"):
        if group.findtext("id") == wanted:
            members = group.iter("packagereq")
            return [m.text for m in members if m.get("type", "mandatory") in ("mandatory", "default")]
    raise SystemExit(f"{path} has no group {wanted}")


class Koschei:
    """What Koschei asks hawkey."""

    def __init__(self, hawkey, sack, group):
        self.hawkey, self.sack, self.group = hawkey, sack, group

    def select(self, dependency):
        selector = self.hawkey.Selector(self.sack).set(provides=dependency)
        if dependency.startswith("/") and not selector.matches():
            selector = self.hawkey.Selector(self.sack).set(file=dependency)
        return selector

    def closure(self, requires):
        """The packages to install; None when there is no way."""
        goal = self.hawkey.Goal(self.sack)
        missing = False
        for dependency in self.group + requires:
            selector = self.select(dependency)
            if selector.matches():
                goal.install(select=selector)
            elif dependency in requires and not dependency.startswith("("):
                missing = True
        if not goal.run(ignore_weak_deps=True):
            goal.problem_rules()  # Koschei stores them
            return None
        return None if missing else goal.list_installs()

    def distances(self, requires, closure):
        """Per name in the closure the first level it is on: 1 what matches a BuildRequires, then what that requires, and so on."""
        names = {package.name for package in closure}
        distance, done = {}, set()
        level = {package for dependency in requires for package in self.select(dependency).matches()}
        for number in range(1, DISTANCE_MAX + 1):
            for package in level:
                if package.name in names:
                    distance.setdefault(package.name, number)
            needed = {dependency for package in level - done for dependency in package.requires}
            if number == DISTANCE_MAX or not needed:
                break
            done |= level
            level = set(self.hawkey.Query(self.sack).filter(provides=list(needed)))
        return distance


def hawkey_round(args):
    """The part that runs in a child: one round of hawkey, its times as JSON."""
    import hawkey

    clocks = {"load": [0, 0], "resolve": [0, 0], "distances": [0, 0]}

    def timed(name, call, *arguments):
        wall, cpu = time.perf_counter(), time.process_time()
        result = call(*arguments)
        clocks[name][0] += time.perf_counter() - wall
        clocks[name][1] += time.process_time() - cpu
        return result

    binary = os.path.join(args.set, "binary")
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as source_cache:
        sack = timed("load", load, hawkey, "binary", binary, args.arch, cache)
        group = group_members(metadata(binary)["group"], args.group)
        sources = load(hawkey, "source", os.path.join(args.set, "source"), args.arch, source_cache)
        wanted = [[str(r) for r in package.requires] for package in hawkey.Query(sources)]
        del sources
        total = len(wanted)
        if args.sample and args.sample < total:
            wanted = random.Random(args.seed).sample(wanted, args.sample)
        koschei, resolved = Koschei(hawkey, sack, group), 0
        for requires in wanted:
            closure = timed("resolve", koschei.closure, requires)
            if closure is not None:
                resolved += 1
                timed("distances", koschei.distances, requires, closure)
    scale = total / len(wanted) if wanted else 1
    for name in ("resolve", "distances"):
        clocks[name] = [value * scale for value in clocks[name]]
    result = {"sources": total, "asked": len(wanted), "resolved": resolved, "clocks": clocks, "version": hawkey.VERSION}
    print(json.dumps(result))


def run(command):
    """Runs a child: standard output, standard error, wall and processor seconds, peak memory in MiB."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begin = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read())
    # 5: some source packages do not resolve, as expected.
    if child.returncode not in (0, 5):
        raise SystemExit(f"{shlex.join(command)} ended with {child.returncode}:\n{texts[1]}")
    return *texts, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def koschei_command(args, mode):
    command = [args.koschei, "resolve", "--repo", os.path.join(args.set, "binary")]
    command += ["--source", os.path.join(args.set, "source"), "--arch", args.arch, "--group", args.group]
    command += ["--mode", mode, "--distances", "--threads", str(args.threads), "--stats"]
    return command + (["--no-texts"] if "--no-texts" in run([args.koschei, "resolve", "--help"])[0] else [])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("set", metavar="SET", help="directory with the repositories binary and source")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sample", type=int, metavar="N", help="source packages hawkey resolves; its times are scaled up")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--threads", type=int, default=2, help="koschei's")
    parser.add_argument("--arch", default="x86_64")
    parser.add_argument("--group", default="build")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--koschei", metavar="PATH", default=os.path.join(here, "../target/release/koschei"))
    parser.add_argument("--hawkey-round", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = arguments()
    if args.hawkey_round:
        return hawkey_round(args)
    commands = {mode: koschei_command(args, mode) for mode in ("two", "joint")}
    times = {"hawkey": [], "two": [], "joint": []}  # (wall, processor) seconds
    parts = {"load": [], "resolve": [], "distances": []}
    memory = {name: 0 for name in times}
    counts, account = {}, {}
    for number in range(args.rounds):
        # Isolated: this file's directory is not searched for modules, or it would be taken for the library of the same name.
        out, _, _, _, peak = run([sys.executable, "-I", os.path.abspath(__file__), *sys.argv[1:], "--hawkey-round"])
        hawkey = json.loads(out)
        times["hawkey"].append([sum(clock[i] for clock in hawkey["clocks"].values()) for i in (0, 1)])
        for name, clock in hawkey["clocks"].items():
            parts[name].append(clock[0])
        memory["hawkey"] = max(memory["hawkey"], peak)
        for mode, command in commands.items():
            out, account[mode], wall, processor, peak = run(command)
            times[mode].append((wall, processor))
            memory[mode] = max(memory[mode], peak)
            counts[mode] = [int(re.search(rf"^{word} +(\d+)", out, re.M)[1]) for word in ("Resolved", "Unresolved")]
        shown = ", ".join(f"{name} {runs[-1][0]:.2f} s" for name, runs in times.items())
        print(f"round {number + 1} of {args.rounds}: {shown}", file=sys.stderr)
    median = {name: [statistics.median(run[i] for run in runs) for i in (0, 1)] for name, runs in times.items()}
    asked = hawkey["asked"]
    note = "" if asked == hawkey["sources"] else f"; times of {asked} source packages scaled up to {hawkey['sources']}"
    print(f"{args.set}: {hawkey['sources']} source packages; medians of {args.rounds} rounds by turns, load {os.getloadavg()[0]:.1f}{note}")
    print(f"{'':<14}{'wall s':>10}{'cpu s':>10}{'peak MiB':>10}{'times faster: wall':>20}{'cpu':>8}")
    for name, (wall, cpu) in median.items():
        ratio = "" if name == "hawkey" else f"{median['hawkey'][0] / wall:>20.1f}{median['hawkey'][1] / cpu:>8.1f}"
        title = f"hawkey {hawkey['version']}" if name == "hawkey" else f"koschei {name}"
        print(f"{title:<14}{wall:>10.3f}{cpu:>10.3f}{memory[name]:>10.0f}{ratio}")
    print("hawkey: " + ", ".join(f"{name} {statistics.median(values):.2f} s" for name, values in parts.items()))
    print(f"resolved: hawkey {hawkey['resolved']} of {asked}, " + ", ".join(f"{m} {a} of {a + b}" for m, (a, b) in counts.items()))
    if asked == hawkey["sources"] and any(good != hawkey["resolved"] for good, _ in counts.values()):
        raise SystemExit("they do not agree on what can be resolved: the times cannot be compared")
    for mode, command in commands.items():
        print(f"\n$ {shlex.join(command)}\n{account[mode].rstrip()}")
    print(f"\nrepeat with: {shlex.join([os.path.relpath(__file__), *sys.argv[1:]])}")
    return None


if __name__ == "__main__":
    main()
