"""What each class says."""

import unittest

from koschei_messages_ng import (
    BuildrootChangedV1,
    CauseClosedV1,
    CauseGrewV1,
    CauseOpenedV1,
    PackageChangedV1,
    RebuildDecidedV1,
    RebuildEndedV1,
    RebuildSubmittedV1,
)

from .examples import body


def made(cls, **changes):
    """Return the example of a class with changes, checked."""
    msg = cls(body=body(cls.topic, **changes))
    msg.validate()
    return msg


def cause(kind="resolution", known_by="libfoo-2-1", **more):
    """Return a cause."""
    return {"id": "1", "kind": kind, "known_by": known_by, **more}


#: A cause of each sort.
UPDATE = cause(source="libfoo-2-1")
REMOVED = cause(known_by="libfoo is gone", was="libfoo-1-1")
ITSELF = cause(known_by="the requirements of curl")
GROUP = cause("group", source="libfoo-2-1")
GROUP_REMOVED = cause("group", "libfoo is gone")
GROUP_ITSELF = cause("group", "the build group")
TARGET = cause("target", "tag f99-build")
OTHER = cause("other", source="libfoo-2-1")


class Causes(unittest.TestCase):
    def say(self, cls, expected):
        for of, summary in expected:
            with self.subTest(summary):
                self.assertEqual(made(cls, cause=of, count=2).summary, summary)

    def test_opened(self):
        self.say(CauseOpenedV1, [
            (UPDATE, "libfoo-2-1 breaks 2 packages in Fedora 99"),
            (REMOVED, "libfoo is gone, and that breaks 2 packages in Fedora 99"),
            (ITSELF, "A change of the requirements of curl breaks 2 packages in Fedora 99"),
            (GROUP, "libfoo-2-1 breaks the build group of Fedora 99, so nothing can be built"),
            (GROUP_REMOVED, "libfoo is gone, and that breaks the build group of Fedora 99, so nothing can be built"),
            (GROUP_ITSELF, "A change of the build group of Fedora 99 breaks it, so nothing can be built"),
            (TARGET, "tag f99-build is gone, so nothing in Fedora 99 can be built"),
            (OTHER, "libfoo-2-1 breaks 2 packages in Fedora 99"),
        ])

    def test_grew(self):
        self.say(CauseGrewV1, [
            (UPDATE, "libfoo-2-1 now breaks 2 packages in Fedora 99"),
            (REMOVED, "libfoo is gone, and that now breaks 2 packages in Fedora 99"),
            (ITSELF, "A change of the requirements of curl now breaks 2 packages in Fedora 99"),
            (GROUP, "libfoo-2-1 still breaks the build group of Fedora 99, so nothing can be built"),
            (GROUP_ITSELF, "A change of the build group of Fedora 99 still breaks it, so nothing can be built"),
            (TARGET, "tag f99-build is still gone, so nothing in Fedora 99 can be built"),
        ])

    def test_closed(self):
        self.say(CauseClosedV1, [
            (UPDATE, "libfoo-2-1 no longer breaks packages in Fedora 99"),
            (REMOVED, "libfoo is gone, but that no longer breaks packages in Fedora 99"),
            (ITSELF, "A change of the requirements of curl no longer breaks packages in Fedora 99"),
            (GROUP, "libfoo-2-1 no longer breaks the build group of Fedora 99"),
            (GROUP_REMOVED, "libfoo is gone, but that no longer breaks the build group of Fedora 99"),
            (GROUP_ITSELF, "A change of the build group of Fedora 99 no longer breaks it"),
            (TARGET, "tag f99-build no longer stops builds in Fedora 99"),
        ])

    def test_one_package(self):
        opened = made(CauseOpenedV1, cause=UPDATE, count=1)
        self.assertEqual(opened.summary, "libfoo-2-1 breaks 1 package in Fedora 99")

    def test_braces_in_names_stay(self):
        opened = made(CauseOpenedV1, cause=cause(source="lib{it}-2-1"), collection_name="{place}")
        self.assertEqual(opened.summary, "lib{it}-2-1 breaks 60 packages in {place}")

    def test_all_packages_are_no_package(self):
        self.assertEqual(made(CauseOpenedV1, packages=["*", "curl"]).packages, ["curl"])
        self.assertEqual(made(CauseClosedV1).packages, [])

    def test_text_of_opened(self):
        self.assertEqual(str(made(CauseOpenedV1)), """\
libfoo-2-1.fc99 breaks 60 packages in Fedora 99

libfoo-libs no longer provides libfoo.so.1.

Update: libfoo-2-1.fc99
Before: libfoo-1-4.fc99
Came with repository: 815

Packages that it breaks:
  curl
  wget
  and 58 more

https://koschei.example.org/cause/0c1d2e3f""")

    def test_text_of_grew(self):
        self.assertEqual(str(made(CauseGrewV1)), """\
gcc-99-1.fc99 now breaks 5 packages in Fedora 99

Update: gcc-99-1.fc99
Before: gcc-98-3.fc99
Came with repository: 820

Or, because nothing tells them apart:
  binutils-9-2.fc99

Packages that no message about it named before:
  bash
  zsh

https://koschei.example.org/cause/4a5b6c7d""")

    def test_text_of_closed(self):
        self.assertEqual(str(made(CauseClosedV1, packages=["curl"], cause=REMOVED)), """\
libfoo is gone, but that no longer breaks packages in Fedora 99

Removed: libfoo-1-1

Packages that messages about it named:
  curl

https://koschei.example.org/cause/8e9f0a1b""")

    def test_a_text_names_at_most_20_packages(self):
        names = [f"p{n:02}" for n in range(1, 22)]
        at_most = str(made(CauseOpenedV1, packages=names[:20], more=...))
        self.assertIn("\n  p20\n\nhttps", at_most)
        self.assertIn("\n  p20\n  and 1 more\n\nhttps", str(made(CauseOpenedV1, packages=names, more=...)))
        self.assertIn("\n  p20\n  and 8 more\n\nhttps", str(made(CauseOpenedV1, packages=names, more=7)))


