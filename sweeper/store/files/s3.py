"""The files of a store in Amazon S3, or in what speaks its language: MinIO, Ceph, R2."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit

from sweeper.errors import RequestError
from sweeper.store.files.objects import ObjectFiles, split_place

OPTIONS = {
    "endpoint_override": "URL of a server other than Amazon's, such as http://minio:9000",
    "scheme": "http or https, where the endpoint does not say",
    "region": "region of the bucket",
    "anonymous": "true for a public bucket, read without credentials",
}
"""What a URL may say after its question mark."""

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Variables that name the endpoint where the URL does not."""

CONNECT_SECONDS, REQUEST_SECONDS = 10.0, 60.0
"""How long a server may take to accept a connection, and to answer."""


class S3Files(ObjectFiles):
    """The files under a prefix of a bucket of S3."""

    scheme: ClassVar[str] = "s3"

    def connect(self, *, small: bool) -> Any:
        """Returns pyarrow's client, with the credentials that AWS's rules find in the environment
        of this process: variables, a profile, the role of a machine or container.

        Args:
            small: a file is sent in one request, in place of three. For a larger one pyarrow would
                then leave an empty object behind where it cannot begin its upload.
        """
        from pyarrow import fs  # imported here: the database alone does without it

        given: dict[str, Any] = dict(self.options)
        if "anonymous" in given:
            given["anonymous"] = given["anonymous"] == "true"
        return fs.S3FileSystem(
            connect_timeout=CONNECT_SECONDS,
            request_timeout=REQUEST_SECONDS,
            allow_delayed_open=small,
            background_writes=True,  # or pyarrow would end an upload that lacks a part
            **given,
        )


def open_place(place: str, environ: Mapping[str, str] = os.environ) -> S3Files:
    """Returns the files at ``s3://BUCKET/PREFIX``, which may have options (:data:`OPTIONS`).

    Raises:
        RequestError: the URL cannot be read.
    """
    root, options = split_place(place, OPTIONS)
    named = (environ.get(name) for name in ENDPOINTS)
    endpoint = options.pop("endpoint_override", None) or next(filter(None, named), None)
    if endpoint:
        url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        if "@" in url.netloc or not url.netloc or url.path.strip("/") or url.query:
            raise RequestError(
                "SWEEPER_FILES: the endpoint has to be the URL of a server alone, such as "
                "http://minio:9000, without user, password or path"
            )
        options["endpoint_override"] = url.netloc
        options.setdefault("scheme", url.scheme or "https")
    if options.get("scheme", "https") not in ("http", "https"):
        raise RequestError("SWEEPER_FILES: the endpoint's scheme has to be http or https")
    if options.get("anonymous", "false") not in ("true", "false"):
        raise RequestError("SWEEPER_FILES: anonymous has to be true or false")
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region or endpoint:
        region = region or "us-east-1"  # or a machine's metadata would be asked, in vain
        options.setdefault("region", region)
    return S3Files(root, tuple(sorted(options.items())))
