//! What the database refuses, what verification finds when somebody forced it, and what opening refuses.
