"""A CUDA driver of our own, on which the real pycuda runs without a GPU.

`build` makes it, `simulator` is a test's hand on it, `fixtures` gives it to pytest, ``driver/`` is C++.
What it proves is synchronisation, ownership and error paths, by the rules of CUDA's documentation. It says
nothing about speed, numerics, coherence of zero-copy memory on a board, or a real driver's own mistakes.
"""
