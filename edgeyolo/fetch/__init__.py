"""Known weights from the net: a catalogue of what is pinned, and downloads that resume and are proved."""
