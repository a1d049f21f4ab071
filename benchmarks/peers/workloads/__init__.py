"""Models of the peers: the same computation on the same artifact in every server.

A workload converts a request into a model input (`preprocess`) and a batch of inputs into one JSON object per request
(`predict`).
"""
