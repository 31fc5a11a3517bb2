//! Rule-based explanations from the data of a control: free, and the baseline for written explanations.

use crate::{
    data::UserIx,
    tasks::top_n::rerank::{JudgeContext, JudgeName},
    text::Profile,
};

/// Maximum number of genres and tags in an explanation.
const MAX_WORDS: usize = 3;

/// Why a control ranks the item as it does; none for the oracle, which must not reveal test data. The fallback for a chat
/// model is the explanation of the encoder.
pub(super) fn explain(
    judge: &JudgeName,
    user: UserIx,
    item: u32,
    context: &JudgeContext,
) -> Option<String> {
    let name = context.name(item);
    Some(match judge {
        JudgeName::Oracle => return None,
        JudgeName::Shuffle => format!("{name} was drawn at random."),
        JudgeName::Popularity => {
            let n_users = context.users.len() as u32;
            let likes =
                |user: &u32| context.data.positives.items_of(UserIx(*user)).binary_search(&item);
            let liked = (0..n_users).filter(|user| likes(user).is_ok()).count();
            // In words: a number would be ungrounded, because it is not in the data of the item.
            let many = match liked as f64 / f64::from(n_users.max(1)) {
                share if share >= 0.2 => "very many",
                share if share >= 0.05 => "many",
                share if share >= 0.01 => "some",
                _ => "few",
            };
            format!("{name} was liked by {many} people.")
        }
        JudgeName::Encoder | JudgeName::Chat(_) => shared(user, item, context),
    })
}

/// Genres and tags that the profiles of user and item share, and the rated title that shares most genres with the item.
fn shared(user: UserIx, item: u32, context: &JudgeContext) -> String {
    let name = context.name(item);
    let parsed = |text: &str| Profile::parse(text).map(|(profile, _)| profile).unwrap_or_default();
    let of_user = parsed(context.profile(user));
    let of_item = parsed(context.item_profile(item));
    let likes = |word: &&String| {
        let same = |known: &String| known.eq_ignore_ascii_case(word);
        of_user.genres.iter().any(same) || of_user.tags.iter().any(same)
    };
    let mut words: Vec<&String> = Vec::new();
    let all =
        of_item.genres.iter().chain(&context.facts[item as usize].genres).chain(&of_item.tags);
    for word in all.filter(likes) {
        if words.len() < MAX_WORDS && !words.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            words.push(word);
        }
    }
    let genres = |item: u32| &context.facts[item as usize].genres;
    let common = |other: u32| genres(other).iter().filter(|of| genres(item).contains(of)).count();
    // The latest liked item that shares most genres.
    let liked = context.data.positives.items_of(user);
    let rated = context.recent(user);
    let near = rated
        .iter()
        .filter(|(other, _)| liked.binary_search(other).is_ok() && common(*other) > 0)
        .min_by_key(|(other, _)| std::cmp::Reverse(common(*other)));
    let list = words.iter().map(|word| &word[..]).collect::<Vec<_>>().join(", ");
    match (words.is_empty(), near) {
        (false, Some((other, _))) => {
            format!("{name} has what you look for: {list}. You liked {}.", context.name(*other))
        }
        (false, None) => format!("{name} has what you look for: {list}."),
        (true, Some((other, _))) => {
            format!("{name} is akin to {}, which you liked.", context.name(*other))
        }
        (true, None) => format!("{name} lies near your profile as a whole."),
    }
}
