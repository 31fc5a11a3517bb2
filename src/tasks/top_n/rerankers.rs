//! Rerankers of an experiment file: their bases, their judges, and the controls added to them.

use super::{
    SystemSpec,
    experiment::System,
    rerank::{JudgeName, RerankParams, Strategy, Variant},
};
use crate::tasks::shared::place_of;
use crate::{
    base::yaml::{Diagnostic, node::Entry},
    llm::EndpointSpec,
    ranking::{ScoreSpec, Slice},
};

/// Checks that the base system and the judge of every reranker exist.
pub(crate) fn check(
    systems: &[System],
    judges: &[(String, EndpointSpec)],
    entry: &Entry,
) -> Result<(), Diagnostic> {
    for (system, params) in rerankers(systems) {
        let at = place_of(&system.name, entry)?;
        let base = systems.iter().find(|base| base.name == params.of);
        let names =
            systems.iter().filter(|base| base.name != system.name).map(|base| &base.name[..]);
        match base.map(|base| &base.model) {
            None => {
                return Err(Diagnostic::at(
                    at,
                    format!("`{}` reranks `{}`, which is not a system", system.name, params.of),
                )
                .expected(
                    "the name of another system, with the levels of its sweeps: `gat[cosine=on]`",
                )
                .suggest(&params.of, names));
            }
            Some(base) if base.gives_lists() => {
                return Err(Diagnostic::at(
                    at,
                    format!("`{}` reranks `{}`, which is not a model", system.name, params.of),
                )
                .expected("a system whose model scores every item"));
            }
            Some(_) => {}
        }
        if let JudgeName::Chat(judge) = &params.judge
            && !judges.iter().any(|(name, _)| name == judge)
        {
            let known = judges.iter().map(|(name, _)| &name[..]);
            return Err(Diagnostic::at(at, format!("unknown judge `{judge}`"))
                .expected(
                    "encoder, popularity, shuffle, oracle, or one of the experiment's `endpoints`",
                )
                .suggest(judge, JudgeName::CONTROLS.into_iter().chain(known)));
        }
    }
    Ok(())
}

fn rerankers(systems: &[System]) -> impl Iterator<Item = (&System, &RerankParams)> {
    systems.iter().filter_map(|system| match &system.model {
        SystemSpec::Rerank(params) => Some((system, &**params)),
        _ => None,
    })
}

/// Adds oracle upper bound, embedding baseline and random reranker to every chat model, unless the experiment has them
/// with the same base, pool, users and fusion: claims about a chat model need these controls.
pub(crate) fn add_controls(systems: &mut Vec<System>) {
    let chats: Vec<RerankParams> = rerankers(systems)
        .filter(|(_, params)| matches!(params.judge, JudgeName::Chat(_)))
        .map(|(_, params)| params.clone())
        .collect();
    for chat in chats {
        for (name, judge) in [
            ("oracle upper bound", JudgeName::Oracle),
            ("embedding baseline", JudgeName::Encoder),
            ("random reranker", JudgeName::Shuffle),
        ] {
            // The oracle is not fused; oracle and random reranker read no text. A chat model of the variant
            // `code` fuses by strategy: its controls are asked in the same way.
            let fused = judge != JudgeName::Oracle;
            let reads = judge == JudgeName::Encoder;
            let is_it = |other: &RerankParams| {
                other.judge == judge
                    && (&other.of, other.pool, other.users) == (&chat.of, chat.pool, chat.users)
                    && (!reads || other.text == chat.text)
                    && (!fused
                        || other.variant == Variant::Paper
                        || other.strategy == chat.strategy)
                    && (!fused || (other.variant, other.fuse()) == (chat.variant, chat.fuse()))
                    && (fused || other.is_upper_bound())
            };
            if rerankers(systems).any(|(_, other)| is_it(other)) {
                continue;
            }
            let mut levels = vec![format!("of={}", chat.of), format!("pool={}", chat.pool)];
            if chat.users != Slice::All {
                levels.push(format!("users={}", chat.users));
            }
            let fuse = chat.fuse();
            if fused && fuse != Default::default() {
                levels.push(format!("fuse={} by {}", fuse.judge, fuse.by.name()));
            }
            let as_code = fused && chat.variant == Variant::Code;
            if as_code {
                levels.push(format!("strategy={},variant=code", chat.strategy.name()));
            }
            // Two chat models may differ in what the name does not say: it is counted on.
            let named = |n: usize| match n {
                1 => format!("{name}[{}]", levels.join(",")),
                n => format!("{name}[{},text={},{n}]", levels.join(","), chat.text.profiles),
            };
            let taken = |name: &String| systems.iter().any(|system| system.name == *name);
            // invariant: one of so many names is free
            let name =
                (1..=systems.len() + 1).map(named).find(|name| !taken(name)).unwrap_or_default();
            systems.push(System {
                name,
                describe: "Control added by assay.".into(),
                train_on: Default::default(),
                is_added: true,
                model: SystemSpec::Rerank(Box::new(RerankParams {
                    judge,
                    strategy: if as_code { chat.strategy } else { Strategy::Prompt },
                    variant: if as_code { Variant::Code } else { Variant::Paper },
                    explain: None,
                    prompt: Default::default(),
                    ..chat.clone()
                })),
            });
        }
    }
}

/// Adds the slices of users of rerankers: in other slices, most lists are the base's.
pub(crate) fn add_slices(systems: &[System], evaluate: &mut ScoreSpec) {
    for (_, params) in rerankers(systems) {
        if !evaluate.slices.contains(&params.users) && params.users != Slice::All {
            evaluate.slices.push(params.users);
        }
    }
}
