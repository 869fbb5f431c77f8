//! The queries: every construct on its own, and combinations of them drawn from a seed.

use silverback_benches::Random;

use super::data::{BASE_S, SPAN_S};

/// Combinations that are drawn.
const DRAWN: usize = 420;

/// All queries, in an order that does not change.
pub(super) fn all() -> Vec<String> {
    let mut queries: Vec<String> = SINGLE.iter().map(|query| (*query).to_owned()).collect();
    let mut random = Random(99);
    queries.extend((0..DRAWN).map(|_| drawn(&mut random)));
    queries
}

/// Statements that change policies, and what shows it: asked one after another of both sides.
pub(super) const POLICIES: &[&str] = &[
    "CREATE RETENTION POLICY a ON twin DURATION 1h REPLICATION 1",
    "CREATE RETENTION POLICY a ON twin DURATION 1h REPLICATION 1",
    "CREATE RETENTION POLICY a ON twin DURATION 1h REPLICATION 1 DEFAULT",
    "CREATE RETENTION POLICY a ON twin DURATION 1h REPLICATION 2",
    "CREATE RETENTION POLICY a ON twin DURATION 1h REPLICATION 1 SHARD DURATION 2h",
    "CREATE RETENTION POLICY b ON twin DURATION 30m REPLICATION 1",
    "CREATE RETENTION POLICY b ON twin DURATION 3h REPLICATION 1 SHARD DURATION 30m",
    "CREATE RETENTION POLICY c ON twin DURATION INF REPLICATION 1 SHARD DURATION 0s",
    "CREATE RETENTION POLICY d ON twin DURATION 1h REPLICATION 1 SHARD DURATION 2h",
    "CREATE RETENTION POLICY \"x/y\" ON twin DURATION 1h REPLICATION 1",
    "CREATE RETENTION POLICY \"\" ON twin DURATION 1h REPLICATION 1",
    "CREATE RETENTION POLICY e ON nope DURATION 1h REPLICATION 1",
    "CREATE RETENTION POLICY e ON twin DURATION 179d REPLICATION 1",
    "CREATE RETENTION POLICY f ON twin DURATION 180d REPLICATION 1",
    "CREATE RETENTION POLICY g ON twin DURATION 47h REPLICATION 3",
    "CREATE RETENTION POLICY g ON twin DURATION 47h REPLICATION 3 SHARD DURATION 1h",
    "CREATE RETENTION POLICY h ON twin DURATION 2d",
    "SHOW RETENTION POLICIES ON twin",
    "ALTER RETENTION POLICY nope ON twin DURATION 1h",
    "ALTER RETENTION POLICY b ON nope DURATION 1h",
    "ALTER RETENTION POLICY b ON twin",
    "ALTER RETENTION POLICY b ON twin DURATION 30m",
    "ALTER RETENTION POLICY b ON twin DURATION 400d",
    "ALTER RETENTION POLICY b ON twin SHARD DURATION 500d",
    "ALTER RETENTION POLICY b ON twin SHARD DURATION 10d",
    "SHOW RETENTION POLICIES ON twin",
    "ALTER RETENTION POLICY b ON twin DURATION 5d",
    "ALTER RETENTION POLICY b ON twin SHARD DURATION 30m",
    "ALTER RETENTION POLICY b ON twin SHARD DURATION 0s",
    "SHOW RETENTION POLICIES ON twin",
    "ALTER RETENTION POLICY autogen ON twin DURATION 1d",
    "ALTER RETENTION POLICY autogen ON twin DURATION 0s",
    "ALTER RETENTION POLICY c ON twin REPLICATION 3 DURATION INF DEFAULT",
    "SHOW RETENTION POLICIES ON twin",
    "SELECT * FROM fix LIMIT 1",
    "SELECT * FROM twin.autogen.fix LIMIT 1",
    "SELECT * FROM nope.fix",
    "DROP RETENTION POLICY c ON twin",
    "DROP RETENTION POLICY nope ON twin",
    "DROP RETENTION POLICY a ON nope",
    "SHOW RETENTION POLICIES ON twin",
    "SELECT * FROM fix LIMIT 1",
    "CREATE RETENTION POLICY c ON twin DURATION 90d REPLICATION 1",
    "SHOW RETENTION POLICIES ON twin",
    "CREATE DATABASE other WITH DURATION 1h SHARD DURATION 2h NAME q",
    "CREATE DATABASE other WITH DURATION 3h SHARD DURATION 2h NAME q",
    "CREATE DATABASE other WITH DURATION 3h SHARD DURATION 2h NAME q",
    "CREATE DATABASE other WITH DURATION 3h NAME q",
    "CREATE DATABASE other WITH DURATION 3h NAME r",
    "SHOW RETENTION POLICIES ON other",
];

