use super::*;
use crate::analysis::with_means;

/// Of 466 and 460 users, 800 different ones.
fn rows() -> Vec<ResultRow> {
    let mut rows = Vec::new();
    for (system, base) in [("popularity", 0.2), ("als[α=1,k=2]", 0.4)] {
        for (fold, n) in [("u1", 456), ("u2", 460)] {
            for metric in ["precision", "ndcg"] {
                let seeds = if base > 0.3 { &["1", "2"][..] } else { &["1"] };
                rows.extend(seeds.iter().map(|seed| ResultRow {
                    system: system.into(),
                    fold: fold.into(),
                    seed: (*seed).into(),
                    slice: "cold<10".into(),
                    metric: metric.into(),
                    value: Some(base + f64::from(n * seed.parse::<i32>().unwrap()) / 10_000.0),
                    n_users: n as usize,
                    n_pairs: n as usize,
                    fingerprint: "0123456789".into(),
                    is_seeded: seeds.len() > 1,
                    ..ResultRow::example()
                }));
            }
        }
    }
    with_means(rows, &|group| match group.iter().all(|row| row.fold == group[0].fold) {
        true => (group[0].n_users, group[0].n_pairs),
        false => (800, 916),
    })
}

fn selection(fold: &str) -> Selection {
    Selection {
        protocol: "full".into(),
        convention: "standard".into(),
        slice: "cold<10".into(),
        k: 10,
        fold: fold.into(),
    }
}

fn table(fold: &str) -> Table {
    Table::new(&rows(), &selection(fold)).unwrap()
}

#[test]
fn the_terminal_table_says_what_it_rests_on() {
    insta::assert_snapshot!(table("mean").write(Format::Terminal));
}

#[test]
fn the_markdown_table_says_what_it_rests_on() {
    insta::assert_snapshot!(table("u1").write(Format::Markdown));
}

#[test]
fn the_latex_table_says_what_it_rests_on() {
    insta::assert_snapshot!(table("mean").write(Format::Latex));
}

/// 456 / 10,000 is .0456: with seeds 1 and 2 ALS has .4456 and .4912 on u1, of mean .4684 and
/// standard deviation .0322.
#[test]
fn one_fold_is_its_mean_over_seeds_with_their_spread() {
    let text = table("u1").write(Format::Terminal);
    assert!(text.contains("0.4684 ± 0.0322*"), "{text}");
    assert!(text.contains("±: sample standard deviation over the 2 seeds."), "{text}");
}

/// u1 has .4684, u2 .4 + (.046 + .092) / 2 = .4690: sd .0004; pooled over seeds .0324.
#[test]
fn the_spread_shown_is_that_asked_for() {
    let of = |spread| {
        let table = Table::joint(&rows(), &[selection("mean")], Some(spread)).unwrap();
        table.write(Format::Terminal)
    };
    let (folds, seeds) = (of(Spread::Folds), of(Spread::Seeds));
    assert!(folds.contains("0.4687 ± 0.0004*"), "{folds}");
    assert!(folds.contains("over the 2 folds (of means over seeds)."), "{folds}");
    assert!(seeds.contains("0.4687 ± 0.0324*"), "{seeds}");
    assert!(seeds.contains("over seeds within a fold, pooled over the 2 folds."), "{seeds}");
}

#[test]
fn csv_has_both_spreads_and_both_counts() {
    let csv = table("mean").write(Format::Csv);
    assert!(csv.starts_with(
        "system,precision,precision_sd_folds,precision_sd_seeds,precision_n_users,precision_n_pairs,ndcg"
    ));
    assert!(csv.lines().nth(2).unwrap().contains(",800,916"), "{csv}");
}

/// An interval takes the place of ±, so nothing is said of ±; without a spread and without an
/// interval nothing is said of either.
#[test]
fn notes_explain_what_is_shown_and_nothing_else() {
    let mut rows = rows();
    let plain = Table::new(&rows, &selection("u2")).unwrap();
    assert_eq!(plain.notes(false).iter().filter(|note| note.contains('[')).count(), 0);
    for row in &mut rows {
        (row.low, row.high) = (row.value.map(|v| v - 0.1), row.value.map(|v| v + 0.1));
    }
    let table = Table::new(&rows, &selection("mean")).unwrap();
    let text = table.write(Format::Terminal);
    assert!(!text.contains('±') && text.contains("[low, high]: 95 % interval"), "{text}");
    assert!(text.contains("each drawn once for all folds and seeds"), "{text}");
    assert!(table.notes(true).iter().any(|note| note.starts_with('±')), "HTML shows both");
    rows.retain(|row| row.system == "popularity");
    rows.iter_mut().for_each(|row| (row.low, row.high) = (None, None));
    let text = Table::new(&rows, &selection("mean")).unwrap().write(Format::Terminal);
    for absent in ["seed", "[low", "best"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[test]
fn intervals_over_few_users_are_warned_of() {
    let mut rows = rows();
    for row in &mut rows {
        (row.interval_asked, row.n_users, row.n_pairs) = (true, 6, 6);
        (row.low, row.high) = (Some(0.1), Some(0.6));
    }
    let text =
        |rows: &[ResultRow]| Table::new(rows, &selection("mean")).unwrap().write(Format::Terminal);
    let few = text(&rows);
    assert!(few.contains("cover the mean less often than 95 %: slice cold<10 (6 users)"), "{few}");
    for row in &mut rows {
        (row.n_users, row.n_pairs, row.low, row.high) = (2, 4, None, None);
    }
    let none = text(&rows);
    let expected = "No interval over fewer than 3 users: slice cold<10 (2 users).";
    assert!(none.contains(expected), "{none}");
}

#[test]
fn means_over_different_users_say_so_in_every_cell() {
    let mut rows = rows();
    for row in rows.iter_mut().filter(|row| row.metric == "ndcg") {
        (row.n_users, row.n_pairs) = (3, 5);
    }
    let table = Table::new(&rows, &selection("mean")).unwrap();
    let text = table.write(Format::Terminal);
    assert!(text.contains("(3; 5)") && text.contains("(800; 916)"), "{text}");
    assert!(text.contains("means of a row are over different users"), "{text}");
    assert!(text.contains("in parentheses: users; user-fold pairs"), "{text}");
}

#[test]
fn different_fingerprints_are_said_not_to_compare() {
    let mut rows = rows();
    rows[0].fingerprint = "other".into();
    let text = Table::new(&rows, &selection("u1")).unwrap().write(Format::Terminal);
    assert!(text.contains("not comparable"), "{text}");
    let is_marked = |line: &str| line.starts_with(" als") && line.contains('*');
    assert!(!text.lines().any(is_marked), "{text}");
}
