"""Names of what systems, viewers and editors leave beside people's files. Free of imports: the walkers use it.

Names are compared in small letters. What Git, DVC and we ourselves need is left out by other lists, without a word.
"""

from __future__ import annotations

FOLDERS = frozenset(
    {
        # Jupyter, Python and editors
        *(b".ipynb_checkpoints", b".virtual_documents", b"__pycache__", b".pytest_cache", b".mypy_cache"),
        *(b".ruff_cache", b".cache", b".idea", b".vscode", b".svn", b".hg", b".bzr"),
        # macOS, and what its archives and file servers hold
        *(b"__macosx", b".trashes", b".trash", b".spotlight-v100", b".fseventsd", b".temporaryitems"),
        *(b"temporary items", b".documentrevisions-v100", b".appledouble", b".appledb", b".appledesktop"),
        b"network trash folder",
        # Windows
        *(b"$recycle.bin", b"recycler", b"recycled", b"system volume information"),
        # Linux desktops and file systems
        *(b".thumbnails", b".xvpics", b"lost+found", b".snapshot", b".snapshots"),
        # network storage, synchronisation, viewers
        *(b"@eadir", b"#recycle", b"@recycle", b"#snapshot", b"~snapshot", b".@__thumb", b"@tmp"),
        *(b".synologyworkingdirectory", b".dropbox.cache", b".stfolder", b".stversions", b".sync"),
        *(b".tmp.drivedownload", b".tmp.driveupload", b".picasaoriginals"),
    }
)
FILES = frozenset(
    {
        *(b".ds_store", b".localized", b"icon\r", b".apdisk", b".volumeicon.icns", b".lsoverride"),
        b".com.apple.timemachine.donotpresent",
        *(b"thumbs.db", b"ehthumbs.db", b"ehthumbs_vista.db", b"desktop.ini", b"thumbs.db:encryptable"),
        *(b".directory", b".nomedia", b".dropbox", b".dropbox.attr", b".picasa.ini", b"picasa.ini"),
        *(b".bridgesort", b".bridgecache", b".bridgecachet", b"zbthumbnail.info"),
    }
)
_FOLDER_PREFIX = b".trash-"  # and a user's number: the trash of a Linux desktop
_FILE_PREFIXES = (b"._", b".fuse_hidden", b".nfs0", b".~lock.", b"~$")  # the first: AppleDouble
_FILE_SUFFIX = b":zone.identifier"  # that a file was downloaded, as Windows notes it
# By these bytes most names are known to be data, at a quarter of the cost: a walk asks a million times.
FIRST_BYTES = frozenset(b".~")
LAST_BYTES = frozenset(b"bBiIoOrReE\r")


def is_tool_folder(name: bytes) -> bool:
    """Whether a folder of this name is a tool's."""
    small = name.lower()
    return small in FOLDERS or small.startswith(_FOLDER_PREFIX)


def tool_file(name: bytes) -> bytes | None:
    """What to call a tool's file of this name when they are counted; None if it is data.

    It is if neither its first nor its last byte is in the sets above: the caller need not ask then.
    """
    small = name.lower()
    if small in FILES:
        return name
    if small.startswith(_FILE_PREFIXES):
        return next(prefix for prefix in _FILE_PREFIXES if small.startswith(prefix)) + b"*"
    return b"*" + _FILE_SUFFIX if small.endswith(_FILE_SUFFIX) else None
