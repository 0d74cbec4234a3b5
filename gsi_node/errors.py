"""Every exception this package raises on purpose.

GSIError
├── ConfigError              a setting, an input or a spec is wrong: change the call      (also a ValueError)
│   ├── SpecError            a model or reward spec that nothing can load
│   ├── UnreadArgument       an argument of a chat template that the template never reads
│   ├── LawMismatch          a backend cannot sample or score under the asked sampling law
│   ├── VocabularyMismatch   draft and base do not share one token map
│   ├── ResumeMismatch       a checkpoint was written under other settings or models
│   ├── InUse                another process works on this thread or folder
│   └── UnsafeCheckpoint     a checkpoint file asks for more than plain data: it could run code
├── NumericError             a number that must not be used                              (also a ValueError)
│   ├── RewardOutOfRange     NaN, or outside the reward's declared range
│   ├── InvalidLogProb       NaN, +inf or positive where a log-probability belongs
│   ├── DegenerateWeights    every weight of a batch is zero, and the method has no fallback
│   └── NotNormalisable      a density whose integral is infinite, or a flow that left the finite numbers
├── BackendError             a model or a reward model failed, or returned the wrong shape
│   ├── NoVerdict            a verifier that writes came to no verdict in any of its chains
│   └── BackendUnavailable   it cannot be loaded or reached                              (also a ConnectionError)
├── ContractBroken           a backend breaks the contract that gsi_node.testing checks  (also an AssertionError)
├── StorageError             a file cannot be written: a full disk, a limit, no right   (also an OSError)
└── Cancelled                the run that asked for this work was cancelled
"""


class GSIError(Exception):
    """The root: `except GSIError` catches all of this package's own errors."""


class ConfigError(GSIError, ValueError):
    pass


class SpecError(ConfigError):
    pass


class UnreadArgument(ConfigError):
    pass


class LawMismatch(ConfigError):
    pass


class VocabularyMismatch(ConfigError):
    pass


class ResumeMismatch(ConfigError):
    pass


class InUse(ConfigError):
    pass


class UnsafeCheckpoint(ConfigError):
    pass


class NumericError(GSIError, ValueError):
    pass


class RewardOutOfRange(NumericError):
    pass


class InvalidLogProb(NumericError):
    pass


class DegenerateWeights(NumericError):
    pass


class NotNormalisable(NumericError):
    pass


class BackendError(GSIError, RuntimeError):
    pass


class NoVerdict(BackendError):
    pass


class BackendUnavailable(BackendError, ConnectionError):
    """Also a ConnectionError: LangGraph's default RetryPolicy goes by the class, and that is what it tries again."""


class ContractBroken(GSIError, AssertionError):
    pass


class StorageError(GSIError, OSError):
    pass


class Cancelled(GSIError):
    """tokens: that had been drawn for it, where the model tells."""

    def __init__(self, told: str, tokens: int = 0) -> None:
        super().__init__(told)
        self.tokens = tokens


def shown(value: object, most: int = 80) -> str:
    """A value from outside as one line of `most` characters at most; its type where it cannot be written."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python writes; a list in itself, too deep
        return f"a {type(value).__name__} that cannot be written"
    return text if len(text) <= most else text[: most - 3] + "..."


def whole_text(text: str, where: str) -> str:
    """The text. Raises ConfigError for half of a surrogate pair, which no tokenizer and no file in UTF-8 can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{where}: half of a surrogate pair ({text[error.start]!a}) at character {error.start}, which is no "
            "text; read the file as UTF-8, or replace it"
        ) from None
    return text
