"""Dead letters: how one is built, which are meant, and what is done with them."""
