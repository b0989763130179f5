"""Questions over the graph and over data, each one function that returns plain rows."""
