"""HTTP/1.1 on asyncio, both ends: the listener that clients reach and the client that forwards.

Parsing is llhttp's (through httptools); what is ours is limits, order, deadlines and draining.
Nothing here knows what a model is.
"""
