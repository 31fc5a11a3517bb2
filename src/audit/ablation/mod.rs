//! Whether the arms of an ablation differ in one factor.

pub mod impure_contrast;
pub mod undeclared_ablation;
