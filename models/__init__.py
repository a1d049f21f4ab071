"""What a model is at serving time: load an artifact, answer a batch.

errors      the error tree of the whole platform
card        what is known about an artifact: task, schema, metrics, lineage
profile     histograms of the training data, which drift is measured against
store       artifacts in the BentoML model store: save whole or not at all, find by tag
write_ahead SQLite files that several processes share
packed      which artifacts a Bento was built with
base        what every predictor has in common
image       an image classifier on OpenVINO or torch
pixels      from the bytes of an image file to the array a classifier takes
tabular     a tabular model on ONNX Runtime
recommender algorithms behind one interface, and what serves them

Nothing here knows of HTTP or of training. Heavy runtimes are imported by the module that runs them.
"""
