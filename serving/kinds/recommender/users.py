"""What is known of users. Knows questions and answers, no HTTP."""

from __future__ import annotations

from serving.kinds.recommender.queries import ask
from serving.kinds.recommender.user_schemas import SimilarUsers, UserGroups, UserOverview
from serving.kinds.recommender.version import RecommenderVersion
from serving.kinds.responses import model_used
from serving.kinds.served_model import ServedModel


class UserHandler:
    """`get_user`, `similar_users` and `user_groups`. All raise NotKnown for an unknown user."""

    def __init__(self, model: ServedModel[RecommenderVersion]) -> None:
        self.model = model

    async def overview(self, user_id: str, n: int) -> UserOverview:
        """Profile, top items, top categories, people alike and groups."""
        found, model = await ask(self.model, {"ask": "user", "user_id": user_id, "n": n})
        return UserOverview(model=model_used(model), **found)

    async def similar(self, user_id: str, n: int, model: str | None) -> SimilarUsers:
        """The users most like this one. Raises InvalidInput for an algorithm that cannot tell."""
        question = {"ask": "similar_users", "user_id": user_id, "n": n, "model": model}
        found, used = await ask(self.model, question)
        return SimilarUsers(model=model_used(used), user_id=user_id, **found)

    async def groups(self, user_id: str, n: int) -> UserGroups:
        """The groups for a user."""
        question = {"ask": "user_groups", "user_id": user_id, "n": n}
        found, used = await ask(self.model, question)
        return UserGroups(model=model_used(used), user_id=user_id, **found)
