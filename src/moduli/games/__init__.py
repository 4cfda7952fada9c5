"""Networks that play games and reuse networks of other games: GRUSM-ESP."""
