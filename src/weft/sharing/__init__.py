"""What each task makes of the features that all share."""
