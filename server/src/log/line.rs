//! How one event becomes one line, as logfmt or as a JSON object.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;
use crate::door::clock;

/// Writes an event in the format it holds.
pub(super) struct Line(pub(super) LogFormat);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut pairs = Pairs::default();
        event.record(&mut pairs);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let time = clock::rfc3339_ms(clock::now_ns());
        out.write_str(&render(self.0, &time, &level, &pairs))
    }
}

/// An event's fields in their order, the message apart.
#[derive(Debug, Default)]
struct Pairs {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Pairs {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// The line, with its LF.
fn render(format: LogFormat, time: &str, level: &str, pairs: &Pairs) -> String {
    let mut line = String::new();
    let all = [("ts", time), ("level", level), ("msg", &pairs.message)]
        .into_iter()
        .chain(
            pairs
                .fields
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
    for (index, (name, value)) in all.enumerate() {
        let separator = match (format, index) {
            (LogFormat::Logfmt, 0) => "",
            (LogFormat::Logfmt, _) => " ",
            (LogFormat::Json, 0) => "{",
            (LogFormat::Json, _) => ",",
        };
        line.push_str(separator);
        match format {
            LogFormat::Logfmt if is_bare(value) => line.extend([name, "=", value]),
            LogFormat::Logfmt => line.extend([name, "=", &quoted(value)]),
            LogFormat::Json => line.extend([&*quoted(name), ":", &quoted(value)]),
        }
    }
    line.push_str(match format {
        LogFormat::Logfmt => "\n",
        LogFormat::Json => "}\n",
    });
    line
}

/// Whether logfmt takes `value` without quotes.
fn is_bare(value: &str) -> bool {
    let odd = |byte: u8| byte <= b' ' || byte == b'"' || byte == b'=' || byte == 0x7f;
    !value.is_empty() && !value.bytes().any(odd)
}

/// `value` in double quotes with JSON's escapes: no line break gets through.
fn quoted(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs() -> Pairs {
        Pairs {
            message: "listening".to_owned(),
            fields: vec![
                ("url", "http://x:1".to_owned()),
                ("why", "a \"b\"\nc".to_owned()),
            ],
        }
    }

    #[test]
    fn logfmt_quotes_what_needs_it_and_stays_on_one_line() {
        let line = render(LogFormat::Logfmt, "T", "info", &pairs());
        assert_eq!(
            line,
            "ts=T level=info msg=listening url=http://x:1 why=\"a \\\"b\\\"\\nc\"\n"
        );
    }

    #[test]
    fn json_is_an_object() {
        let line = render(LogFormat::Json, "T", "warn", &pairs());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["msg"], "listening");
        assert_eq!(value["level"], "warn");
        assert_eq!(value["why"], "a \"b\"\nc");
    }
}
