"""Where Metaflow runs run: one file a backend, behind one small protocol."""
