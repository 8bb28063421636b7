"""Who is told what on a morning, in which words, and why the rest is silent."""
