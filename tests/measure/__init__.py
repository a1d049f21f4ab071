"""What a piece of the engine costs, measured: commands, not tests. Each prints its numbers and what they are of.

python -m tests.measure.hop      the hop's own client beside aiohttp, over a unix socket
python -m tests.measure.threads  a hand-over to a thread beside the event loop's own
python -m tests.measure.limits   a time limit beside asyncio.timeout
python -m tests.measure.cpu      processor time of a request, in the gateway and in the runner
python -m tests.measure.guard    letting a request in: keys, limits
python -m tests.measure.cache    requests per second with and without answers kept

And of the models:

python -m tests.measure.precision  an image classifier in bfloat16, by which layers stay float32
python -m tests.measure.streams    the cores shared out between images
python -m tests.measure.search     titles that are typed wrongly
python -m tests.measure.arrays     the recommender's arrays beside plainer ways

`traffic`, `recommendations`, `products`, `indexes` and `catalogue` say in their first line what they measure. `timing`
is what some of them measure with.
"""
