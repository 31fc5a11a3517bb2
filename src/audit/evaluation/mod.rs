//! Whether the way of evaluating decides the result.
