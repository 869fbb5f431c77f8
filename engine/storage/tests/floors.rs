//! Which module may use which: the floors of DESIGN.md, held by reading the sources.
//!
//! A module uses lower floors only. Neighbours on one floor meet on the floor above. Tests and
//! comments inside a module count as the module: what they name, they know.
#![expect(clippy::unwrap_used, reason = "a test's helpers may stop the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. `error` and `model` share the ground: ids, values and errors hold no handle.
const FLOORS: &[&[&str]] = &[
    &["error", "model", "sabotage", "sync"],
    &["budget", "codec", "env"],
    &["format", "workers"],
    &["block", "index", "manifest", "memtable", "wal"],
    &["snapshot"],
    &["scan"],
    &["upkeep"],
    &["db"],
    &["fuzzing"],
];

/// Neighbours that may know each other after all: user, used.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("model", "error"),
    // A block carries the index of its series.
    ("block", "index"),
];

#[test]
fn modules_use_lower_floors_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut faults = Vec::new();
    for path in &files {
        let inside = path.strip_prefix(&root).unwrap();
        let module = module_of(inside);
        if module != "lib" {
            faults.extend(faults_of(
                &module,
                inside,
                &fs::read_to_string(path).unwrap(),
            ));
        }
    }
    assert!(files.len() > 10, "the sources are read: {}", files.len());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn each_kind_of_fault_is_seen() {
    let fault = |module: &str, text: &str| faults_of(module, Path::new("x.rs"), text).join("\n");
    assert_eq!(
        fault("wal", "use crate::env::Env;\nuse crate::format::wal;"),
        ""
    );
    assert_eq!(fault("wal", "use crate::wal::open;\nuse crate::model;"), "");
    assert!(fault("format", "use crate::wal::Wal;").contains("above"));
    assert!(fault("env", "use crate::fuzzing;").contains("above"));
    assert!(fault("wal", "use crate::manifest::Edit;").contains("neighbour"));
    assert!(fault("error", "use crate::model::Rows;").contains("neighbour"));
    assert!(fault("wal", "use crate::{env, model};").contains("one module"));
    assert!(fault("wal", "fn f() -> crate::Result<()> {}").contains("one module"));
    assert!(fault("wal", "use super::super::env;").contains("crate::"));
    assert!(fault("wal", "use crate::newcomer::X;").contains("no floor"));
    assert!(fault("newcomer", "").contains("no floor"));
}

fn faults_of(module: &str, file: &Path, text: &str) -> Vec<String> {
    let floors: BTreeMap<&str, usize> = (FLOORS.iter().enumerate())
        .flat_map(|(floor, names)| names.iter().map(move |name| (*name, floor)))
        .collect();
    let file = file.display();
    let Some(own) = floors.get(module) else {
        return vec![format!(
            "{file}: module `{module}` has no floor: give it one in FLOORS"
        )];
    };
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.contains("super::super::") {
            faults.push(format!(
                "{file}:{number}: write `crate::` for paths out of the parent"
            ));
        }
        for used in crate_paths(line) {
            let fault = match floors.get(used) {
                _ if used == module || EXCEPTIONS.contains(&(module, used)) => continue,
                None if used.starts_with(|c: char| c == '{' || c == '*' || c.is_uppercase()) => {
                    "name one module after `crate::`".to_owned()
                }
                None => format!("`{used}` has no floor: give it one in FLOORS"),
                Some(floor) if floor < own => continue,
                Some(floor) if floor == own => {
                    format!("`{used}` is a neighbour of `{module}`: they meet one floor higher")
                }
                Some(_) => format!("`{used}` stands above `{module}`"),
            };
            faults.push(format!("{file}:{number}: {fault}"));
        }
    }
    faults
}

/// The first name of every `crate::` path of a line; `$crate::` of our own macros counts too.
fn crate_paths(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        rest.get(..end.max(1)).unwrap_or("{")
    })
}

/// `wal/open.rs` and `wal.rs` both belong to `wal`.
fn module_of(inside: &Path) -> String {
    let first = inside.components().next().unwrap().as_os_str();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
}
