"""Text before it is numbers: files and their encodings, cleaning, splitting, vocabularies and tokenizers."""
