"""How an artifact is made: data, fit, evaluate, card, save. Each script runs as `python -m training.NAME`.

image        an image classifier (torch, torchvision)
tabular      a model of one table (scikit-learn)
recommender  recommendations from who liked what (LightFM and others)
datasets     the default data sets, and anyone's files
packages     files out of packages of the package index
metrics      how good a model is
report       what a training run prints, and writes beside the artifact
command      a command line made from a dataclass

training meets serving only through the artifact and its card.
"""
