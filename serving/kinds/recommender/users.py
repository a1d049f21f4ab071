"""The handler of users."""

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
        """Return the profile, top items, top categories, similar users and groups."""
        result, model = await ask(self.model, {"ask": "user", "user_id": user_id, "n": n})
        return UserOverview(model=model_used(model), **result)

    async def similar(self, user_id: str, n: int, model: str | None) -> SimilarUsers:
        """Return the most similar users. Raises InvalidInput for an algorithm that cannot compare."""
        query = {"ask": "similar_users", "user_id": user_id, "n": n, "model": model}
        result, used = await ask(self.model, query)
        return SimilarUsers(model=model_used(used), user_id=user_id, **result)

    async def groups(self, user_id: str, n: int) -> UserGroups:
        """Return the groups for a user."""
        query = {"ask": "user_groups", "user_id": user_id, "n": n}
        result, used = await ask(self.model, query)
        return UserGroups(model=model_used(used), user_id=user_id, **result)
