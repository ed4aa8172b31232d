"""What grids that decide are made of: the points of a group, and what is read off them."""