const SINGLE: &[&str] = &[
    "SELECT * FROM cpu GROUP BY * ORDER BY time DESC LIMIT 1",
    "SELECT * FROM cpu GROUP BY host LIMIT 1",
    "SELECT usage, up FROM cpu WHERE time < 1600001000s GROUP BY host, dc ORDER BY time DESC LIMIT 1",
    "SELECT * FROM fix GROUP BY k ORDER BY time DESC LIMIT 1",
    "SELECT max(usage), last(idle) FROM cpu WHERE time < 1600001000s GROUP BY time(1m) ORDER BY time DESC LIMIT 5",
    "SELECT mean(usage) FROM cpu WHERE time < 1600001000s GROUP BY time(10s), host fill(none) ORDER BY time DESC LIMIT 3",
    "SELECT * FROM cpu WHERE usage > 50 AND idle <= 90",
    "SELECT * FROM cpu WHERE usage > 50 AND idle <= 90 OR up = true ORDER BY time DESC",
    "SHOW DATABASES",
    "SHOW MEASUREMENTS",
    "SHOW MEASUREMENTS WITH MEASUREMENT = cpu",
    "SHOW MEASUREMENTS WITH MEASUREMENT =~ /^[cn]/ LIMIT 1",
    "SHOW MEASUREMENTS WHERE host = 'a'",
    "SHOW MEASUREMENTS LIMIT 2 OFFSET 1",
    "SHOW SERIES",
    "SHOW SERIES FROM cpu",
    "SHOW SERIES FROM /^c/ WHERE host = 'a'",
    "SHOW SERIES LIMIT 3 OFFSET 1",
    "SHOW TAG KEYS",
    "SHOW TAG KEYS FROM cpu",
    "SHOW TAG KEYS FROM net WHERE host = 'd'",
    "SHOW TAG VALUES WITH KEY = host",
    "SHOW TAG VALUES FROM cpu WITH KEY IN (host, dc)",
    "SHOW TAG VALUES FROM cpu WITH KEY =~ /^d/",
    "SHOW TAG VALUES FROM cpu WITH KEY != host",
    "SHOW TAG VALUES FROM cpu WITH KEY = host WHERE dc = 'x'",
    "SHOW TAG VALUES FROM net WITH KEY = host WHERE \"if\" =~ /eth[0]/ LIMIT 1",
    "SHOW FIELD KEYS",
    "SHOW FIELD KEYS FROM cpu",
    "SHOW FIELD KEYS FROM /n/",
    "SHOW RETENTION POLICIES",
    "SHOW RETENTION POLICIES ON twin",
    "SELECT * FROM cpu LIMIT 20",
    "SELECT * FROM fix",
    "SELECT * FROM disk LIMIT 3",
    "SELECT * FROM /c|f/ LIMIT 10",
    "SELECT * FROM cpu GROUP BY * LIMIT 3",
    "SELECT usage, host FROM cpu LIMIT 5",
    "SELECT usage, idle FROM cpu WHERE host = 'a' LIMIT 5 OFFSET 3",
    "SELECT *::field FROM cpu LIMIT 5",
    "SELECT *::tag, usage FROM cpu LIMIT 5",
    "SELECT /u/ FROM cpu LIMIT 5",
    "SELECT host FROM cpu",
    "SELECT nothing FROM cpu",
    "SELECT usage FROM nothing",
    "SELECT usage FROM cpu WHERE host = \"a\"",
    "SELECT usage::integer FROM cpu LIMIT 5",
    "SELECT idle::float FROM cpu LIMIT 5",
    "SELECT usage FROM cpu WHERE usage > 90 AND idle < 20",
    "SELECT usage FROM cpu WHERE usage > 90 OR host = 'd' LIMIT 50",
    "SELECT usage FROM cpu WHERE (usage > 90 OR idle > 90) AND host =~ /[ab]/",
    "SELECT msg FROM cpu WHERE msg =~ /^s/ LIMIT 20",
    "SELECT msg FROM cpu WHERE msg = 'it\\'s hot'",
    "SELECT msg FROM cpu WHERE msg !~ /^s/ LIMIT 20",
    "SELECT up FROM cpu WHERE up = true LIMIT 20",
    "SELECT usage FROM cpu WHERE up != true LIMIT 20",
    "SELECT usage FROM cpu WHERE idle = 50",
    "SELECT usage + idle FROM cpu LIMIT 10",
    "SELECT usage * 2, usage / 0, idle / 7, -usage FROM cpu LIMIT 10",
    "SELECT idle % 7, idle & 3, idle | 8, idle ^ 5 FROM cpu LIMIT 10",
    "SELECT (usage + 1) * (idle - 2) AS x FROM cpu LIMIT 10",
    "SELECT usage AS a, idle AS a FROM cpu LIMIT 3",
    "SELECT mean(usage), mean(idle), mean(usage) FROM cpu",
    "SELECT mean(usage) / max(idle) FROM cpu GROUP BY host",
    "SELECT count(*) FROM cpu",
    "SELECT mean(*) FROM cpu GROUP BY dc",
    "SELECT last(/./) FROM cpu GROUP BY host",
    "SELECT count(distinct(idle)) FROM cpu",
    "SELECT distinct(idle) FROM cpu WHERE host = 'a'",
    "SELECT DISTINCT idle FROM cpu WHERE host = 'b'",
    "SELECT distinct(msg) FROM cpu WHERE host = 'c'",
    "SELECT first(msg), last(msg) FROM cpu WHERE host = 'a'",
    "SELECT min(up), max(up), first(up), last(up), count(up) FROM cpu WHERE host = 'a'",
    "SELECT mode(idle), mode(msg) FROM cpu WHERE host = 'a'",
    "SELECT max(usage), host, idle FROM cpu",
    "SELECT first(usage), idle FROM cpu WHERE host = 'c'",
    "SELECT percentile(usage, 95), host FROM cpu GROUP BY dc",
    "SELECT top(usage, 5) FROM cpu WHERE host = 'a'",
    "SELECT bottom(usage, 3), idle FROM cpu WHERE host = 'a'",
    "SELECT top(usage, host, 2) FROM cpu",
    "SELECT top(idle, 2) FROM cpu WHERE host = 'b' GROUP BY host",
    "SELECT integral(usage) FROM cpu WHERE host = 'a'",
    "SELECT integral(usage, 1m) FROM cpu WHERE host = 'b'",
    "SELECT integral(usage) FROM cpu WHERE host = 'a' AND time >= 1600000000s AND time < 1600003600s GROUP BY time(5m)",
    "SELECT integral(value, 1m) FROM season WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(7m) fill(none)",
    "SELECT stddev(usage), spread(usage), median(usage) FROM cpu GROUP BY dc",
    "SELECT derivative(bytes) FROM net WHERE host = 'a' LIMIT 20",
    "SELECT non_negative_derivative(bytes, 1m) FROM net GROUP BY host LIMIT 20",
    "SELECT difference(bytes), non_negative_difference(bytes) FROM net WHERE host = 'a' LIMIT 20",
    "SELECT moving_average(usage, 4) FROM cpu WHERE host = 'a' LIMIT 20",
    "SELECT cumulative_sum(idle) FROM cpu WHERE host = 'a' LIMIT 20",
    "SELECT elapsed(usage, 1s) FROM cpu WHERE host = 'a' LIMIT 20",
    "SELECT abs(usage), floor(usage), ceil(usage), round(usage), sqrt(usage) FROM cpu LIMIT 5",
    "SELECT pow(usage, 2), ln(usage), log2(usage), log10(usage), log(usage, 3) FROM cpu LIMIT 5",
    "SELECT sin(usage), cos(usage), tan(usage), atan(usage), exp(idle) FROM cpu LIMIT 5",
    "SELECT mean(usage) FROM cpu WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(10m), * ",
    "SELECT mean(usage) FROM cpu WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(10m), /h/",
    "SELECT count(usage) FROM cpu WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(7m, 3m)",
    "SELECT count(usage) FROM cpu WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(7m, -3m)",
    "SELECT sum(idle) FROM cpu WHERE time >= '2020-09-13T12:30:00Z' AND time < '2020-09-13 12:40:00' GROUP BY time(1m) fill(previous)",
    "SELECT mean(value) FROM slow WHERE time >= '2020-10-20' AND time < '2020-10-30' GROUP BY time(1d) tz('Europe/Berlin')",
    "SELECT count(value) FROM slow WHERE time >= '2020-10-20' AND time < '2020-10-30' GROUP BY time(1d) tz('America/New_York')",
    "SELECT count(value) FROM slow WHERE time >= '2020-10-20' AND time < '2020-10-30' GROUP BY time(12h) tz('Europe/Berlin')",
    "SELECT count(value) FROM slow WHERE time >= '2020-09-13' AND time < '2020-10-30' GROUP BY time(1w)",
    "SELECT value FROM slow LIMIT 3 tz('Asia/Kolkata')",
    "SELECT mean(m) FROM (SELECT max(usage) AS m FROM cpu GROUP BY host)",
    "SELECT mean(m) FROM (SELECT max(usage) AS m FROM cpu GROUP BY host) WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(10m)",
    "SELECT sum(d) FROM (SELECT difference(bytes) AS d FROM net GROUP BY host) GROUP BY host",
    "SELECT max(c) FROM (SELECT count(usage) AS c FROM cpu WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(5m), host)",
    "SELECT m / 2 FROM (SELECT mean(usage) AS m FROM cpu GROUP BY host)",
    "SELECT mean(a) - mean(b) FROM (SELECT usage AS a FROM cpu WHERE host = 'a'), (SELECT usage AS b FROM cpu WHERE host = 'b')",
    "SELECT usage FROM (SELECT usage FROM cpu WHERE host = 'a') WHERE usage > 50 LIMIT 10",
    "SELECT mean(usage) FROM (SELECT usage FROM cpu) GROUP BY host",
    "SELECT top(m, 2) FROM (SELECT mean(usage) AS m FROM cpu GROUP BY host)",
    "SELECT holt_winters(mean(value), 5, 4) FROM season WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(6m)",
    "SELECT holt_winters_with_fit(mean(value), 5, 0) FROM season WHERE time >= 1600000000s AND time < 1600003600s GROUP BY time(6m)",
    "SELECT usage FROM twin.autogen.cpu LIMIT 2",
    "SELECT usage FROM twin..cpu LIMIT 2",
    "SELECT usage FROM \"autogen\".\"cpu\" LIMIT 2",
    "SELECT usage FROM cpu, net LIMIT 2",
    "SELECT usage, bytes FROM cpu, net GROUP BY host LIMIT 2",
    "SELECT free FROM disk WHERE path = '/var log' AND \"a,b\" = 'c=d' LIMIT 2",
    "SELECT mean(usage) FROM cpu GROUP BY dc, host SLIMIT 2",
    "SELECT mean(usage) FROM cpu GROUP BY host SLIMIT 2 SOFFSET 1",
    "SELECT foo(usage) FROM cpu",
    "SELECT mean(usage, 2) FROM cpu",
    "SELECT percentile(usage) FROM cpu",
    "SELECT percentile(usage, 'x') FROM cpu",
    "SELECT usage, mean(usage) FROM cpu",
    "SELECT mean(usage) FROM cpu GROUP BY time(1m) fill(bad)",
    "SELECT usage FROM cpu GROUP BY time(1m)",
    "SELECT derivative(mean(usage)) FROM cpu",
    "SELECT top(usage, 0) FROM cpu",
    "SELECT moving_average(usage, 1) FROM cpu",
    "SELECT usage FROM nope.cpu",
    "SELECT usage FROM nope..cpu",
    "SELECT FROM cpu",
    "SELECT usage FROM",
    "SELECT usage FROM cpu WHERE",
    "SELECT usage FROM cpu ORDER BY usage",
    "SELECT usage FROM cpu LIMIT -1",
    "SELECT 1 FROM cpu",
    "SELECT mean(usage) FROM cpu WHERE time > 'yesterday'",
    "SELECT usage FROM cpu WHERE host =~ /(/",
    "SHOW TAG VALUES",
    "SHOW FOO",
    "DROP FOO",
];

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[usize::try_from(random.below(from.len() as u64)).unwrap()]
}

