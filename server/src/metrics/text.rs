//! The text that Prometheus reads.

use std::fmt::{Display, Write as _};

/// What kind of number a family holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

/// The text so far. Names are written with the prefix `silverback_`.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    /// Opens a family of samples.
    pub(crate) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.put(format_args!(
            "# HELP silverback_{name} {help}\n# TYPE silverback_{name} {kind}\n"
        ));
    }

    /// One sample of the family opened last.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.put(format_args!("silverback_{name}"));
        for (index, (label, content)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let content = content
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            self.put(format_args!("{before}{label}=\"{content}\""));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.put(format_args!("{end} {value}\n"));
    }

    /// A family of one sample.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Families of one sample each, of one kind: name, help and value.
    pub(crate) fn singles<V: Display>(
        &mut self,
        kind: Kind,
        families: impl IntoIterator<Item = (&'static str, &'static str, V)>,
    ) {
        for (name, help, value) in families {
            self.single(name, kind, help, value);
        }
    }

    /// The whole text.
    pub(crate) fn into_string(self) -> String {
        self.0
    }

    fn put(&mut self, arguments: std::fmt::Arguments<'_>) {
        self.0
            .write_fmt(arguments)
            .expect("writing to a string cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_help_type_and_samples() {
        let mut text = Text::default();
        text.family("x_total", Kind::Counter, "Two\nlines.");
        text.sample("x_total", &[("a", "q\"\\"), ("b", "")], 3);
        text.single("y", Kind::Gauge, "Y.", 1.5);
        assert_eq!(
            text.into_string(),
            "# HELP silverback_x_total Two\\nlines.\n# TYPE silverback_x_total counter\n\
             silverback_x_total{a=\"q\\\"\\\\\",b=\"\"} 3\n\
             # HELP silverback_y Y.\n# TYPE silverback_y gauge\nsilverback_y 1.5\n"
        );
    }
}
