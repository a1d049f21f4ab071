"""Recommendation algorithms behind one interface, and the predictor that serves them.

base        what an algorithm is: fit, score, recommend, arrays to save; what each can do
dataset     who interacted with what, as a sparse matrix, with times and features
ids         text ids and titles in memory-mapped arrays: row to text, text to row
encoding    attributes of users and items as sparse columns
selection   the best n of a row of scores
products    the best n of a product of vectors, block by block
popularity  what everyone likes
neighbours  like items, like users
ease        a linear model of items in closed form
ease_session    the same, where nearness in time counts
linear      what all models share whose score is a sum over the user's items
content     items by their attributes
approximate an index of a large catalogue
factors     users and items as vectors: whatever is a dot product
lightfm_factors, implicit_factors, fastrp    how such vectors are learned
timeline    what had happened when
facts       features of users and items as of a moment
candidates  where retrievers place items, and what a ranker is told of each
ranker      LambdaRank on trees
forest      trees out of LightGBM's text, as an ONNX graph
two_level   candidates of several algorithms, ordered by a ranker
registry    every algorithm by its name
archive     the files of a recommender's artifact
queries     what a recommender is asked and what it answers
scoring     from what a query needs to scores
predictor   answers queries from an artifact

Nothing here imports a training library unless `fit` is called; a ranker answers on ONNX Runtime.
"""
