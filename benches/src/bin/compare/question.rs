//! What is asked: TSBS's devops queries and a few more, each in the language of every peer that can
//! answer it.

use silverback_benches::{CPU_FIELDS, Random, START_NS};

use crate::http::escaped;
use crate::peer::PeerKind;

/// A type of query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) name: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// The greatest of `fields` fields over `hosts` hosts, by windows of `step` minutes.
    Max {
        fields: usize,
        hosts: usize,
        minutes: u64,
        step: u64,
    },
    /// The means of `fields` fields, by host and hour, of everything.
    Double { fields: usize },
    /// Rows whose user share is above 90, of one host or of all.
    High { all: bool },
    /// The newest row of every host.
    Last,
    /// The last five minutes before a time that is drawn.
    LastMinutes,
    /// One mean for each host that an expression matches.
    Regex,
    /// One mean for each five minutes, over all hosts.
    Fleet,
    /// One field of one host, every value.
    RawOne,
    /// One field of all hosts for an hour, every value.
    RawAll,
    /// All host names.
    Hosts,
    /// All names of fields.
    Fields,
}

/// The range that data covers, minutes.
const DAY: u64 = 720;

pub(crate) const QUESTIONS: [Question; 21] = [
    max("single-groupby-1-1-1", 1, 1, (60, 1)),
    max("single-groupby-1-1-12", 1, 1, (DAY, 1)),
    max("single-groupby-1-8-1", 1, 8, (60, 1)),
    max("single-groupby-5-1-1", 5, 1, (60, 1)),
    max("single-groupby-5-1-12", 5, 1, (DAY, 1)),
    max("single-groupby-5-8-1", 5, 8, (60, 1)),
    max("cpu-max-all-1", 10, 1, (480, 60)),
    max("cpu-max-all-8", 10, 8, (480, 60)),
    question("double-groupby-1", What::Double { fields: 1 }),
    question("double-groupby-5", What::Double { fields: 5 }),
    question("double-groupby-all", What::Double { fields: 10 }),
    question("high-cpu-1", What::High { all: false }),
    question("high-cpu-all", What::High { all: true }),
    question("lastpoint", What::Last),
    question("groupby-orderby-limit", What::LastMinutes),
    question("regex-11-hosts", What::Regex),
    question("mean-by-5m-of-all", What::Fleet),
    question("raw-1-host-12h", What::RawOne),
    question("raw-all-hosts-1h", What::RawAll),
    question("tag-values", What::Hosts),
    question("field-keys", What::Fields),
];

const fn question(name: &'static str, what: What) -> Question {
    Question { name, what }
}

const fn max(
    name: &'static str,
    fields: usize,
    hosts: usize,
    (minutes, step): (u64, u64),
) -> Question {
    let what = What::Max {
        fields,
        hosts,
        minutes,
        step,
    };
    question(name, what)
}

/// One query, in every language that has it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    influxql: String,
    /// Path and parameters for VictoriaMetrics, empty where it has no such query.
    metricsql: String,
    /// Empty where QuestDB has no such query.
    sql: String,
    /// Path and parameters for Prometheus, empty where it has no such query.
    promql: String,
}

impl Asked {
    /// The target of a GET request to a peer, unless it cannot be asked.
    pub(crate) fn target(&self, kind: PeerKind) -> Option<String> {
        let (text, target) = match kind {
            PeerKind::Silverback | PeerKind::InfluxDb => {
                let query = escaped(&self.influxql);
                (&self.influxql, format!("/query?db=bench&q={query}"))
            }
            PeerKind::VictoriaMetrics => (&self.metricsql, self.metricsql.clone()),
            PeerKind::Prometheus => (&self.promql, self.promql.clone()),
            PeerKind::QuestDb => (&self.sql, format!("/exec?query={}", escaped(&self.sql))),
        };
        (!text.is_empty()).then_some(target)
    }
}

/// A span of time of the data, in minutes from its start.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: u64,
    to: u64,
}

impl Span {
    /// One of `minutes` minutes that begins where a window of `step` minutes does.
    fn drawn(random: &mut Random, minutes: u64, step: u64) -> Span {
        let from = random.below((DAY - minutes) / step + 1) * step;
        let to = from + minutes;
        Span { from, to }
    }

    /// The condition in InfluxQL (`time`) and in SQL (`timestamp`).
    fn condition(self, column: &str) -> String {
        let (from, to) = (clock(self.from), clock(self.to));
        format!("{column} >= '{from}' AND {column} < '{to}'")
    }

    /// The parameters of a range query whose windows of `step` minutes end where InfluxQL's do. Its
    /// windows exclude their start and include their end: 1 ms before a whole minute is that.
    fn windows(self, step: u64) -> String {
        let (start, end) = (seconds(self.from + step) - 1, seconds(self.to) - 1);
        format!(
            "&start={start}.999&end={end}.999&step={}s&nocache=1",
            step * 60
        )
    }

