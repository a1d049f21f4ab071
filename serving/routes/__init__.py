"""The routes of the HTTP API: each validates, calls, converts.

operation        one operation of the API: its route and all that the OpenAPI document tells of it
body             JSON bodies
multipart        multipart bodies
images           classification of images
tabular          predictions for rows
recommendations  recommendations for users
models           what is known about the models
service          health, readiness, metrics, the index
problems         the kinds of problems
pages            the OpenAPI document and the pages that show it
"""
