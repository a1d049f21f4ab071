"""Measurements of single components, as commands. Each prints its results.

Serving:

python -m tests.measure.runner_client    the client of the runner protocol and aiohttp, over a Unix socket
python -m tests.measure.thread_pool      `ThreadPool` and the executor of the event loop
python -m tests.measure.time_limits      `task_timeout` and `asyncio.timeout`
python -m tests.measure.cpu              processor time per request, in the gateway and the runner
python -m tests.measure.guard            authentication and rate limits per request
python -m tests.measure.version_router   the choice of a version per request
python -m tests.measure.cache            requests per second with and without the response cache
python -m tests.measure.decoding         a small job, decoded in a child process and in the gateway

Models:

python -m tests.measure.precision          an image classifier in bfloat16, by layers that stay in float32
python -m tests.measure.inference_streams  numbers of inference streams, threads and concurrent calls
python -m tests.measure.single_image       latency of one image with one stream and with all threads
python -m tests.measure.title_search       accuracy and time of the search for misspelled titles
python -m tests.measure.arrays             the recommender's data structures and simpler alternatives
python -m tests.measure.recommendations    time per batch of recommendations, by algorithm
python -m tests.measure.top_k_products     top-k products by block and by the complete product
python -m tests.measure.indexes            approximate indexes and the exact product
python -m tests.measure.catalog            size, memory and latency of a recommender with a million items

`timing` has the function that some of them share.
"""
