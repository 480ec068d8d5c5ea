"""Nothing to declare: what carries an ask out in its caller's turn is called from Python."""
