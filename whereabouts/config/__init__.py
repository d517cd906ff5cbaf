"""The plugin's configuration: from the words of a network configuration to checked values."""
