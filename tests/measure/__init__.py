"""What a piece of the engine costs, measured: commands, not tests. Each prints its numbers and what they are of.

python -m tests.measure.hop      the hop's own client beside aiohttp, over a unix socket
python -m tests.measure.threads  a hand-over to a thread beside the event loop's own
python -m tests.measure.limits   a time limit beside asyncio.timeout
python -m tests.measure.cpu      processor time of a request, in the gateway and in the runner
"""
