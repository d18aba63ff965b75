"""What can go wrong, in words for the person who caused it.

    InklingError
    ├── PictureError
    │   ├── UnknownFormat      bytes of no format we read
    │   ├── TooManyPixels      larger than the limit, seen in the header, before decoding
    │   ├── CorruptPicture     a format we read, but truncated or broken
    │   └── NothingDrawn       a picture without ink
    ├── VersionError
    │   ├── UnknownVersion     no such saved version
    │   └── BrokenVersion      checksum, shapes or manifest do not fit
    ├── InferenceError
    │   ├── Overloaded         no room in the queue
    │   ├── InferenceFailed       the forward pass failed
    │   └── DeviceLost         it fails from now on, in this process
    ├── HomeError              the folder for all state can not be used
    ├── DeviceError            the device asked for is not there
    └── DataError              a data set is missing or broken

The command line prints the message and exits with 2; the service maps each class to a problem (app/http/problems.py).
"""


def printable(text: object) -> str:
    """On one line, and without what a terminal would take for an order: a file's name may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


class InklingError(Exception):
    """The message is one line: what was wrong, and what was expected."""

    def __str__(self) -> str:
        return printable(super().__str__())


class PictureError(InklingError):
    pass


class UnknownFormat(PictureError):
    pass


class TooManyPixels(PictureError):
    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class CorruptPicture(PictureError):
    pass


class NothingDrawn(PictureError):
    pass


class VersionError(InklingError):
    pass


class UnknownVersion(VersionError):
    pass


class BrokenVersion(VersionError):
    pass


class InferenceError(InklingError):
    pass


class Overloaded(InferenceError):
    def __init__(self, message: str, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


class InferenceFailed(InferenceError):
    pass


class DeviceLost(InferenceFailed):
    pass


class HomeError(InklingError):
    pass


class DeviceError(InklingError):
    pass


class DataError(InklingError):
    pass
