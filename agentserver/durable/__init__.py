"""Durable invocations: a run that outlives its request, its client and its process.

What a run means (steps, events, retries, cancel, idempotency, recovery) is written once, in `_steps`,
`_attempt` and `_runs`. An engine below only stores, and hands over what a dead process has left: `_engine`
says what it must do, `_memory` does it in the plainest way.
"""
