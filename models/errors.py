"""The errors that the person who caused them can mend.

    InklingError
    ├── PictureError
    │   ├── UnknownFormat      the bytes are not of a supported image format
    │   ├── TooManyPixels      the header promises more pixels than the limit
    │   ├── TooComplex         decoding would take more memory or time than the limit
    │   ├── CorruptPicture     a supported format, but truncated or broken
    │   └── NothingDrawn       a picture without ink
    ├── VersionError
    │   ├── UnknownVersion     there is no such saved version
    │   ├── BrokenVersion      checksum, shapes or manifest do not fit
    │   └── StoreUnavailable   the folder of the saved versions is gone or cannot be read
    ├── InferenceError
    │   ├── Overloaded         the service has as many images in flight as it may
    │   ├── InferenceFailed    the forward pass failed
    │   └── DeviceLost         every forward pass of this process fails from now on
    ├── HomeError              HOME cannot be written: no permission, a read-only or full disk
    ├── DeviceError            the device asked for is not there
    └── DataError              a data set is missing or broken

The command line prints the message and exits with status 2. The service answers with the problem type that the class
names, one of PROBLEM_TYPES in models/contract.py. The rooms of `app` have further errors of this kind.
"""

from typing import Any, ClassVar


def printable(text: object) -> str:
    """The text on one line, without control characters: a file's name may hold what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in str(text))


class InklingError(Exception):
    """The message is one line: what was wrong, and what was expected.

    problem: the problem type that a request is answered with. members: further members of that answer, such as limit.
    """

    problem: ClassVar[str] = "internal-error"

    def __init__(self, message: str, **members: Any) -> None:
        super().__init__(message)
        self.members = members

    def __str__(self) -> str:
        return printable(super().__str__())


class PictureError(InklingError):
    problem = "corrupt-picture"


class UnknownFormat(PictureError):
    problem = "unknown-format"


class TooManyPixels(PictureError):
    problem = "too-many-pixels"


class TooComplex(PictureError):
    problem = "too-complex"


class CorruptPicture(PictureError):
    problem = "corrupt-picture"


class NothingDrawn(PictureError):
    problem = "nothing-drawn"


class VersionError(InklingError):
    problem = "broken-version"


class UnknownVersion(VersionError):
    problem = "not-found"


class BrokenVersion(VersionError):
    problem = "broken-version"


class StoreUnavailable(VersionError):
    problem = "store-unavailable"


class InferenceError(InklingError):
    problem = "not-ready"


class Overloaded(InferenceError):
    problem = "overloaded"


class InferenceFailed(InferenceError):
    pass


class DeviceLost(InferenceFailed):
    pass


class HomeError(InklingError):
    problem = "storage-full"


class DeviceError(InklingError):
    problem = "not-ready"


class DataError(InklingError):
    """A request never meets it: only the trainer and the command line read data sets."""
