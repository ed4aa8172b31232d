"""The files of a store in Google Cloud Storage."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from sweeper.errors import RequestError
from sweeper.store.files.objects import ObjectFiles, split_place

OPTIONS = {
    "endpoint_override": "host and port of a server other than Google's, such as an emulator",
    "scheme": "http or https, of that server",
    "anonymous": "true for a public bucket, read without credentials",
}
"""What a URL may say after its question mark."""

RETRY_SECONDS = 10
"""How long the client tries again by itself."""


class GoogleFiles(ObjectFiles):
    """The files under a prefix of a bucket of Google Cloud Storage."""

    scheme: ClassVar[str] = "gs"

    def connect(self, *, small: bool) -> Any:
        """Returns pyarrow's client, with Google's default credentials of this process:
        GOOGLE_APPLICATION_CREDENTIALS, ``gcloud auth``, or the machine's account."""
        from pyarrow import fs  # imported here: the database alone does without it

        given: dict[str, Any] = dict(self.options)
        given["anonymous"] = given.get("anonymous") == "true"
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=RETRY_SECONDS), **given)


def open_place(place: str) -> GoogleFiles:
    """Returns the files at ``gs://BUCKET/PREFIX``, which may have options (:data:`OPTIONS`).

    Raises:
        RequestError: the URL cannot be read.
    """
    root, options = split_place(place, OPTIONS)
    if options.get("scheme", "https") not in ("http", "https"):
        raise RequestError("SWEEPER_FILES: the endpoint's scheme has to be http or https")
    if options.get("anonymous", "false") not in ("true", "false"):
        raise RequestError("SWEEPER_FILES: anonymous has to be true or false")
    return GoogleFiles(root, tuple(sorted(options.items())))
