"""Classes of the messages that this Koschei publishes on Fedora Messaging under its own topics."""

from .buildroot import BuildrootChangedV1
from .cause import CauseClosedV1, CauseGrewV1, CauseOpenedV1
from .package import PackageChangedV1
from .rebuild import RebuildDecidedV1, RebuildEndedV1, RebuildSubmittedV1

__all__ = [
    "BuildrootChangedV1",
    "CauseClosedV1",
    "CauseGrewV1",
    "CauseOpenedV1",
    "PackageChangedV1",
    "RebuildDecidedV1",
    "RebuildEndedV1",
    "RebuildSubmittedV1",
]
