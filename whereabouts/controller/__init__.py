"""The controller: one process for the cluster that frees what dead pods left and cuts node slices."""
