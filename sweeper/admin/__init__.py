"""Administration: migrations, indexes, grants, the preflight check, and pruning of the ledger."""
