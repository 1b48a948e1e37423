"""Samples: manifests, formats, decoding, geometry, loading."""