/// A query from the grammar of Grafana's builder.
fn drawn(random: &mut Random) -> String {
    let grouped = random.below(4) > 0;
    let fields = [
        ("cpu", "usage"),
        ("cpu", "idle"),
        ("net", "bytes"),
        ("season", "value"),
    ];
    let (measurement, field) = fields[usize::try_from(random.below(4)).unwrap()];
    let call = call(random, field, grouped);
    let condition = condition(random, measurement);
    let dimensions = dimensions(random, grouped);
    let mut query = format!("SELECT {call} FROM \"{measurement}\" WHERE {condition}");
    if !dimensions.is_empty() {
        query.push_str(" GROUP BY ");
        query.push_str(&dimensions.join(", "));
    }
    // What influxd fills where a standard deviation of one point does not exist is another matter.
    if grouped && !call.contains("stddev") {
        query += pick(random, &FILLS);
    }
    query += pick(
        random,
        &["", "", " ORDER BY time DESC", " ORDER BY time ASC"],
    );
    query += pick(random, &["", "", "", " LIMIT 5", " LIMIT 7 OFFSET 2"]);
    if !dimensions.is_empty() {
        query += pick(random, &["", "", "", " SLIMIT 2", " SLIMIT 1 SOFFSET 1"]);
    }
    query
}

