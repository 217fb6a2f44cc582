"""The papers' tables: what each row stands for, how to compute it, and the two side by side."""
