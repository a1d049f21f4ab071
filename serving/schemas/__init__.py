"""What clients send and get, as pydantic types. Knows no HTTP and no runner.

fields           what several of them share: the model that answered, a user's id
problems         the problem document of every error
images           classification of images
tabular          rows, typed by the card of the model that is served
recommendations  recommendations for users
models           what is told about the models
service          health, readiness, the index
"""
