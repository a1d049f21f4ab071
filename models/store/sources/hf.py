"""The source `hf://org/repo[@revision][/folder]` of the Hugging Face Hub, or of another endpoint in `HF_ENDPOINT`.

huggingface_hub resolves the revision to a commit, and knows the address of a file and the token (`HF_TOKEN`). The bytes
are read as those of any web address, so that all sources resume, and refuse redirects, in the same way.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Final
from urllib.parse import unquote

import httpx

from models.errors import ArtifactInvalid, ArtifactMissing, SettingsInvalid, SourceUnavailable
from models.store.sources.https import HttpFiles, check_scheme
from models.store.sources.source import Source, SourceOptions, Stream, package_missing, silence, status_fault

_FORM: Final = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?", re.ASCII)


class HfSource(Source):
    """An artifact in a repository of models, or in a folder of it. A revision is a branch, a tag or a commit."""

    def __init__(self, url: str, options: SourceOptions) -> None:
        super().__init__(url)
        match = _FORM.fullmatch(self.label)
        if match is None:
            raise SettingsInvalid("a source of the Hugging Face Hub is hf://org/repo, hf://org/repo@revision/folder")
        self._repository, self._folder = match[1], (match[3] or "").strip("/")
        # A slash in the name of a branch is written %2F.
        self._wanted = unquote(match[2]) if match[2] else None
        try:
            from huggingface_hub import get_token
        except ImportError as error:
            raise package_missing(self.label, "huggingface-hub") from error
        silence("httpx2", "httpcore2")
        self._timeout_s = min(options.timeout_s, 10)
        token = get_token()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._options = options
        self._files = HttpFiles(self.label, options, headers=headers)

    def revision(self) -> str:
        return self._commit

    @cached_property
    def _commit(self) -> str:
        from huggingface_hub import HfApi

        # HTTPError is that of the HTTP client that huggingface_hub has chosen.
        from huggingface_hub.errors import (  # type: ignore[attr-defined]
            HfHubHTTPError,
            HFValidationError,
            HTTPError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        api = HfApi(library_name="makunouchi")
        try:
            commit = api.repo_info(self._repository, revision=self._wanted, timeout=self._timeout_s).sha
        except (RepositoryNotFoundError, RevisionNotFoundError):
            message = f"there is no source '{self.label}', or it is private; check the name, the revision and HF_TOKEN"
            raise ArtifactMissing(message) from None
        except HFValidationError:
            raise SettingsInvalid(f"source '{self.label}' is not a valid name of a repository") from None
        except HfHubHTTPError as error:
            raise status_fault(self.label, error.response.status_code) from None
        except (HTTPError, OSError) as error:
            message = f"source '{self.label}' does not answer ({type(error).__name__})"
            raise SourceUnavailable(message, is_transient=True) from None
        if not commit:
            raise ArtifactInvalid(f"source '{self.label}' names no commit")
        return str(commit)

    def stream(self, file: str, *, start: int = 0) -> AbstractContextManager[Stream]:
        from huggingface_hub import hf_hub_url

        path = "/".join(part for part in (self._folder, file) if part)
        url = httpx.URL(hf_hub_url(self._repository, path, revision=self._commit))
        check_scheme(url, self._options)
        return self._files.stream(url, start=start, what=file)

    def close(self) -> None:
        self._files.close()
