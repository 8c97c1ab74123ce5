"""What can go wrong between a client and a Triton server, by what the caller can do about it."""


class TritonClientError(RuntimeError):
    """Base of the others; the message names the server."""


class TritonUnavailableError(TritonClientError):
    """The server is down, restarting, full or without the model: asking again is safe, and may help later."""


class TritonDeadlineError(TritonClientError, TimeoutError):
    """No result in the time allowed."""


class TritonRequestError(TritonClientError):
    """The server refuses the request: asking again does not help."""


class TritonAnswerError(TritonClientError):
    """What came back is no result: another service, another model, or values that no model of this kind gives."""
