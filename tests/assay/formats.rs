//! Every format gives the same results for the same interactions.

use polars::prelude::*;

use crate::support::Place;

/// (user, item, rating, time)
fn rows() -> Vec<(u32, u32, u32, u32)> {
    (1..=12)
        .flat_map(|u| (1..=6).map(move |i| (u, 1 + (u * i) % 9, 1 + (u + i) % 5, 100 * i + u)))
        .collect::<Vec<_>>()
        .into_iter()
        .fold(Vec::new(), |mut rows: Vec<(u32, u32, u32, u32)>, row| {
            if !rows.iter().any(|known| (known.0, known.1) == (row.0, row.1)) {
                rows.push(row);
            }
            rows
        })
}

/// The tidy table of an experiment on `data`, without the fingerprint, which names the files.
fn results(place: &Place, data: &str) -> Vec<String> {
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {data}\nsplit: {{scheme: leave-one-out}}\nsystems:\n  popularity: {{model: \
             popularity}}\n  item-knn: {{model: item-knn}}\nevaluate: {{k: [3]}}\n"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let csv = place.fine(&["results", "e.yaml"]);
    // The columns before the fingerprint.
    let head = |line: &str| line.split(',').take(14).collect::<Vec<_>>().join(",");
    assert!(csv.lines().next().unwrap().starts_with(&format!("{},fingerprint,", head(&csv))));
    csv.lines().skip(1).map(head).collect()
}

fn joined(separator: &str, header: &str) -> String {
    let lines =
        rows().into_iter().map(|(u, i, r, t)| [u, i, r, t].map(|n| n.to_string()).join(separator));
    header.to_owned() + &lines.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn csv_tsv_parquet_and_recbole_files_are_read_alike() {
    let place = Place::new();
    place.write("r.csv", joined(",", "user,item,rating,time\n"));
    place.write("r.tsv", joined("\t", ""));
    place.write(
        "r.inter",
        joined("\t", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"),
    );
    let column = |name: &str, of: fn(&(u32, u32, u32, u32)) -> u32| {
        Column::new(name.into(), rows().iter().map(of).collect::<Vec<_>>())
    };
    let columns = vec![
        column("user", |row| row.0),
        column("item", |row| row.1),
        column("rating", |row| row.2),
        column("time", |row| row.3),
    ];
    let mut frame = DataFrame::new(rows().len(), columns).unwrap();
    ParquetWriter::new(std::fs::File::create(place.path("r.parquet")).unwrap())
        .finish(&mut frame)
        .unwrap();
    let columns =
        "columns: {user: user, item: item, rating: rating, timestamp: time}, relevant: '>= 3'";
    let csv = results(&place, &format!("{{reader: table, ratings: r.csv, {columns}}}"));
    assert!(csv.iter().any(|line| line.contains(",ndcg,3,0.")), "{csv:?}");
    assert_eq!(csv, results(&place, &format!("{{reader: table, ratings: r.parquet, {columns}}}")));
    let places =
        "header: false, columns: {user: 1, item: 2, rating: 3, timestamp: 4}, relevant: '>= 3'";
    assert_eq!(csv, results(&place, &format!("{{reader: table, ratings: r.tsv, {places}}}")));
    assert_eq!(csv, results(&place, "{reader: recbole, stem: r, relevant: '>= 3'}"));
}

#[test]
fn lightgcn_lines_are_read_and_a_user_alone_on_a_line_is_fine() {
    let place = Place::new();
    place.write("train.txt", "0 1 2 3\n1 2 3\n2 0 1\n");
    place.write("test.txt", "0 0\n1\n2 3\n");
    place.write(
        "e.yaml",
        "experiment: e\ndata: {reader: user-items}\nsplit: {scheme: official}\nsystems: {p: {model: popularity}}\n\
         evaluate: {k: [1], metrics: [recall]}\n",
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let csv = place.fine(&["results", "e.yaml"]);
    // User 0 can only get item 0; user 2 gets item 2 before item 3 (a tie), so misses.
    assert!(csv.contains(",official,1,full,standard,all,recall,1,0.5,2,"), "{csv}");
}
