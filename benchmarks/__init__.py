"""What is measured, each file one question; `peers/` are the other side of it."""