const FUNCTIONS: [&str; 13] = [
    "first",
    "last",
    "min",
    "max",
    "mean",
    "sum",
    "count",
    "median",
    "stddev",
    "spread",
    "percentile",
    "difference",
    "derivative",
];

const TRANSFORMATIONS: [&str; 7] = [
    "non_negative_derivative(X, 10s)",
    "difference(X)",
    "moving_average(X, 3)",
    "cumulative_sum(X)",
    "elapsed(X, 1s)",
    "derivative(X, 1m)",
    "non_negative_difference(X)",
];

const FILLS: [&str; 7] = [
    "",
    " fill(null)",
    " fill(none)",
    " fill(0)",
    " fill(previous)",
    " fill(linear)",
    " fill(-1)",
];

const TAGS: [&str; 8] = [
    "",
    "\"host\" = 'a'",
    "\"host\" =~ /^(a|b)$/",
    "\"host\"::tag != 'a'",
    "dc = ''",
    "\"dc\" = 'x' OR \"host\" = 'c'",
    "host !~ /a|d/",
    "dc =~ /.*/",
];

/// What is selected.
fn call(random: &mut Random, field: &str, grouped: bool) -> String {
    let name = match pick(random, &FUNCTIONS) {
        // The time of a percentile among equal values is not determined; a window hides it.
        "percentile" if !grouped => "max",
        name => name,
    };
    let mut call = match name {
        "percentile" => format!("percentile(\"{field}\", {})", 50 + random.below(50)),
        "difference" | "derivative" if grouped => format!("{name}(mean(\"{field}\"))"),
        name => format!("{name}(\"{field}\")"),
    };
    let plain = !matches!(name, "difference" | "derivative" | "stddev");
    if grouped && plain && random.below(4) == 0 {
        call = pick(random, &TRANSFORMATIONS).replace('X', &call);
    }
    if plain && random.below(4) == 0 {
        call += pick(random, &[" / 100", " * 8", " + 1.5", " - 2"]);
    }
    if random.below(5) == 0 {
        call += " AS \"value\"";
    }
    call
}

