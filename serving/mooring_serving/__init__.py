"""The inference server that runs in a pod: Open Inference Protocol in, predictions and counts out.

The rooms: `http` (bytes on sockets), `protocol` (bytes to tensors and back), the dataplane and its
duties (recording, receipts, feedback, forwarding, shadow), and the edge (`app`, `management`,
`command`) where they are wired.
"""
