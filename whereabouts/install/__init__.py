"""Putting the plugin and its files on a host, keeping its credentials fresh, taking it all away again."""