fn condition(random: &mut Random, measurement: &str) -> String {
    let start = BASE_S + i64::try_from(random.below(SPAN_S.cast_unsigned() / 2)).unwrap();
    let end = start + 60 + i64::try_from(random.below(SPAN_S.cast_unsigned())).unwrap();
    let mut condition = format!("time >= {start}000ms and time <= {end}000ms");
    let tag = pick(random, &TAGS);
    if !tag.is_empty() && measurement != "season" {
        condition = format!("({tag}) AND {condition}");
    }
    if measurement == "cpu" && random.below(5) == 0 {
        let field = pick(random, &["usage > 20", "idle <= 70", "up = true"]);
        condition = format!("{field} AND {condition}");
    }
    condition
}

fn dimensions(random: &mut Random, grouped: bool) -> Vec<String> {
    let mut dimensions = Vec::new();
    if grouped {
        let width = pick(random, &["10s", "37s", "1m", "5m", "10m", "1h"]);
        let offset = pick(random, &["", "", "", ", 10s", ", -20s"]);
        dimensions.push(format!("time({width}{offset})"));
    }
    match random.below(4) {
        0 => dimensions.push("\"host\"".into()),
        1 => dimensions.push("\"dc\", \"host\"::tag".into()),
        2 => dimensions.push("*".into()),
        _ => {}
    }
    dimensions
}
