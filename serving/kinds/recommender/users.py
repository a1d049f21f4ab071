"""What is known of users. Knows questions and answers, no HTTP."""

from __future__ import annotations

from serving.kinds.recommender.queries import ask
from serving.kinds.recommender.user_schemas import SimilarUsers, UserGroups, UserOverview
from serving.kinds.responses import model_used
from serving.kinds.served_models import ServedRecommender
from serving.settings.settings import Settings


class UserHandler:
    """`get_user`, `similar_users` and `user_groups`. All raise NotKnown for an unknown user."""

    def __init__(self, served: ServedRecommender, settings: Settings) -> None:
        self.served = served
        self._timeout_s = settings.request_timeout_s

    async def overview(self, user_id: str, n: int) -> UserOverview:
        """Profile, top items, top categories, people alike and groups."""
        found, model = await ask(self.served, {"ask": "user", "user_id": user_id, "n": n}, timeout_s=self._timeout_s)
        return UserOverview(model=model_used(model), **found)

    async def similar(self, user_id: str, n: int, model: str | None) -> SimilarUsers:
        """The users most like this one. Raises InvalidInput for an algorithm that cannot tell."""
        question = {"ask": "similar_users", "user_id": user_id, "n": n, "model": model}
        found, used = await ask(self.served, question, timeout_s=self._timeout_s)
        return SimilarUsers(model=model_used(used), user_id=user_id, **found)

    async def groups(self, user_id: str, n: int) -> UserGroups:
        """The groups for a user."""
        question = {"ask": "user_groups", "user_id": user_id, "n": n}
        found, used = await ask(self.served, question, timeout_s=self._timeout_s)
        return UserGroups(model=model_used(used), user_id=user_id, **found)
