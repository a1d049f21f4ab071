"""Recommendation algorithms behind one interface, and the predictor that serves them.

base        what an algorithm is: fit, score, recommend, arrays to save; what each can do
dataset     who interacted with what, as a sparse matrix, with times and features
ids         text ids and titles in memory-mapped arrays: row to text, text to row
encoding    attributes of users and items as sparse columns
selection   the best n of a row of scores
popularity  what everyone likes
neighbours  like items, like users
ease        a linear model of items in closed form
factors     users and items as vectors: LightFM and whatever else is a dot product
registry    every algorithm by its name
archive     the files of a recommender's artifact
queries     what a recommender is asked and what it answers
predictor   answers queries from an artifact

Nothing here imports a training library unless `fit` is called.
"""
