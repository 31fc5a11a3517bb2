//! Whether a system could know what it is tested on.

pub mod copied_reviews;
pub mod duplicate_interactions;
pub mod future_training;
pub mod id_order_answers;
pub mod id_popularity;
pub mod profiles_name_test_items;
pub mod test_in_two_folds;
pub mod train_test_overlap;