    /// The parameters of a query at the end of the span.
    fn end(self) -> String {
        format!("&time={}.999&nocache=1", seconds(self.to) - 1)
    }
}

/// The time of a minute of the data, which begins at midnight.
fn clock(minute: u64) -> String {
    format!("2024-01-01T{:02}:{:02}:00Z", minute / 60, minute % 60)
}

fn seconds(minute: u64) -> u64 {
    START_NS.cast_unsigned() / 1_000_000_000 + minute * 60
}

impl Question {
    /// Whether the answer is names and not numbers.
    pub(crate) fn of_names(&self) -> bool {
        matches!(self.what, What::Hosts | What::Fields)
    }

    /// A query of this type over `hosts` hosts, its hosts and times drawn.
    pub(crate) fn draw(&self, random: &mut Random, hosts: u64) -> Asked {
        let all = Span { from: 0, to: DAY };
        match self.what {
            What::Max {
                fields,
                hosts: count,
                minutes,
                step,
            } => {
                let chosen: Vec<String> = (0..count)
                    .map(|_| format!("host_{}", random.below(hosts)))
                    .collect();
                greatest(
                    &CPU_FIELDS[..fields],
                    &chosen,
                    Span::drawn(random, minutes, step),
                    step,
                )
            }
            What::Double { fields } => means(&CPU_FIELDS[..fields], all),
            What::High { all: true } => high(all, None),
            What::High { all: false } => high(all, Some(random.below(hosts))),
            What::Last => {
                let newest = instant("last_over_time({__name__=~\"cpu_.*\"}[12h])", all);
                Asked {
                    influxql: "SELECT * FROM cpu GROUP BY hostname ORDER BY time DESC LIMIT 1"
                        .into(),
                    metricsql: newest.clone(),
                    sql: "SELECT * FROM cpu LATEST ON timestamp PARTITION BY hostname".into(),
                    promql: newest,
                }
            }
            What::LastMinutes => last_minutes(DAY / 2 + random.below(DAY / 2)),
            What::Regex => by_regex(all),
            What::Fleet => fleet(all),
            What::RawOne => raw(Some(random.below(hosts)), all),
            What::RawAll => raw(None, Span::drawn(random, 60, 1)),
            What::Hosts => Asked {
                influxql: "SHOW TAG VALUES FROM cpu WITH KEY = hostname".into(),
                metricsql: format!("/api/v1/label/hostname/values?{}", whole_range(all)),
                sql: "SELECT DISTINCT hostname FROM cpu".into(),
                promql: format!("/api/v1/label/hostname/values?{}", whole_range(all)),
            },
            What::Fields => Asked {
                influxql: "SHOW FIELD KEYS FROM cpu".into(),
                metricsql: format!("/api/v1/label/__name__/values?{}", whole_range(all)),
                sql: String::new(),
                promql: format!("/api/v1/label/__name__/values?{}", whole_range(all)),
            },
        }
    }
}

fn whole_range(span: Span) -> String {
    format!("start={}&end={}", seconds(span.from), seconds(span.to))
}

fn instant(query: &str, span: Span) -> String {
    format!("/api/v1/query?query={}{}", escaped(query), span.end())
}

fn ranged(query: &str, span: Span, step: u64) -> String {
    let query = escaped(query);
    format!("/api/v1/query_range?query={query}{}", span.windows(step))
}

fn by_regex(span: Span) -> Asked {
    let query = "avg_over_time(cpu_usage_user{hostname=~\"host_1[0-9]?\"}[12h])";
    Asked {
        influxql: format!(
            "SELECT mean(usage_user) FROM cpu WHERE hostname =~ /^host_1[0-9]?$/ AND {} \
             GROUP BY hostname",
            span.condition("time")
        ),
        metricsql: instant(query, span),
        sql: format!(
            "SELECT hostname, avg(usage_user) FROM cpu WHERE hostname ~ '^host_1[0-9]?$' AND {}",
            span.condition("timestamp")
        ),
        promql: instant(query, span),
    }
}

/// What `query` makes of each field, told apart by a label: functions of Prometheus leave no names.
fn of_each(fields: &[&str], query: impl Fn(&str) -> String) -> String {
    let each = fields.iter().map(|field| {
        let query = query(field);
        format!("label_replace({query}, \"field\", \"{field}\", \"\", \"\")")
    });
    each.collect::<Vec<_>>().join(" or ")
}

/// `function(field)` of each field, for InfluxQL and SQL.
fn calls(function: &str, fields: &[&str]) -> String {
    let calls = fields.iter().map(|field| format!("{function}({field})"));
    calls.collect::<Vec<_>>().join(", ")
}

