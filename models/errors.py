"""The errors of the platform. `serving/errors/mapping.py` maps classes to HTTP status codes.

PlatformError
├── InputError                the request cannot be used; the message is safe to show to the caller
│   ├── InvalidInput          well-formed, but invalid: out of range, unknown category, undecodable image
│   ├── UnsupportedMedia      a media type that the service does not read
│   ├── InputTooLarge         more bytes, pixels or rows than a limit allows
│   └── NotKnown              a user, item, model or version that does not exist
├── ArtifactError             an artifact cannot be used
│   ├── ArtifactMissing       no such name or version in the store
│   ├── ArtifactInvalid       incomplete, altered, or not of the expected task
│   ├── ArtifactInUse         served, or named by an alias, and therefore not deleted
│   └── StoreUnavailable      the store cannot be read at the moment; a retry may succeed
│       └── SourceUnavailable the same for a source of models, such as a bucket
├── TrainingError             a training script cannot save an artifact, or a version cannot be promoted
│   ├── DataInvalid           the training data cannot be read or is not usable
│   ├── GateNotMet            a model is worse than the quality gate, or cannot be compared with it
│   ├── NotConvertible        a fitted model cannot be written in a format that runs no code
│   └── ParityNotMet          the fast runtime disagrees with the framework
├── RunnerError               a runner did not return a prediction
│   ├── RunnerUnavailable     it is not running or the connection failed; a retry may succeed
│   │   └── VersionNotLoaded  it is running and does not hold the requested version
│   ├── Overloaded            its queue is full; the request was not started
│   ├── DeadlineExceeded      it did not return a result in time
│   └── PredictionFailed      the model raised an exception or returned an invalid result
├── FeedbackUnavailable       the feedback log cannot be read or written
└── SettingsInvalid           a setting is unknown or has an unusable value
"""

from __future__ import annotations

import errno
import re
from typing import Final

# A path, not a URL. The group is its last part.
_ABSOLUTE_PATH: Final = re.compile(r"(?<![\w.:/~])/(?:[^/\s'\"]+/)+([^/\s'\"]*)")
# What a process runs out of: files, memory, disk space.
EXHAUSTED: Final = frozenset({errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})


class PlatformError(Exception):
    """Base class of the errors that the platform raises."""


class InputError(PlatformError):
    """The request cannot be used. The message names the error and is safe to show to the caller.

    `location` is the path to the error in the request, such as `("body", "instances", 3, "age")`. `is_file` means that
    the value there is a file.
    """

    def __init__(self, message: str, *, location: tuple[str | int, ...] = (), is_file: bool = False) -> None:
        super().__init__(message)
        self.location = location
        self.is_file = is_file


class InvalidInput(InputError):
    """Well-formed input that is invalid."""


class UnsupportedMedia(InputError):
    """A media type that the service does not read."""


class InputTooLarge(InputError):
    """More bytes, pixels or rows than a limit allows."""


class NotKnown(InputError):
    """A user, item, model or version that does not exist."""


class ArtifactError(PlatformError):
    """An artifact cannot be used."""


class ArtifactMissing(ArtifactError):
    """No such name or version in the store."""


class ArtifactInvalid(ArtifactError):
    """An artifact that is incomplete, altered, or not of the expected task."""


class ArtifactInUse(ArtifactError):
    """A version that is served or that an alias names. It is not deleted."""


class StoreUnavailable(ArtifactError):
    """The store cannot be read at the moment: it is not mounted, or the process is out of files or memory."""


class SourceUnavailable(StoreUnavailable):
    """A source of models does not answer, or refuses access. `is_transient`: a second try may succeed at once."""

    def __init__(self, message: str, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.is_transient = is_transient


class TrainingError(PlatformError):
    """A training script cannot save an artifact, or a version cannot be promoted."""


class DataInvalid(TrainingError):
    """The training data cannot be read or is not usable."""


class GateNotMet(TrainingError):
    """A model is worse than the quality gate, or cannot be compared with it."""


class NotConvertible(TrainingError):
    """A fitted model, or a part of it, cannot be written in a format that runs no code."""


class ParityNotMet(TrainingError):
    """The runtime used for serving disagrees with the framework that trained the model."""


class RunnerError(PlatformError):
    """A runner did not return a prediction."""


class RunnerUnavailable(RunnerError):
    """The runner is not running or the connection failed. A retry may succeed."""

    def __init__(self, message: str = "the model is not available") -> None:
        super().__init__(message)


class VersionNotLoaded(RunnerUnavailable):
    """The runner does not hold the requested version."""


class Overloaded(RunnerError):
    """The queue of the runner is full. The request was not started."""


class DeadlineExceeded(RunnerError):
    """The runner did not return a result in time."""


class PredictionFailed(RunnerError):
    """The model raised an exception or returned an invalid result."""


class FeedbackUnavailable(PlatformError):
    """The feedback log cannot be read or written. No event was acknowledged."""


class SettingsInvalid(PlatformError):
    """A setting is unknown or has an unusable value."""


def text_of(error: BaseException) -> str:
    """Return the text of an error of a library or of a user's code, with the last part alone of each absolute path."""
    return _ABSOLUTE_PATH.sub(r"\1", str(error))


def is_exhausted(error: BaseException | None) -> bool:
    """Return whether `error` says that the process is out of a resource, and nothing about the input or the file."""
    return isinstance(error, OSError) and error.errno in EXHAUSTED
