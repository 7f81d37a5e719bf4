"""Studies on a GPU machine without a network: what is carried there, and what runs there."""
