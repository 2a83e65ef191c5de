#!/usr/bin/env python3
"""Measures how soon pages answer, with 144,000 packages, and what that costs; two programs alternately if one is given.

    benches/pages.py /tmp/pages.db                                     # the program in target/release
    benches/pages.py /tmp/pages.db --against old/target/release/koschei   # and an older one beside it

If the log does not exist, `cargo bench --bench koschei -- --make` writes it first: five million events, six collections of
24,000 packages. Then `koschei web` serves it, and hey (Debian package hey) asks: one client as fast as it can, then many at a
fixed rate. Each case asks for several addresses, side by side. Every answer must be 200. Times are of whole answers, in
milliseconds. CPU is that of the server, in milliseconds for each answer.
"""

import argparse
import csv
import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
# Queries of lists; C stands for a collection.
PACKAGES = ["", "collection=C", "order=priority&collection=C", "q=12&state=ok,unknown,failing"]
LISTED = ["json=1", "collection=C&json=1", "order=-built&rows=20&page=2&json=1", "q=1&json=1"]


class Web:
    """A process that serves the log."""

    def __init__(self, program, log):
        self.child = subprocess.Popen([program, "web", "--db", log, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True)
        self.at = None
        for line in self.child.stderr:
            if found := re.search(r"http://[0-9.:]+", line):
                self.at = found[0]
            if "events are folded" in line:
                break
        if self.at is None:
            raise SystemExit(f"{program} did not start")

    def get(self, path):
        with urllib.request.urlopen(self.at + path) as answer:
            return answer.read()

    def cpu(self):
        """Seconds of user and system time so far."""
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def ask(self, paths, rate, seconds):
        """Times of all answers in seconds, and CPU for each. Without a rate one client asks for one address after another."""
        before = self.cpu()
        commands = [["hey", "-o", "csv", "-z", f"{seconds / (1 if rate else len(paths)):.1f}s"] for _ in paths]
        for command, path in zip(commands, paths):
            # hey's rate is for each of its clients.
            clients = max(1, rate // 10 // len(paths))
            command += ["-c", str(clients), "-q", str(rate / len(paths) / clients)] if rate else ["-c", "1"]
            command.append(self.at + path)
        times = []
        if rate:
            running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
            outputs = [process.communicate()[0] for process in running]
        else:
            outputs = [subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout for command in commands]
        for output in outputs:
            for row in csv.DictReader(io.StringIO(output)):
                if row["status-code"] != "200":
                    raise SystemExit(f"{paths}: an answer is {row['status-code']}")
                times.append(float(row["response-time"]))
        if not times:
            raise SystemExit(f"{paths}: no answer")
        return sorted(times), (self.cpu() - before) / len(times)

    def stop(self):
        self.child.terminate()
        self.child.wait()


def measure(program, log, seconds):
    """A row for each case: its name, p50, p99, CPU (milliseconds), and the rate that was reached."""
    web = Web(program, log)
    try:
        one = json.loads(web.get("/?json=1"))["collections"][0]["collection"]
        listed = json.loads(web.get(f"/packages?collection={one}&order=name&rows=1000&json=1"))["packages"]
        package = [f"/package/{p['package']}?collection={one}" for p in listed[:: max(1, len(listed) // 5)][:5]]
        lists = ["/packages?" + query.replace("C", one, 1) for query in PACKAGES]
        as_json = ["/packages?" + query.replace("C", one, 1) for query in LISTED]
        cases = [
            ("/package/X, one client", package, 0),
            ("/package/X, 500/s", package, 500),
            ("/package/X?json=1, one client", [p + "&json=1" for p in package], 0),
            ("/packages, one client", lists, 0),
            ("/packages, 100/s", lists, 100),
            ("/packages?json=1, one client", as_json, 0),
            ("/, one client", ["/"], 0),
        ]
        for name, paths, rate in cases:
            times, cpu = web.ask(paths, rate, seconds)
            at = lambda share: times[min(len(times) - 1, int(share * len(times)))] * 1e3
            yield name, at(0.5), at(0.99), cpu * 1e3, len(times) / seconds
    finally:
        web.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", help="a log in SQLite; made if it does not exist")
    parser.add_argument("--program", default=os.path.join(HERE, "../target/release/koschei"), help="what to measure")
    parser.add_argument("--against", help="another program, measured alternately")
    parser.add_argument("--against-log", help="its copy of the log, if it cannot read the other, or that needs a migration")
    parser.add_argument("--events", type=int, default=5_000_000, help="length of a log that is made")
    parser.add_argument("--seconds", type=float, default=10, help="how long each case asks")
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()
    if not os.path.exists(args.log):
        made = os.path.abspath(args.log)
        command = ["cargo", "bench", "--bench", "koschei", "--", "--events", str(args.events), "--make", made]
        subprocess.run(command, cwd=HERE, check=True)
    programs = [("new", args.program, args.log)]
    if args.against:
        programs.insert(0, ("old", args.against, args.against_log or args.log))
    print(f"{'':5} {'':32} {'p50 ms':>9} {'p99 ms':>9} {'CPU ms':>9} {'per s':>8}   load {os.getloadavg()[0]:.1f}")
    for _ in range(args.rounds):
        for which, program, log in programs:
            for name, p50, p99, cpu, rate in measure(program, log, args.seconds):
                print(f"{which:5} {name:32} {p50:9.2f} {p99:9.2f} {cpu:9.2f} {rate:8.0f}")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
