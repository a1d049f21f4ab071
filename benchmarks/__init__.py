"""Benchmark of the service and its peers over HTTP. It imports no other package of the project.

Lowest level first; a module imports only from levels above it in this list (`tests/benchmarks/test_import_order.py`).

options               command-line options
statistics            percentiles, medians, ratios
artifacts             model store, and a synthetic catalogue
machine               hardware, operating system, package versions
http_request          one HTTP request, and the check of its response
images                JPEG files of a given size
servers               a server process group: start, pause, resume, memory, stop
container             size and start time of the container image
peers                 one small server per peer; runs in the environment of that peer
results               the results document: read, merge, save
environments          a virtual environment per peer
closed_loop           closed-loop load with wrk
open_loop             open-loop load at a fixed rate
timerfd               timer of the open loop
validation            comparison of responses under load with the expected ones
scenarios             scenarios: workload, artifact, connections, rates
cases                 requests of a scenario and their expected results
thresholds            performance thresholds and whether a run meets them
plots                 bar and line charts as SVG
payloads              encoding of requests and decoding of responses by server
targets               servers of a scenario and their start commands
report                RESULTS.md and its plots; tables in report_tables
hardware_limit        decoding and inference without a server
rounds                measurement rounds in alternating order
selection             targets and requests of one run
sweeps                rows per request, catalogue size, number of gateways
cold_start            time to start with and without the page cache
open_loop_scenarios   open-loop load of the scenarios
memory_growth         memory after ten thousand and after a million requests
running               one complete run
"""
