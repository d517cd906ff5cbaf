"""The subjects: a module for each, with its ``TARGET``."""
