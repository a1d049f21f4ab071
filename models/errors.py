"""The errors of the platform. Knows no HTTP: `serving/errors/mapping.py` maps classes to status codes.

PlatformError
├── InputError                what the caller sent cannot be used; the message is safe to show to the caller
│   ├── InvalidInput          well-formed, but not acceptable: out of range, unknown category, undecodable image
│   ├── UnsupportedMedia      a kind of content that nothing here reads
│   ├── InputTooLarge         more bytes, pixels or rows than a limit allows
│   └── NotKnown              names a user, item, model or version that does not exist
├── ArtifactError             an artifact cannot be used
│   ├── ArtifactMissing       no such name or version in the store
│   └── ArtifactInvalid       present, but incomplete, altered, or not of the expected kind
├── TrainingError             a training script cannot save what it made
│   ├── DataInvalid           the training data cannot be read or is not usable
│   ├── GateNotMet            a model is worse than the quality gate
│   └── ParityNotMet          the fast runtime disagrees with the framework
├── RunnerError               a runner did not answer
│   ├── RunnerUnavailable     it is not there, or went away; trying again later may work
│   │   └── VersionNotLoaded  it is there, and does not hold the version that was asked for
│   ├── Overloaded            its queue is full; nothing was started
│   ├── DeadlineExceeded      it did not answer in time
│   └── PredictionFailed      the model raised, or answered something that is not an answer
├── FeedbackUnavailable       the log of the feedback cannot be read or written
└── SettingsInvalid           a setting is unknown or has an unusable value
"""

from __future__ import annotations


class PlatformError(Exception):
    """Base of every error that the platform raises on purpose."""


class InputError(PlatformError):
    """What the caller sent cannot be used. The message names the fault and is safe to show to the caller.

    `location` is the path to the fault in the request, such as `("body", "instances", 3, "age")`.
    """

    def __init__(self, message: str, *, location: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.location = location


class InvalidInput(InputError):
    """Well-formed, but not acceptable."""


class UnsupportedMedia(InputError):
    """A kind of content that nothing here reads."""


class InputTooLarge(InputError):
    """More bytes, pixels or rows than a limit allows."""


class NotKnown(InputError):
    """Names a user, item, model or version that does not exist."""


class ArtifactError(PlatformError):
    """An artifact cannot be used."""


class ArtifactMissing(ArtifactError):
    """No such name or version in the store."""


class ArtifactInvalid(ArtifactError):
    """Present in the store, but incomplete, altered, or not of the expected kind."""


class TrainingError(PlatformError):
    """A training script cannot save what it made."""


class DataInvalid(TrainingError):
    """The training data cannot be read or is not usable."""


class GateNotMet(TrainingError):
    """A model is worse than the quality gate."""


class ParityNotMet(TrainingError):
    """The runtime used for serving disagrees with the framework that trained the model."""


class RunnerError(PlatformError):
    """A runner did not answer."""


class RunnerUnavailable(RunnerError):
    """The runner cannot be reached, or the connection broke. A later retry may succeed."""

    def __init__(self, message: str = "the model is not available") -> None:
        super().__init__(message)


class VersionNotLoaded(RunnerUnavailable):
    """The runner does not hold the version that was asked for, or not any more."""


class Overloaded(RunnerError):
    """The queue in front of the runner is full. Nothing was started."""


class DeadlineExceeded(RunnerError):
    """The runner did not answer in time."""


class PredictionFailed(RunnerError):
    """The model raised, or answered something that is not an answer."""


class FeedbackUnavailable(PlatformError):
    """The log of the feedback cannot be reached, or refuses. Nothing was acknowledged."""


class SettingsInvalid(PlatformError):
    """A setting is unknown or has an unusable value."""
