"""What is read about one thing: a key, a dead letter, a sweep; and how it is found."""
