"""The commands of the command line that look at a datastore or change it."""
