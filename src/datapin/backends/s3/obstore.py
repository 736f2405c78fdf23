"""S3 by obstore: twenty times less work for each request than botocore, and it starts ten times faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from datapin.backends.backend import StoredObject
from datapin.backends.s3.failures import from_obstore
from datapin.backends.s3.settings import S3Settings
from datapin.backends.s3.wire import Reading

# A request may take as long as bytes keep coming: `read_timeout` watches for silence.
_LONGEST_S = 24 * 3600
_CHUNK_BYTES = 1 << 18
_KEYS_PER_PAGE = 1000


class ObstoreWire:
    """See S3Wire. `keys` gives the credentials of the moment as obstore wants them, None to ask unsigned."""

    def __init__(self, settings: S3Settings, region: str, keys: Callable[[], dict[str, Any]] | None) -> None:
        from obstore.store import S3Store

        client_options: Any = _client_options(settings)
        provider: Any = keys
        with from_obstore():
            self._store = S3Store(
                settings.bucket,
                config={
                    "region": region,
                    "virtual_hosted_style_request": settings.is_virtual_hosted,
                    "skip_signature": keys is None,
                    # Some servers do not know how to delete many at once, and we never do.
                    "disable_bulk_delete": True,
                    "aws_endpoint_url_s3": _endpoint(settings, region),
                },
                client_options=client_options,
                # Trying again is the backend's: only it knows whether a write may have happened.
                retry_config={"max_retries": 0},
                credential_provider=provider,
            )

    def put(self, key: str, source: bytes | Path, *, if_absent: bool = False, if_tag: str = "") -> None:
        """See S3Wire. The whole object is held in memory."""
        import obstore

        data = source.read_bytes() if isinstance(source, Path) else source
        mode: Any = "create" if if_absent else {"e_tag": if_tag} if if_tag else "overwrite"
        with from_obstore():
            obstore.put(self._store, key, data, mode=mode, use_multipart=False)

    def read(self, key: str, offset: int) -> Reading:
        """See S3Wire."""
        import obstore

        with from_obstore():
            got = obstore.get(self._store, key, options={"range": {"offset": offset}} if offset else None)
            return Reading(got.meta["size"], got.meta["e_tag"] or "", _chunks(got))

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See S3Wire. Ten requests are under way at a time."""
        import obstore

        starts, lengths = [offset for offset, _ in ranges], [length for _, length in ranges]
        with from_obstore():
            return [bytes(d) for d in obstore.get_ranges(self._store, key, starts=starts, lengths=lengths, coalesce=0)]

    def pages(self, prefix: str, after: str) -> Iterator[list[StoredObject]]:
        """See S3Wire."""
        import obstore

        with from_obstore():
            found = obstore.list(self._store, prefix or None, offset=after or None, chunk_size=_KEYS_PER_PAGE)
            for page in found:
                yield [_stored(one) for one in page]

    def head(self, key: str) -> tuple[StoredObject, str]:
        """See S3Wire."""
        import obstore

        with from_obstore():
            found = obstore.head(self._store, key)
        return _stored(found), found["e_tag"] or ""

    def delete(self, key: str) -> None:
        """See S3Wire."""
        import obstore

        with from_obstore():
            obstore.delete(self._store, key)


def _chunks(got: Any) -> Iterator[bytes]:
    with from_obstore():
        for chunk in got.stream(min_chunk_size=_CHUNK_BYTES):
            yield bytes(chunk)


def _stored(found: Any) -> StoredObject:
    return StoredObject(found["path"], found["size"], found["last_modified"].timestamp())


def _endpoint(settings: S3Settings, region: str) -> str:
    scheme = "https" if settings.use_ssl else "http"
    amazon = f"{scheme}://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    endpoint = settings.endpoint or amazon
    if settings.is_virtual_hosted:
        scheme, _, host = endpoint.partition("://")
        return f"{scheme}://{settings.bucket}.{host}"
    return endpoint


def _client_options(settings: S3Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "allow_http": True,
        "timeout": timedelta(seconds=_LONGEST_S),
        "connect_timeout": timedelta(seconds=settings.connect_timeout_s),
        "read_timeout": timedelta(seconds=settings.silence_s),
    }
    if settings.ssl_verify is False:
        options["allow_invalid_certificates"] = True
    elif isinstance(settings.ssl_verify, str) and not settings.endpoint.startswith("http://"):
        options["root_certificate"] = Path(settings.ssl_verify).read_bytes()
    return options