fn greatest(fields: &[&str], hosts: &[String], span: Span, step: u64) -> Asked {
    let any = hosts.iter().map(|host| format!("hostname = '{host}'"));
    let any = any.collect::<Vec<_>>().join(" OR ");
    Asked {
        influxql: format!(
            "SELECT {} FROM cpu WHERE ({any}) AND {} GROUP BY time({step}m)",
            calls("max", fields),
            span.condition("time")
        ),
        metricsql: ranged(
            &format!(
                "max(max_over_time({{__name__=~\"cpu_({})\",hostname=~\"{}\"}}[{step}m])) by (__name__)",
                fields.join("|"),
                hosts.join("|")
            ),
            span,
            step,
        ),
        sql: format!(
            "SELECT timestamp, {} FROM cpu WHERE hostname IN ('{}') AND {} SAMPLE BY {step}m",
            calls("max", fields),
            hosts.join("', '"),
            span.condition("timestamp")
        ),
        promql: ranged(
            &of_each(fields, |field| {
                let hosts = hosts.join("|");
                format!("max(max_over_time(cpu_{field}{{hostname=~\"{hosts}\"}}[{step}m]))")
            }),
            span,
            step,
        ),
    }
}

fn means(fields: &[&str], span: Span) -> Asked {
    Asked {
        influxql: format!(
            "SELECT {} FROM cpu WHERE {} GROUP BY time(1h), hostname",
            calls("mean", fields),
            span.condition("time")
        ),
        metricsql: ranged(
            &format!(
                "avg(avg_over_time({{__name__=~\"cpu_({})\"}}[1h])) by (__name__, hostname)",
                fields.join("|")
            ),
            span,
            60,
        ),
        sql: format!(
            "SELECT timestamp, hostname, {} FROM cpu WHERE {} SAMPLE BY 1h",
            calls("avg", fields),
            span.condition("timestamp")
        ),
        promql: ranged(
            &of_each(fields, |field| {
                format!("avg(avg_over_time(cpu_{field}[1h])) by (hostname)")
            }),
            span,
            60,
        ),
    }
}

fn high(span: Span, host: Option<u64>) -> Asked {
    let host = host.map_or(String::new(), |host| {
        format!(" AND hostname = 'host_{host}'")
    });
    let query = |column: &str| {
        let range = span.condition(column);
        format!("SELECT * FROM cpu WHERE usage_user > 90.0 AND {range}{host}")
    };
    Asked {
        influxql: query("time"),
        metricsql: String::new(),
        sql: query("timestamp"),
        promql: String::new(),
    }
}

fn last_minutes(minute: u64) -> Asked {
    let end = clock(minute);
    Asked {
        influxql: format!(
            "SELECT max(usage_user) FROM cpu WHERE time < '{end}' GROUP BY time(1m) \
             ORDER BY time DESC LIMIT 5"
        ),
        metricsql: String::new(),
        sql: format!(
            "SELECT timestamp AS minute, max(usage_user) FROM cpu WHERE timestamp < '{end}' \
             SAMPLE BY 1m ORDER BY minute DESC LIMIT 5"
        ),
        promql: String::new(),
    }
}

fn fleet(span: Span) -> Asked {
    let query = "avg(avg_over_time(cpu_usage_user[5m]))";
    Asked {
        influxql: format!(
            "SELECT mean(usage_user) FROM cpu WHERE {} GROUP BY time(5m)",
            span.condition("time")
        ),
        metricsql: ranged(query, span, 5),
        sql: format!(
            "SELECT timestamp, avg(usage_user) FROM cpu WHERE {} SAMPLE BY 5m",
            span.condition("timestamp")
        ),
        promql: ranged(query, span, 5),
    }
}

fn raw(host: Option<u64>, span: Span) -> Asked {
    let (from, to) = (seconds(span.from), seconds(span.to) - 1);
    let range = format!("&start={from}&end={to}");
    let (by_host, condition, matcher) = match host {
        None => (" GROUP BY hostname", String::new(), String::new()),
        Some(host) => (
            "",
            format!(" AND hostname = 'host_{host}'"),
            format!("{{hostname=\"host_{host}\"}}"),
        ),
    };
    Asked {
        influxql: format!(
            "SELECT usage_user FROM cpu WHERE {}{condition}{by_host}",
            span.condition("time")
        ),
        metricsql: format!(
            "/api/v1/export?match[]={}{range}",
            escaped(&format!("cpu_usage_user{matcher}"))
        ),
        sql: format!(
            "SELECT timestamp, hostname, usage_user FROM cpu WHERE {}{condition}",
            span.condition("timestamp")
        ),
        promql: format!(
            "/api/v1/query?query={}&time={to}",
            escaped(&format!("cpu_usage_user{matcher}[{}s]", to - from))
        ),
    }
}
