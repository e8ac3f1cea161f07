"""How bytes come in: one narrow way to fetch, with caps and deadlines, straight to the server that was named."""
