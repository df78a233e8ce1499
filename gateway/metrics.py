"""Prometheus metrics of this process, each named once."""

from prometheus_client import Counter, Gauge, Histogram

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter("parley_requests_total", "HTTP requests by route and status", ["route", "status"])
REQUEST_SECONDS = Histogram("parley_request_seconds", "Time to answer a request", ["route"], buckets=_QUICK)
UPDATES = Counter("parley_updates_total", "Inbound updates by channel and what became of them", ["channel", "outcome"])
TURNS = Counter("parley_turns_total", "Turns by outcome", ["outcome"])
TURN_SECONDS = Histogram("parley_turn_seconds", "Time from opening a turn to its committed result", buckets=_QUICK)
SENDS = Counter("parley_sends_total", "Units sent to platforms by outcome", ["channel", "outcome"])
TURNS_RUNNING = Gauge("parley_turns_running", "Turns that this process holds")
CAUGHT_UP = Counter("parley_caught_up_total", "Messages found in a platform's history after a gap", ["channel"])
ASK_SECONDS = Histogram("parley_ask_seconds", "Time to answer /api/v1/ask", ["outcome"], buckets=_QUICK)
EVENT_LOOP_LAG = Gauge("parley_event_loop_lag_seconds", "How late this process's event loop runs")
