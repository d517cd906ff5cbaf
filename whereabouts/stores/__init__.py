"""Where blocks live: one interface, one module a datastore."""
