"""What all messages have in common."""

import json
from importlib import resources

from fedora_messaging import message

#: Most lines of one list in a text.
LINES_MAX = 20


def schema_of(topic):
    """Return the JSON Schema of a topic's body. The program makes it from its own types."""
    file = resources.files(__package__) / "schemas" / f"{topic}.schema.json"
    return json.loads(file.read_text(encoding="utf-8"))


def counted(number, one, many):
    """Return a number with its noun in the right form."""
    return f"{number} {one if number == 1 else many}"


def block(title, lines, more=0):
    """Return a title with lines below it. `more` is the number of lines that the message leaves out.

    Without lines there is no title, either.
    """
    shown = lines[:LINES_MAX]
    left = len(lines) - len(shown) + more
    rest = [f"and {left} more"] if left else []
    return "\n".join([title, *(f"  {line}" for line in shown + rest)]) if shown else ""


def fields(*pairs):
    """Return one line for each pair of a title and a value. Values that are absent are left out."""
    return "\n".join(f"{title}: {value}" for title, value in pairs if value is not None and value != "")


class KoscheiMessage(message.Message):
    """A message of this Koschei.

    Each class has `details()`. It returns what the text says after the summary: blocks of lines, some
    of them empty.

    A body may have fields that this version of the package does not know. A word for a state or an
    outcome may be new, too. Then the texts repeat the word.
    """

    @property
    def app_name(self):
        """The name of the program."""
        return "koschei"

    @property
    def url(self):
        """The page that shows it. `None` if the program does not know its own address."""
        return self.body.get("url")

    @property
    def usernames(self):
        """The owners of the packages."""
        return sorted(self.body.get("usernames", []))

    @property
    def place(self):
        """The collection's name for people."""
        return self.body["collection_name"]

    def __str__(self):
        """Return the whole message as text."""
        blocks = [self.summary, *self.details(), self.url]
        return "\n\n".join(part for part in blocks if part)
