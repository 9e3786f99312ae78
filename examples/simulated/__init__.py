"""What the examples need around them, made up: devices, servers, and people.

Each is a context manager. Inside the block the device is there; at the block's end it goes away.
"""
