"""What the Hub's refusals mean: its own words are passed on, and the advice fits them."""

from __future__ import annotations

import pytest

from downloader.errors import AccessDenied, DownloadError, SourceNotFound, SourceUnavailable
from downloader.network import HttpStatusError
from downloader.sources.hub_answers import HubAnswers

HUB = "https://hub.test"
URL = f"{HUB}/api/models/org/model/revision/main"


def answers(*, token: bool = True, listed: bool = False, endpoint: str = HUB) -> HubAnswers:
    made = HubAnswers("org/model", "main", endpoint, with_token=token)
    made.listed = listed
    return made


def refusal(status: int, code: str = "", text: str = "", url: str = URL, body: bytes = b"") -> HttpStatusError:
    headers = {"x-error-code": code, "x-error-message": text}
    return HttpStatusError(status, url, {name: value for name, value in headers.items() if value}, body)


PENDING = "Your request to access model org/model is awaiting a review from the repo authors."
REJECTED = "Your request to access model org/model has been rejected by the repo's authors."
FINE_GRAINED = "Please enable access to public gated repositories in your fine-grained token settings."
RESTRICTED = "Access to model org/model is restricted. Visit https://hub.test/org/model to ask for access."


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (PENDING, "wait until its owners grant"),
        (REJECTED, "only its owners"),
        (FINE_GRAINED, "change the token's permissions"),
        (RESTRICTED, "ask for access on its page"),
    ],
)
def test_what_the_hub_says_of_a_gate_is_passed_on_with_advice_that_can_help(text: str, advice: str) -> None:
    error = answers().map_status_error(refusal(403, "GatedRepo", text))
    assert isinstance(error, AccessDenied)
    assert error.message == f"org/model is a gated repository, says hub.test: {text.rstrip('.')}"
    assert advice in error.hint


def test_a_gate_without_a_token_advises_to_set_one() -> None:
    error = answers(token=False).map_status_error(refusal(401, "GatedRepo", RESTRICTED))
    assert "set HF_TOKEN" in error.hint
    assert "account of HF_TOKEN" not in error.hint


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (403, "This IP address is not allowed by the organization's security policy"),
        (403, "SSO required: authorize your token for organization org"),
        (402, "Payment required: you have exceeded your monthly bandwidth"),
        (451, "Unavailable For Legal Reasons"),
    ],
)
@pytest.mark.parametrize("where", ["header", "body"])
def test_a_reason_that_only_the_hub_knows_is_passed_on_without_guesses(status: int, text: str, where: str) -> None:
    found = (
        refusal(status, text=text) if where == "header" else refusal(status, body=b'{"error": "%s"}' % text.encode())
    )
    error = answers().map_status_error(found)
    assert isinstance(error, AccessDenied)
    assert str(error) == f"hub.test refuses to hand out org/model (HTTP {status}): {text}"


@pytest.mark.parametrize(
    "text", ["Invalid credentials in Authorization header", 'User Access Token "ci" is expired', "token was revoked"]
)
def test_a_token_that_is_not_accepted_is_told_in_the_hubs_words(text: str) -> None:
    error = answers().map_status_error(refusal(401, text=text))
    assert isinstance(error, AccessDenied)
    assert error.message == f"hub.test does not accept the token in HF_TOKEN: {text}"
    assert "new one" in error.hint


@pytest.mark.parametrize("status", [401, 402, 403, 404, 451])
@pytest.mark.parametrize("code", ["", "GatedRepo", "RepoNotFound", "RevisionNotFound", "EntryNotFound"])
@pytest.mark.parametrize("text", ["", "Invalid credentials in Authorization header", "no"])
def test_no_token_is_blamed_where_none_was_set(status: int, code: str, text: str) -> None:
    told = str(answers(token=False).map_status_error(refusal(status, code, text)))
    assert "token in HF_TOKEN" not in told
    assert "that the token" not in told


