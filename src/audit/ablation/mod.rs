//! Whether the arms of an ablation differ in one factor.
