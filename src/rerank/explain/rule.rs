//! Explanations by rule, from what a control knows: free, and what a written one must be better than.

use crate::{
    data::UserIx,
    rerank::{JudgeName, Knowledge},
    text::Profile,
};

/// Genres and tags named at most.
const MOST: usize = 3;

/// Why a control put the item where it is; none of the oracle, who may not say what it knows. The texts
/// of chat models are stood in for by what the encoder would say.
pub(super) fn explain(
    judge: &JudgeName,
    user: UserIx,
    item: u32,
    knows: &Knowledge,
) -> Option<String> {
    let name = knows.name(item);
    Some(match judge {
        JudgeName::Oracle => return None,
        JudgeName::Shuffle => format!("{name} was drawn at random."),
        JudgeName::Popularity => {
            let liked = (0..knows.users.len() as u32).filter(|of| {
                knows.data.positives.items_of(UserIx(*of)).binary_search(&item).is_ok()
            });
            format!("{name} was liked by {} people.", liked.count())
        }
        JudgeName::Encoder | JudgeName::Chat(_) => shared(user, item, knows),
    })
}

/// What the profiles of user and item share, and the rated title that shares most genres with the item.
fn shared(user: UserIx, item: u32, knows: &Knowledge) -> String {
    let name = knows.name(item);
    let parsed = |text: &str| Profile::parse(text).map(|(profile, _)| profile).unwrap_or_default();
    let of_user = parsed(knows.profile(user));
    let of_item = parsed(knows.item_profile(item));
    let likes = |word: &&String| {
        let same = |known: &String| known.eq_ignore_ascii_case(word);
        of_user.genres.iter().any(same) || of_user.tags.iter().any(same)
    };
    let mut words: Vec<&String> = Vec::new();
    let all = of_item.genres.iter().chain(&knows.facts[item as usize].genres).chain(&of_item.tags);
    for word in all.filter(likes) {
        if words.len() < MOST && !words.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            words.push(word);
        }
    }
    let genres = |item: u32| &knows.facts[item as usize].genres;
    let common = |other: u32| genres(other).iter().filter(|of| genres(item).contains(of)).count();
    let rated = knows.recent(user);
    let best = rated.iter().map(|(_, rating)| *rating).fold(f32::NEG_INFINITY, f32::max);
    // Of those rated best the one that shares most, and of equals the latest.
    let near = rated
        .iter()
        .filter(|(other, rating)| *rating == best && common(*other) > 0)
        .min_by_key(|(other, _)| std::cmp::Reverse(common(*other)));
    let list = words.iter().map(|word| &word[..]).collect::<Vec<_>>().join(", ");
    match (words.is_empty(), near) {
        (false, Some((other, _))) => {
            format!("{name} has what you look for: {list}. You liked {}.", knows.name(*other))
        }
        (false, None) => format!("{name} has what you look for: {list}."),
        (true, Some((other, _))) => {
            format!("{name} is akin to {}, which you liked.", knows.name(*other))
        }
        (true, None) => format!("{name} lies near your profile as a whole."),
    }
}