@pytest.mark.parametrize(
    "found",
    [
        refusal(404, "RepoNotFound", "Repository not found"),
        refusal(401, "RepoNotFound", "Invalid username or password."),
        refusal(404, body=b'{"errors": [{"status": 404, "message": "Not Found"}]}'),
    ],
)
def test_what_is_said_already_is_not_said_again(found: HttpStatusError) -> None:
    error = answers().map_status_error(found)
    assert isinstance(error, SourceNotFound)
    assert error.message == "hub.test has no repository org/model that we may see"


def test_a_missing_revision_and_a_missing_file_are_named() -> None:
    revision = answers().map_status_error(refusal(404, "RevisionNotFound", "Invalid rev id: main"))
    assert isinstance(revision, SourceNotFound)
    assert revision.message == "revision 'main' of org/model does not exist on hub.test"
    entry = answers().map_status_error(refusal(404, "EntryNotFound", "Entry not found"), "model.gguf")
    assert isinstance(entry, SourceNotFound)
    assert entry.message == "org/model at 'main' lacks model.gguf, says hub.test"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
@pytest.mark.parametrize(
    "url", ["https://cdn.test/x?Signature=s", "https://hub.test:8443/x", "https://other.hub.test/x", URL]
)
def test_a_host_that_does_not_speak_as_the_hub_does_is_a_passing_error_and_named(status: int, url: str) -> None:
    error = answers().map_status_error(refusal(status, url=url, body=b"<html>blocked</html>"), "model.gguf")
    assert type(error) is SourceUnavailable
    host = url.split("/")[2]
    assert error.message == f"{host} refused model.gguf (HTTP {status}): blocked"
    assert "HF_TOKEN" not in str(error)


def test_the_words_of_the_hub_from_another_address_are_no_verdict() -> None:
    error = answers().map_status_error(refusal(403, "GatedRepo", PENDING, url="https://cdn.test/x"))
    assert type(error) is SourceUnavailable
    assert "cdn.test refused" in error.message
    assert PENDING.rstrip(".") in error.message


@pytest.mark.parametrize("endpoint", ["http://hub.test", "http://hub.test:80/prefix"])
def test_an_endpoint_that_leads_from_http_to_https_is_the_same(endpoint: str) -> None:
    assert isinstance(answers(endpoint=endpoint).map_status_error(refusal(404, "RepoNotFound")), SourceNotFound)


def test_a_challenge_is_a_verdict_without_any_words() -> None:
    found = HttpStatusError(401, URL, {"www-authenticate": 'Basic realm="mirror"'}, b"")
    error = answers(token=False).map_status_error(found)
    assert isinstance(error, AccessDenied)
    assert "set HF_TOKEN" in error.hint


def test_after_a_listing_a_missing_repository_is_no_reason() -> None:
    error = answers(listed=True).map_status_error(refusal(404, "RepoNotFound", "Repository not found"), "model.gguf")
    assert type(error) is SourceUnavailable
    assert error.message == "hub.test does not know model.gguf although it has listed it (HTTP 404)"


def test_a_disabled_repository_is_told() -> None:
    error = answers().map_status_error(refusal(403, text="Access to this resource is disabled."))
    assert isinstance(error, AccessDenied)
    assert "disabled" in error.message


def test_a_status_about_something_else_stays_what_it_is() -> None:
    for found in (refusal(418, text="short and stout"), refusal(416, url="https://cdn.test/x")):
        error: DownloadError = answers().map_status_error(found)
        assert error is found
    assert "short and stout" in str(answers().map_status_error(refusal(418, text="short and stout")))


@pytest.mark.parametrize(("scheme", "own"), [("Bearer realm=hub", True), ("Basic", True), ("Negotiate, NTLM", False)])
def test_a_server_that_wants_anything_but_a_bearer_token_is_a_gateway_and_not_the_hub(
    scheme: str, *, own: bool
) -> None:
    asked = HttpStatusError(401, URL, {"www-authenticate": scheme}, b"<html>single sign-on</html>")
    assert isinstance(answers().map_status_error(asked), AccessDenied if own else SourceUnavailable)
