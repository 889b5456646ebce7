"""What the libraries of object stores raise, in words, without credentials."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from triton_kit.errors import TransportError
from triton_kit.transfer.placing import FULL

_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role; "
    "AWS_ENDPOINT_URL is another endpoint",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "az": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with "
    "AZURE_STORAGE_ACCOUNT_KEY or `az login`",
}
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|CONNECTION|PASSW|CREDENTIAL|SIGNATURE")
_QUERY = re.compile(r"\?\S+")
_DENIED = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|Forbidden|Unauthorized|"
    r"AuthenticationFailed|AuthorizationFailure|ExpiredToken|InvalidToken|\b40[13]\b"
)
_DENIED_KINDS = {
    *("PermissionError", "NoCredentialsError", "PartialCredentialsError"),
    *("CredentialRetrievalError", "ClientAuthenticationError", "RefreshError"),
    *("DefaultCredentialsError", "ProfileNotFound", "CredentialUnavailableError"),
}
_LOST_KINDS = {
    *("ConnectionError", "TimeoutError", "ClientConnectionError", "ClientPayloadError"),
    *("HTTPClientError", "ServiceRequestError", "ServiceResponseError"),
    *("IncompleteReadError", "TransportError", "FSTimeoutError", "ConnectTimeoutError"),
}
_CONFLICT_KINDS = {"FileExistsError", "ResourceExistsError", "ResourceModifiedError"}
_CONFLICT = re.compile(
    r"PreconditionFailed|ConditionalRequestConflict|ConditionNotMet|conditionNotMet|"
    r"\b412\b"
)
_MOST_TEXT = 200


def is_conflict(error: BaseException) -> bool:
    """Whether the condition of a write did not hold."""
    return any(
        _kinds(each) & _CONFLICT_KINDS or _CONFLICT.search(str(each))
        for each in _chain(error)
    )


def full_disk(error: BaseException) -> OSError | None:
    """Return the error of this machine's disk that a library's error came from."""
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in FULL:
            return each
    return None


def explain(scheme: str, where: str, error: BaseException) -> TransportError:
    """Say what an error of a store's library means."""
    chain = list(_chain(error))
    kinds = {kind for each in chain for kind in _kinds(each)}
    text = " ".join(map(str, chain))
    if kinds & _DENIED_KINDS or _DENIED.search(text):
        return TransportError(
            f"{where}: the store refuses the credentials, or there are none",
            hint=f"credentials of {scheme}:// are {_CREDENTIALS[scheme]}",
        )
    if isinstance(error, FileNotFoundError):
        return TransportError(
            f"{where}: no such bucket, container or object",
            hint="buckets and containers are made with the store's own tools",
        )
    if kinds & _LOST_KINDS:
        return TransportError(
            f"{where}: no connection to the store, or it was lost; tried again in vain",
            hint="run the command again: files that are there are not sent again",
        )
    shown = redacted(str(error))[:_MOST_TEXT].strip() or type(error).__name__
    return TransportError(
        f"{where}: the store's library failed: {shown}",
        hint=f"credentials of {scheme}:// are {_CREDENTIALS[scheme]}",
    )


def redacted(text: str) -> str:
    """Return a text without credentials of the environment and queries of URLs."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) > 3:
            text = text.replace(value, f"${name}")
    return _QUERY.sub("?...", text)


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen, each = set[int](), error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__  # type: ignore[assignment]
