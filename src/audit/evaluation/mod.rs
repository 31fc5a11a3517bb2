//! Whether the way of evaluating decides the result.

pub mod known_items;
pub mod lists_of_another_fold;
pub mod order_by_setting;
pub mod relevant_items_in_every_list;
pub mod sampled_metrics;
pub mod short_lists;
pub mod ties_decide;
pub mod users_without_history;
