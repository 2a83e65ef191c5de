"""Tests of the message classes."""

import logging

# The library warns about each invalid body. Tests make many of them.
logging.getLogger("fedora_messaging").addHandler(logging.NullHandler())
