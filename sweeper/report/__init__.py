"""Reports: statements read from the store, figures, tables and the page that holds them."""
