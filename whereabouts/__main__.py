"""``python -m whereabouts``."""

from whereabouts.entry import main

main()