class Packages(unittest.TestCase):
    def test_summaries(self):
        for old, new, of, summary in [
            ("ok", "failing", UPDATE, "curl's builds started to fail in Fedora 99, by libfoo-2-1"),
            ("ok", "failing", ..., "curl's builds started to fail in Fedora 99"),
            ("ok", "failing", None, "curl's builds started to fail in Fedora 99"),
            ("ignored", "failing", ..., "curl's builds started to fail in Fedora 99"),
            ("ok", "unresolved", REMOVED,
             "curl's dependencies failed to resolve in Fedora 99, because libfoo is gone"),
            ("ok", "unresolved", ITSELF,
             "curl's dependencies failed to resolve in Fedora 99, by a change of the requirements of curl"),
            ("ok", "unresolved", GROUP_ITSELF,
             "curl's dependencies failed to resolve in Fedora 99, by a change of the build group"),
            ("ok", "unresolved", TARGET,
             "curl's dependencies failed to resolve in Fedora 99, because tag f99-build is gone"),
            ("failing", "ok", ..., "curl's builds are back to normal in Fedora 99"),
            ("ok", "ignored", ..., "curl is not watched any more in Fedora 99"),
            ("ignored", "ok", ..., "curl is watched again in Fedora 99"),
            ("ok", "paused", ..., "curl has the state paused in Fedora 99"),
        ]:
            with self.subTest(summary):
                msg = made(PackageChangedV1, old=old, new=new, cause=of)
                self.assertEqual((msg.summary, msg.packages), (summary, ["curl"]))

    def test_text(self):
        self.assertEqual(str(made(PackageChangedV1)), """\
curl's dependencies failed to resolve in Fedora 99, by libfoo-2-1.fc99

State: unresolved
Before: ok
Reason: nothing provides libfoo.so.1 needed by curl-libs

libfoo-libs no longer provides libfoo.so.1.

Update: libfoo-2-1.fc99
Before: libfoo-1-4.fc99
Came with repository: 815

https://koschei.example.org/package/curl?collection=f99""")

    def test_text_without_a_cause(self):
        self.assertEqual(str(made(PackageChangedV1, old="failing", new="ok", reason="", cause=..., url=...)), """\
curl's builds are back to normal in Fedora 99

State: ok
Before: failing""")


