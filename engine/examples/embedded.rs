//! A program with a time-series database in it: opens a directory, writes lines and points, asks.
//!
//! `cargo run --release -p silverback --example embedded`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use silverback::{Cell, Options, Point, Silverback};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run()
}

pub(crate) fn run() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let db = Silverback::open(Options::new(folder.path()))?;
    db.create_database("greenhouse")?;

    // Text, as it comes from sensors that speak line protocol.
    db.write_lines(
        "greenhouse",
        b"air,bed=north celsius=21.5,humid=61i 1600000000000000000",
    )?;
    // Values, as a program has them. Each call returns when its points are on the disk.
    let minute = 60_000_000_000_i64;
    let points: Vec<Point> = (1..=10)
        .map(|step| {
            let time = 1_600_000_000_000_000_000 + i64::from(step) * minute;
            Point::new("air", time)
                .tag("bed", if step % 2 == 0 { "north" } else { "south" })
                .field("celsius", 20.0 + f64::from(step) / 4.0)
                .field("humid", i64::from(60 + step))
        })
        .collect();
    db.write_points("greenhouse", &points)?;

    let answer = db.query(
        "greenhouse",
        "SELECT mean(celsius), max(humid) FROM air GROUP BY bed",
    )?;
    for series in &answer.statements[0].series {
        let bed = String::from_utf8_lossy(&series.tags[0].1);
        let [_, Cell::Float(mean), Cell::Integer(humid)] = series.rows[0][..] else {
            return Err(format!("unexpected row {:?}", series.rows[0]).into());
        };
        println!("{bed}: {mean:.3} degrees, {humid} % at most");
    }
    // What was written is there when the directory is opened again.
    db.close()?;
    drop(db);
    let db = Silverback::open(Options::new(folder.path()))?;
    let answer = db.query("greenhouse", "SELECT count(celsius) FROM air")?;
    println!("{:?} rows", answer.statements[0].series[0].rows[0][1]);
    db.close()?;
    Ok(())
}
