//! Which module of the server may use which: each line a floor, lower floors first. Modules use
//! lower floors only; neighbours on one floor do not know each other.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

use std::path::Path;

const FLOORS: [&[&str]; 5] = [
    &["allocator", "exit", "version"],
    &["config", "door", "metrics"],
    &["app", "log"],
    &["grpc", "http"],
    &["serve"],
];

/// The command line stands above all.
const ROOF: &str = "cli";

fn floor(module: &str) -> usize {
    if module == ROOF {
        return FLOORS.len();
    }
    let found = FLOORS.iter().position(|floor| floor.contains(&module));
    found.unwrap_or_else(|| panic!("{module} has no floor"))
}

fn check(module: &str, path: &Path) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            check(module, &entry.unwrap().path());
        }
        return;
    }
    let text = std::fs::read_to_string(path).unwrap();
    for used in text.split("crate::").skip(1) {
        let end = used
            .find(|c: char| !c.is_ascii_lowercase() && c != '_')
            .unwrap();
        let used = used.get(..end).unwrap();
        assert!(
            !used.is_empty(),
            "{}: each use names one module",
            path.display()
        );
        assert!(
            used == module || floor(used) < floor(module),
            "{}: {module} uses {used}, which stands no lower",
            path.display()
        );
    }
}

#[test]
fn modules_use_lower_floors_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if module != "main" {
            check(&module, &path);
        }
    }
}
