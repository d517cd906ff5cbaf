"""The node agent: one warm process per node that answers the calls of the native plugin."""
