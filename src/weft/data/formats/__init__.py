"""Data formats, one file each: from files to a manifest."""
