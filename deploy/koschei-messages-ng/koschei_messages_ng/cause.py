"""Messages about a cause: an update, or a thing that vanished, that breaks packages."""

from fedora_messaging import message

from .base import KoscheiMessage, block, counted, fields, schema_of

#: Stands for all packages.
EVERYTHING = "*"
#: How `known_by` ends if a source package vanished.
GONE = " is gone"


def blamed(cause):
    """Return the end of a sentence that says what broke something: `, by libfoo-2-1`."""
    known_by = cause["known_by"]
    if cause.get("source"):
        return f", by {cause['source']}"
    if cause["kind"] == "target":
        return f", because {known_by}{GONE}"
    if known_by.endswith(GONE):
        return f", because {known_by}"
    return f", by a change of {known_by}"


def details_of(cause):
    """Return what is known about a cause, as blocks of lines."""
    what = cause.get("what")
    source, was = cause.get("source"), cause.get("was")
    return [
        f"{what}." if what else "",
        fields(
            ("Update", source),
            ("Before" if source else "Removed", was),
            ("Came with repository", cause.get("repo_id")),
        ),
        block("Or, because nothing tells them apart:", cause.get("together", [])),
    ]


class CauseMessage(KoscheiMessage):
    """A message about a cause. Its subclasses have the sentences."""

    #: The sentence if it breaks packages.
    breaks_packages = ""
    #: The sentence if it breaks the build group.
    breaks_group = ""
    #: The sentence if the build target or a tag of it is gone.
    target_gone = ""
    #: How the sentence goes on after saying that something is gone.
    and_that = "and that"
    #: What the packages are that the message names.
    title = ""

    @property
    def packages(self):
        """The packages that the message names."""
        return [name for name in self.body["packages"] if name != EVERYTHING]

    @property
    def summary(self):
        """What the cause breaks, or that it breaks nothing any more."""
        cause, place = self.body["cause"], self.place
        known_by, kind = cause["known_by"], cause["kind"]
        group = f"the build group of {place}"
        if cause.get("source"):
            it = cause["source"]
        elif known_by.endswith(GONE):
            it = f"{known_by}, {self.and_that}"
        elif kind == "group":
            it, group = f"A change of {group}", "it"
        else:
            it = f"A change of {known_by}"
        sentence = {"group": self.breaks_group, "target": self.target_gone}.get(kind, self.breaks_packages)
        packages = counted(self.body["count"], "package", "packages")
        return sentence.format(it=it, group=group, packages=packages, place=place, known_by=known_by)

    def details(self):
        """Return what is known about the cause, and the packages."""
        return [*details_of(self.body["cause"]), block(self.title, self.packages, self.body.get("more", 0))]


class CauseOpenedV1(CauseMessage):
    """A cause was found that breaks several packages."""

    topic = "koschei.cause.opened.v1"
    body_schema = schema_of(topic)
    severity = message.WARNING

    breaks_packages = "{it} breaks {packages} in {place}"
    breaks_group = "{it} breaks {group}, so nothing can be built"
    target_gone = "{known_by} is gone, so nothing in {place} can be built"
    title = "Packages that it breaks:"


class CauseGrewV1(CauseMessage):
    """A cause that was told breaks many more packages."""

    topic = "koschei.cause.grew.v1"
    body_schema = schema_of(topic)
    severity = message.WARNING

    breaks_packages = "{it} now breaks {packages} in {place}"
    breaks_group = "{it} still breaks {group}, so nothing can be built"
    target_gone = "{known_by} is still gone, so nothing in {place} can be built"
    title = "Packages that no message about it named before:"


class CauseClosedV1(CauseMessage):
    """A cause that was told breaks nothing any more."""

    topic = "koschei.cause.closed.v1"
    body_schema = schema_of(topic)
    severity = message.INFO

    breaks_packages = "{it} no longer breaks packages in {place}"
    breaks_group = "{it} no longer breaks {group}"
    target_gone = "{known_by} no longer stops builds in {place}"
    and_that = "but that"
    title = "Packages that messages about it named:"
