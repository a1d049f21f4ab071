"""The calls of the API, free of any web framework: the HTTP routes and BentoML's native methods are doors to these.

A call takes what has been validated, asks a runner, and returns a pydantic model; it raises PlatformError.

images           classify one image, or several
tabular          predict rows
recommendations  recommend to one user, or to several
deadline         until when a call may take
"""
