"""Who may do what: the caller's identity on a route, and the rules on documents."""
