"""Messages about rebuilds: builds for a test, whose result is thrown away."""

from fedora_messaging import message

from .base import KoscheiMessage, fields, schema_of

SENTENCES = {
    "genuine_failure": "{build} failed",
    "infrastructure_fault": "{build} failed because of the build system",
    "cancelled": "{build} was cancelled",
    "timed_out": "{build} took too long and was given up",
    "unclear": "{build} failed, and it is not clear why",
    "refused": "{build} was refused by Koji",
    "not_submitted": "{build} was not submitted to Koji",
}


class RebuildMessage(KoscheiMessage):
    """A message about a rebuild."""

    severity = message.DEBUG

    @property
    def packages(self):
        """The package."""
        return [self.body["package"]]

    @property
    def task(self):
        """The task in brackets, after a space. Empty if there is none."""
        task = self.body.get("task_id")
        return "" if task is None else f" (task {task})"


class RebuildDecidedV1(RebuildMessage):
    """A rebuild was decided."""

    topic = "koschei.rebuild.decided.v1"
    body_schema = schema_of(topic)

    @property
    def summary(self):
        """What will be rebuilt."""
        return f"{self.body['nvr']} will be rebuilt in {self.place}"

    def details(self):
        """Return how it will be built."""
        body = self.body
        return [
            fields(
                ("Rebuild", body["rebuild"]),
                ("Hub", body["hub"]),
                ("Target", body["target"]),
                ("Repository", body.get("repo_id")),
                ("Architectures", ", ".join(body.get("arches", []))),
                ("Priority", body["priority"]),
            )
        ]


class RebuildSubmittedV1(RebuildMessage):
    """A rebuild became a task of a hub."""

    topic = "koschei.rebuild.submitted.v1"
    body_schema = schema_of(topic)

    @property
    def summary(self):
        """What is being rebuilt."""
        return f"{self.body['package']} is being rebuilt in {self.place}{self.task}"

    def details(self):
        """Return where it is built."""
        return [fields(("Rebuild", self.body["rebuild"]), ("Hub", self.body["hub"]))]


class RebuildEndedV1(RebuildMessage):
    """A rebuild ended, or never began. A build that others requested counts, too."""

    topic = "koschei.rebuild.ended.v1"
    body_schema = schema_of(topic)

    @property
    def summary(self):
        """How it ended."""
        package, place, outcome = self.body["package"], self.place, self.body["outcome"]
        ours = self.body.get("rebuild") is not None
        if outcome == "ok":
            return f"{package} was {'rebuilt' if ours else 'built'} in {place}{self.task}"
        build = f"The {'rebuild' if ours else 'build'} of {package} in {place}"
        sentence = SENTENCES.get(outcome, "{build} ended: {outcome}")
        return sentence.format(build=build, outcome=outcome) + self.task

    def details(self):
        """Return the rebuild's number and the reason."""
        return [fields(("Rebuild", self.body.get("rebuild")), ("Reason", self.body["reason"]))]