class Buildroots(unittest.TestCase):
    def test_summaries(self):
        for old, new, summary in [
            ("ok", "unresolved", "The buildroot of Fedora 99 cannot be installed, so nothing can be built"),
            ("unknown", "unresolved", "The buildroot of Fedora 99 cannot be installed, so nothing can be built"),
            ("unresolved", "ok", "The buildroot of Fedora 99 can be installed again"),
            ("unknown", "ok", "The buildroot of Fedora 99 can be installed"),
            ("ok", "paused", "The buildroot of Fedora 99 has the state paused"),
        ]:
            with self.subTest(summary):
                msg = made(BuildrootChangedV1, old=old, new=new)
                self.assertEqual((msg.summary, msg.packages), (summary, []))

    def test_text(self):
        self.assertEqual(str(made(BuildrootChangedV1)), """\
The buildroot of Fedora 99 cannot be installed, so nothing can be built

Repository: 815

Problems:
  nothing provides libc.so.6 needed by bash

https://koschei.example.org/collection/f99""")


class Rebuilds(unittest.TestCase):
    def test_text_of_decided(self):
        msg = made(RebuildDecidedV1)
        self.assertEqual(msg.packages, ["curl"])
        self.assertEqual(str(msg), """\
curl-8.1-1.fc99 will be rebuilt in Fedora 99

Rebuild: 4900
Hub: primary
Target: f99
Repository: 825
Architectures: x86_64, aarch64
Priority: 256

https://koschei.example.org/package/curl?collection=f99""")

    def test_a_priority_of_zero_is_said(self):
        text = str(made(RebuildDecidedV1, repo_id=..., arches=..., priority=0))
        self.assertIn("\nTarget: f99\nPriority: 0\n", text)

    def test_text_of_submitted(self):
        msg = made(RebuildSubmittedV1)
        self.assertEqual(msg.packages, ["curl"])
        self.assertEqual(str(msg), """\
curl is being rebuilt in Fedora 99 (task 123)

Rebuild: 4900
Hub: primary

https://koschei.example.org/package/curl?collection=f99""")

    def test_outcomes(self):
        for outcome, summary in [
            ("ok", "curl was rebuilt in Fedora 99 (task 123)"),
            ("genuine_failure", "The rebuild of curl in Fedora 99 failed (task 123)"),
            ("infrastructure_fault", "The rebuild of curl in Fedora 99 failed because of the build system (task 123)"),
            ("cancelled", "The rebuild of curl in Fedora 99 was cancelled (task 123)"),
            ("timed_out", "The rebuild of curl in Fedora 99 took too long and was given up (task 123)"),
            ("unclear", "The rebuild of curl in Fedora 99 failed, and it is not clear why (task 123)"),
            ("lost", "The rebuild of curl in Fedora 99 ended: lost (task 123)"),
        ]:
            with self.subTest(outcome):
                msg = made(RebuildEndedV1, outcome=outcome)
                self.assertEqual((msg.summary, msg.packages), (summary, ["curl"]))

    def test_outcomes_without_a_task(self):
        for outcome, summary in [
            ("refused", "The rebuild of curl in Fedora 99 was refused by Koji"),
            ("not_submitted", "The rebuild of curl in Fedora 99 was not submitted to Koji"),
        ]:
            with self.subTest(outcome):
                self.assertEqual(made(RebuildEndedV1, outcome=outcome, task_id=...).summary, summary)

    def test_outcomes_of_builds_of_others(self):
        for outcome, summary in [
            ("ok", "curl was built in Fedora 99 (task 123)"),
            ("genuine_failure", "The build of curl in Fedora 99 failed (task 123)"),
        ]:
            with self.subTest(outcome):
                self.assertEqual(made(RebuildEndedV1, outcome=outcome, rebuild=...).summary, summary)

    def test_text_of_ended(self):
        self.assertEqual(str(made(RebuildEndedV1)), """\
The rebuild of curl in Fedora 99 failed (task 123)

Rebuild: 4900
Reason: build.log: error

https://koschei.example.org/package/curl?collection=f99""")
