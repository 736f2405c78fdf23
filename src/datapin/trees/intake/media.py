"""What a key says about its file: media type by extension, label and split by folder. Vectorised over keys."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

UNKNOWN_MEDIA_TYPE = "application/octet-stream"

# Our own table: the standard library's reads the machine's /etc/mime.types, so it differs from one to the next.
MEDIA_TYPES = {
    "apng": "image/png",
    "avif": "image/avif",
    "avifs": "image/avif",
    "bmp": "image/bmp",
    "cur": "image/vnd.microsoft.icon",
    "dds": "image/vnd.ms-dds",
    "dib": "image/bmp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "ico": "image/vnd.microsoft.icon",
    "j2c": "image/jp2",
    "j2k": "image/jp2",
    "jfif": "image/jpeg",
    "jp2": "image/jp2",
    "jpc": "image/jp2",
    "jpe": "image/jpeg",
    "jpeg": "image/jpeg",
    "jpf": "image/jp2",
    "jpg": "image/jpeg",
    "jpx": "image/jp2",
    "jxl": "image/jxl",
    "mpo": "image/jpeg",
    "pbm": "image/x-portable-bitmap",
    "pcx": "image/x-pcx",
    "pfm": "image/x-portable-floatmap",
    "pgm": "image/x-portable-graymap",
    "png": "image/png",
    "pnm": "image/x-portable-anymap",
    "ppm": "image/x-portable-pixmap",
    "psd": "image/vnd.adobe.photoshop",
    "qoi": "image/qoi",
    "ras": "image/x-sun-raster",
    "sgi": "image/x-sgi",
    "svg": "image/svg+xml",
    "tga": "image/x-tga",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "webp": "image/webp",
    "xbm": "image/x-xbitmap",
    "xpm": "image/x-xpixmap",
    "aac": "audio/aac",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mid": "audio/midi",
    "mp3": "audio/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "avi": "video/x-msvideo",
    "mkv": "video/matroska",
    "mov": "video/quicktime",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "webm": "video/webm",
    "css": "text/css",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "log": "text/plain",
    "md": "text/markdown",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "arrow": "application/vnd.apache.arrow.file",
    "dcm": "application/dicom",
    "geojson": "application/geo+json",
    "gz": "application/gzip",
    "h5": "application/x-hdf5",
    "hdf5": "application/x-hdf5",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "ndjson": "application/jsonl",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "tar": "application/x-tar",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
    "zst": "application/zstd",
}


def media_types(keys: pa.StringArray) -> pa.DictionaryArray:
    """The media type of each key by its extension, in any case; a dictionary column."""
    names = _last_part(keys, "/")
    extensions = pc.if_else(pc.match_substring(names, "."), pc.ascii_lower(_last_part(names, ".")), "")
    encoded = extensions.dictionary_encode()
    types = [MEDIA_TYPES.get(extension, UNKNOWN_MEDIA_TYPE) for extension in encoded.dictionary.to_pylist()]
    distinct = sorted(set(types))
    place = pa.array([distinct.index(kind) for kind in types], pa.int32())
    return pa.DictionaryArray.from_arrays(place.take(encoded.indices), pa.array(distinct, pa.string()))


def label_from_parent(keys: pa.StringArray) -> pa.StringArray:
    """The folder that holds each file: `b` for `a/b/c.png`; null for a file that lies in no folder."""
    folders = pc.replace_substring_regex(keys, pattern="/?[^/]*$", replacement="")
    return pc.if_else(pc.match_substring(keys, "/"), _last_part(folders, "/"), pa.scalar(None, pa.string()))


def split_from_first_folder(keys: pa.StringArray) -> pa.StringArray:
    """The first folder of each key, as it is: `train` for `train/a/b.png`; null for a file that lies in no folder."""
    first = pc.replace_substring_regex(keys, pattern="/.*$", replacement="")
    return pc.if_else(pc.match_substring(keys, "/"), first, pa.scalar(None, pa.string()))


def _last_part(texts: pa.StringArray, separator: str) -> pa.StringArray:
    """What follows the last `separator` of each text, or the whole text."""
    parts = pc.split_pattern(texts, separator, max_splits=1, reverse=True)
    return parts.values.take(pc.subtract(parts.offsets[1:], 1))
