"""Measures the service beside its peers. Speaks HTTP to all of them and imports nothing of ours.

options       what to measure, from the command line
scenarios     the questions asked, and their right answers
photographs   JPEG files of a wanted size
payloads      how each server wants a question put
targets       which servers take part in which scenario, and how each is started
artifacts     files of the model store that peers serve too, and a synthetic catalogue
environments  a virtual environment per peer
servers       a server as a group of processes: started, paused, weighed, killed
closed_loop   wrk: as fast as N connections allow
open_loop     a fixed rate, latency from the moment a request was due; openloops asks it of each server
checks        answers under load compared with the right ones
statistics    percentiles, medians, failures
rounds        rounds in alternating order, medians
sweeps        rows a request, size of the catalogue, number of gateways
starts        seconds until ready
growth        memory after ten thousand and after a million requests
machine       what it ran on
bounds        what the hardware gives without any server
container     how large the image is, and how soon ready
running       one run of all that was asked for
bars          what was to be reached, and what was
results       what runs measured, as one document
report, plots RESULTS.md
peers         one small server per peer; runs in that peer's environment
"""
