"""The built-in rendered scenes: what is drawn, how each sensor shows it, and the best that can be told from that."""
