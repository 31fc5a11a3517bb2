//! The modules of `src/` import in one direction, and restricted names stay in their modules.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Bottom up: each room may import only from those before it. `lib.rs` lists them in the same order.
const ROOMS: [&str; 13] = [
    "base", "llm", "core", "data", "nn", "text", "ranking", "tasks", "cluster", "analysis",
    "audit", "report", "cli",
];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut dirs, mut found) = (vec![root.clone()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|of| of == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(found.len() > 150, "only {} files were read", found.len());
    found
}

/// The text without comments and without white space.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// First names after `crate::`: of `crate::{base::x, data::{y, z}}` they are `base` and `data`.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let name = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    for (at, _) in code.match_indices("crate::") {
        let rest = code[at + "crate::".len()..].trim_start();
        let Some(group) = rest.strip_prefix('{') else {
            named.insert(name(rest));
            continue;
        };
        named.insert(name(group));
        let mut depth = 0;
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => drop(named.insert(name(&group[at + 1..]))),
                _ => {}
            }
        }
    }
    named.remove("");
    named
}

#[test]
fn no_room_imports_from_a_later_one() {
    let place = |room: &str| ROOMS.iter().position(|of| *of == room);
    let (mut wrong, mut imports) = (Vec::new(), 0);
    for (path, text) in sources() {
        let room = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let Some(own) = place(room) else {
            assert!(["lib.rs", "main.rs", "bin"].contains(&room), "`src/{room}` is no room");
            continue;
        };
        for named in rooms_named(&code(&text)) {
            imports += 1;
            match place(&named) {
                Some(other) if other <= own => {}
                Some(_) => wrong.push(format!("{}: crate::{named}", path.display())),
                None => wrong.push(format!("{}: crate::{named} is no room", path.display())),
            }
        }
    }
    assert!(imports > 300, "only {imports} imports were found");
    assert!(wrong.is_empty(), "these import upwards:\n{}", wrong.join("\n"));
}

#[test]
fn the_map_in_lib_rs_lists_every_room_in_order() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let listed = lib.lines().filter_map(|line| line.strip_prefix("//! - [`"));
    let listed: Vec<&str> = listed.filter_map(|line| line.split('`').next()).collect();
    assert_eq!(listed, ROOMS);
    let mut declared: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    declared.sort_unstable();
    let mut rooms = ROOMS;
    rooms.sort_unstable();
    assert_eq!(declared, rooms);
}

/// Whether `what` is in the code as a path of its own: `batch::` is not `tch::`.
fn names(code: &str, what: &str) -> bool {
    code.match_indices(what).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Where the code named may stand; every other file that names it is an error.
#[test]
fn what_belongs_to_one_place_stays_there() {
    let confined = [
        ("tch::", "nn/"),
        ("sled::", "llm/index.rs"),
        ("async_openai::", "llm/"),
        ("plotters::", "report/figures/canvas.rs"),
        ("indicatif::", "cli/progress.rs"),
        ("ScoringPermit::issue()", "ranking/open.rs"),
    ];
    for (what, place) in confined {
        let users: Vec<String> = sources()
            .into_iter()
            .filter(|(_, text)| names(&code(text), what))
            .map(|(path, _)| path.display().to_string())
            .collect();
        assert!(!users.is_empty(), "nothing uses `{what}`");
        let outside: Vec<&String> = users.iter().filter(|path| !path.starts_with(place)).collect();
        assert!(outside.is_empty(), "`{what}` outside {place}: {outside:?}");
    }
}
