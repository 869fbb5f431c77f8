//! The `influx` 1.x shell: connects, creates a database, inserts, selects, shows.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::product::{Server, free_address, silverback};
use crate::tool;

/// The shell with its arguments, at home in `home`: it keeps its history there.
fn shell(server: &Server, arguments: &[&str], home: &Path) -> Command {
    let mut command = Command::new(tool("SILVERBACK_TEST_INFLUX"));
    command.args([
        "-host",
        "127.0.0.1",
        "-port",
        &server.address.port().to_string(),
    ]);
    command
        .args(arguments)
        .env("HOME", home)
        .stdin(Stdio::null());
    command
}

/// What the shell prints when it is run once, standard error behind standard output.
fn run(server: &Server, arguments: &[&str]) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = shell(server, arguments, home.path()).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// What the shell prints on a terminal for `lines` typed into it.
fn type_into_shell(server: &Server, arguments: &[&str], lines: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let command = shell(server, arguments, home.path());
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words: Vec<_> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // `script` gives it a terminal, without which it reads all lines as one query.
    let mut terminal = Command::new("script");
    terminal
        .args(["-qec", &words.join(" "), "/dev/null"])
        .env("HOME", home.path());
    terminal
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    terminal.env("TERM", "dumb");
    let mut child = terminal.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn the_influx_shell_connects_creates_inserts_selects_and_shows() {
    let folder = tempfile::tempdir().unwrap();
    let server = silverback(&folder.path().join("data"), free_address());
    let said = type_into_shell(
        &server,
        &["-precision", "ns"],
        "create database shop\nuse shop\n\
         insert sales,town=Berlin,kind=a\\ b amount=3i,price=2.5,open=true,note=\"x y\" 1000\n\
         insert sales,town=Bern amount=4i 2000\n\
         select * from sales\n\
         show measurements\nshow tag values from sales with key = town\nshow field keys\n\
         show databases\nshow series\nselect mean(amount) from sales\nselect nonsense(amount) from sales\n\
         select from\ninsert sales amount=\"text\" 3000\nexit\n",
    );
    assert!(said.contains("Connected to http://127.0.0.1"), "{said}");
    assert!(said.contains("Using database shop"), "{said}");
    let table = [
        "name: sales",
        "time amount kind note open price town",
        "1000 3 a b x y true 2.5 Berlin",
        "2000 4 Bern",
    ];
    let words: Vec<String> = said
        .lines()
        .map(|line| {
            line.trim_start_matches("> ")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    for line in table {
        assert!(
            words.iter().any(|own| own == line),
            "\"{line}\" is missing:\n{said}"
        );
    }
    let later = [
        "town Berlin",
        "amount integer",
        "0 3.5",
        "sales,kind=a\\ b,town=Berlin",
    ];
    for line in later {
        assert!(
            words.iter().any(|own| own == line),
            "\"{line}\" is missing:\n{said}"
        );
    }
    assert!(said.contains("undefined function nonsense()"), "{said}");
    assert!(
        said.contains("error parsing query: found FROM, expected"),
        "{said}"
    );
    let conflict = "is type string, already exists as type integer";
    assert!(said.contains(conflict), "{said}");
}

#[test]
fn the_influx_shell_answers_in_csv_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let server = silverback(&folder.path().join("data"), free_address());
    run(&server, &["-execute", "CREATE DATABASE d"]);
    server.connect().write(
        "d",
        "m,t=a f=1.5 1600000000000000000\nm,t=b f=2 1600000001000000000",
    );
    let ask = |format, query| {
        run(
            &server,
            &["-database", "d", "-format", format, "-execute", query],
        )
    };
    let csv = ask("csv", "SELECT f FROM m GROUP BY t");
    assert_eq!(csv.lines().next(), Some("name,tags,time,f"), "{csv}");
    assert!(csv.contains("m,t=a,1600000000000000000,1.5"), "{csv}");
    let json = ask("json", "SELECT sum(f) FROM m");
    assert!(json.contains("[0,3.5]"), "{json}");
    let missing = run(&server, &["-database", "no", "-execute", "SELECT f FROM m"]);
    assert!(missing.contains("database not found: no"), "{missing}");
}

#[test]
fn the_influx_shell_imports_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = silverback(&folder.path().join("data"), free_address());
    let file = folder.path().join("import.txt");
    let mut text = "# DDL\nCREATE DATABASE moved\n# DML\n# CONTEXT-DATABASE: moved\n".to_owned();
    for index in 0..12_000 {
        writeln!(text, "m,host=h{} f={index}i {index}", index % 10).unwrap();
    }
    std::fs::write(&file, text).unwrap();
    let arguments = [
        "-import",
        "-path",
        file.to_str().unwrap(),
        "-precision",
        "ns",
    ];
    let said = run(&server, &arguments);
    assert!(said.contains("Failed 0 inserts"), "{said}");
    let count = server
        .connect()
        .query("moved", "SELECT count(f), sum(f) FROM m");
    let row = &count["results"][0]["series"][0]["values"][0];
    assert_eq!(
        (row[1].as_i64(), row[2].as_i64()),
        (Some(12_000), Some(11_999 * 6_000))
    );
}
