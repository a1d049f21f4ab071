"""The calls of the API, free of any web framework: the HTTP routes and BentoML's native methods are doors to these.

A call takes what has been validated, asks a runner, and returns a pydantic model; it raises PlatformError.

images           classify one image, or several
tabular          predict rows
recommendations  recommend to one user, or to several; recommended is how they are told
inference        the three as tensors: images, rows and items each in a file of its own, metadata, outputs
deadline         until when a call may take
"""
