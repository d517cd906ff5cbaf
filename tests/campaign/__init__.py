"""A campaign of faults: load by real processes, faults that overlap at random, and a checker afterwards."""
