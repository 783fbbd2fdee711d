"""The networks of `chart_of_networks`, a file for each family."""
