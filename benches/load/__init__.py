"""More requests than the server can take, and what becomes of them."""
