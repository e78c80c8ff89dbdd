"""Intake: what people and programs hand in becomes packs in the storage and rows in the database.

`accept_upload` is the one way in, for the portal, the API, the command line and the night run. It goes through
`unpacking` (archives to files), `judging` (a file to a picture or a reason), `packing` and `storing` (pictures to a
pack and its rows). Uploads that break off are cleared away by `abandonment`.
"""

from dermabatch.intake.abandonment import Collected, collect_orphans
from dermabatch.intake.acceptance import Acceptance, Submitter, accept_upload
from dermabatch.intake.folders import incoming_files
from dermabatch.intake.incoming import Incoming, IncomingFile, IntakeReason, RefusedFile
from dermabatch.intake.metadata import Metadata, parse_metadata

__all__ = [
    "Acceptance",
    "Collected",
    "Incoming",
    "IncomingFile",
    "IntakeReason",
    "Metadata",
    "RefusedFile",
    "Submitter",
    "accept_upload",
    "collect_orphans",
    "incoming_files",
    "parse_metadata",
]
