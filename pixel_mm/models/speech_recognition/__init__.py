"""Speech recognition: plain networks, and what trains them."""
