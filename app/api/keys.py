"""The keys of the service. A key file is read again every second, so that keys change without a restart."""

import codecs
import hmac
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from app.settings import Settings
from models.errors import InklingError
from models.fs import read_regular

MAX_KEYS = 16
SHORT_BYTES, MAX_BYTES = 16, 256
READ_SECONDS = 1
_MAX_FILE_BYTES = 16_384

log = logging.getLogger(__name__)


class BadKey(InklingError):
    """The settings name no usable key. The message shows none."""


class Keys:
    """The keys that open the protected calls; none if none is set, and then nothing opens them.

    It keeps digests: they take equally long to compare, whatever was sent, and nothing that prints them reveals a key.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises BadKey."""
        self._settings = settings
        self._refused: str | None = None
        self._take(read(settings))

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def file(self) -> Path | None:
        return self._settings.api_key_file

    def match(self, given: Iterable[bytes]) -> bool:
        """Whether one of the given values is a key. Each is compared with every key, so that time tells nothing."""
        digests = [sha256(value).digest() for value in given]
        return sum(hmac.compare_digest(digest, key) for digest in digests for key in self._digests) > 0

    def refresh(self) -> bool:
        """Reads the keys again; returns whether they have changed.

        Raises BadKey if they are not usable any more, once for each reason: the last good keys stay.
        """
        try:
            keys = read(self._settings)
        except BadKey as error:
            if str(error) == self._refused:
                return False
            self._refused = str(error)
            raise
        before = self._digests
        self._refused = None
        self._take(keys)
        return self._digests != before

    def warn_of_short_ones(self) -> None:
        if self._short:
            log.warning(
                "%d of %d keys are shorter than %d bytes and may be guessed; `openssl rand -hex 16` makes a good one",
                self._short,
                len(self),
                SHORT_BYTES,
            )

    def _take(self, keys: list[bytes]) -> None:
        self._digests = [sha256(key).digest() for key in keys]
        self._short = sum(len(key) < SHORT_BYTES for key in keys)


@contextmanager
def refreshing(keys: Keys, *, logged: bool) -> Iterator[None]:
    """Reads a key file again every second, in a thread, since its file system may hang.

    logged: whether to log changes. One process of a service does, on behalf of all.
    """
    over = threading.Event()

    def refresh() -> None:
        while not over.wait(READ_SECONDS):
            try:
                changed = keys.refresh()
            except BadKey as error:
                if logged:
                    log.error("%s; the last good keys stay", error)
            else:
                if changed and logged:
                    log.info("the key file has changed; keys: %d", len(keys))
                    keys.warn_of_short_ones()

    if keys.file is not None:
        threading.Thread(target=refresh, name="key-file", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def read(settings: Settings) -> list[bytes]:
    """The keys from INKLING_API_KEY or the key file; empty if neither is set. Raises BadKey."""
    given = settings.api_key.get_secret_value().strip() if settings.api_key else ""
    if settings.api_key_file is None:
        return [_checked(given.encode(errors="surrogateescape"), "INKLING_API_KEY")] if given else []
    if given:
        raise BadKey("INKLING_API_KEY and INKLING_API_KEY_FILE are both set; unset one of them")
    source = f"INKLING_API_KEY_FILE={settings.api_key_file}"
    try:
        content = read_regular(settings.api_key_file, _MAX_FILE_BYTES)
    except OSError as error:
        raise BadKey(f"{source} cannot be read: {error.strerror}") from error
    lines = [line.strip() for line in content.removeprefix(codecs.BOM_UTF8).splitlines()]
    keys = [_checked(line, f"{source}, line {number}") for number, line in enumerate(lines, 1) if line]
    if not keys:
        raise BadKey(f"{source} is empty; expected a key")
    if len(keys) > MAX_KEYS:
        raise BadKey(f"{source} has {len(keys)} keys; expected at most {MAX_KEYS}, one a line")
    return keys


def _checked(key: bytes, source: str) -> bytes:
    if len(key) > MAX_BYTES:
        raise BadKey(f"{source} has {len(key)} bytes; expected a key of at most {MAX_BYTES}")
    try:
        printable = key.decode().isprintable()
    except UnicodeDecodeError:
        printable = False
    if not printable:
        raise BadKey(f"{source} has bytes that cannot be printed; expected a key in plain text (ASCII or UTF-8)")
    return key
