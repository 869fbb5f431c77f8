//! Dependencies and licences, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{Outcome, cargo};

/// Licences that ask nothing of a user but their own text.
const LICENCES: [&str; 12] = [
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "0BSD",
    "Unlicense",
    "CC0-1.0",
];

/// What an embedder of the engine must never find in its tree.
const NOT_IN_ENGINE: [&str; 8] = [
    "tokio",
    "hyper",
    "http",
    "axum",
    "tonic",
    "tower",
    "async-std",
    "rayon",
];

/// Crates in the engine's tree at most, its own included.
const ENGINE_CRATES_MAX: usize = 60;

/// Checks licences, the engine's tree and double versions.
pub(crate) fn check() -> Outcome {
    println!("== dependencies and licences");
    let output = cargo()
        .args(["metadata", "--format-version=1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .output()
        .map_err(|error| format!("cargo metadata did not start: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata is no JSON: {error}"))?;
    licences(&metadata)?;
    engine(&metadata)
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn licences(metadata: &Value) -> Outcome {
    let mut faults = Vec::new();
    let mut count = 0;
    for package in list(metadata, "packages") {
        count += 1;
        let licence = text(package, "license").replace('/', " OR ");
        let plain = licence.replace(['(', ')'], "");
        // One way to satisfy the expression is enough: some alternative of which all parts are known.
        let fine = plain.split(" OR ").any(|way| {
            way.split(" AND ")
                .all(|part| LICENCES.contains(&part.trim()))
        });
        if !fine {
            faults.push(format!("{}: licence \"{licence}\"", text(package, "name")));
        }
    }
    println!("{count} packages");
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

/// Walks the engine's normal dependencies.
fn engine(metadata: &Value) -> Outcome {
    let names: BTreeMap<&str, &str> = list(metadata, "packages")
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"], "nodes")
        .map(|node| (text(node, "id"), node))
        .collect();
    let start = names.iter().find(|(_, name)| **name == "silverback");
    let mut open = vec![*start.ok_or("no package \"silverback\"")?.0];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let normal =
            |dependency: &&Value| list(dependency, "dep_kinds").any(|kind| kind["kind"].is_null());
        let dependencies = nodes.get(id).map(|node| list(node, "deps").filter(normal));
        open.extend(
            dependencies
                .into_iter()
                .flatten()
                .map(|dependency| text(dependency, "pkg")),
        );
    }
    let tree: BTreeSet<&str> = seen
        .iter()
        .filter_map(|id| names.get(id).copied())
        .collect();
    println!("{} crates in the engine's tree", tree.len());
    if let Some(banned) = NOT_IN_ENGINE.iter().find(|name| tree.contains(*name)) {
        return Err(format!(
            "{banned} is in the engine's tree: embedders get it too"
        ));
    }
    if tree.len() > ENGINE_CRATES_MAX {
        return Err(format!(
            "{} crates in the engine's tree, {ENGINE_CRATES_MAX} at most: {tree:?}",
            tree.len()
        ));
    }
    Ok(())
}
