//! What was found, for people and for programs.
use std::fmt::Write;

use serde::Serialize;

/// Everything that one run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) machine: String,
    pub(super) load_before: String,
    pub(super) load_after: String,
    pub(super) sections: Vec<Section>,
    pub(super) notes: Vec<&'static str>,
}

/// What was found about one thing.
#[derive(Debug, Default, Serialize)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
    pub(super) facts: Vec<Fact>,
    pub(super) bars: Vec<Bar>,
    /// Why it was not measured, or not all of it.
    pub(super) skipped: Vec<String>,
}

/// One subject under one number of callers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) callers: usize,
    pub(super) per_second: f64,
    pub(super) p50_micros: u64,
    pub(super) p99_micros: u64,
    /// Of the process that was called, its peers and its database not counted.
    pub(super) cpu_micros: f64,
    pub(super) peak_mib: f64,
    /// Throughput as a share of the first subject's, the median over the rounds.
    pub(super) ratio: f64,
}

/// A single figure.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
}

/// What a figure must reach.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    pub(super) what: String,
    pub(super) found: f64,
    pub(super) at_least: Option<f64>,
    pub(super) at_most: Option<f64>,
    pub(super) kept: bool,
}

impl Section {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Section { title: title.into(), ..Default::default() }
    }

    pub(super) fn fact(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.facts.push(Fact { what: what.into(), value, unit });
    }

    pub(super) fn at_least(&mut self, what: impl Into<String>, bar: f64, found: f64) {
        let (what, kept) = (what.into(), found >= bar);
        self.bars.push(Bar { what, found, at_least: Some(bar), at_most: None, kept });
    }

    pub(super) fn at_most(&mut self, what: impl Into<String>, bar: f64, found: f64) {
        let (what, kept) = (what.into(), found <= bar);
        self.bars.push(Bar { what, found, at_least: None, at_most: Some(bar), kept });
    }
}

impl Report {
    /// The report as a table for people, in Markdown.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).unwrap_or_default();
        text
    }

    fn write(&self, to: &mut String) -> std::fmt::Result {
        writeln!(to, "{}", self.machine)?;
        writeln!(to, "load before {}, after {}", self.load_before, self.load_after)?;
        for section in &self.sections {
            writeln!(to, "\n### {}\n", section.title)?;
            section.write(to)?;
        }
        writeln!(to)?;
        self.notes.iter().try_for_each(|note| writeln!(to, "- {note}"))
    }
}

impl Section {
    fn write(&self, to: &mut String) -> std::fmt::Result {
        if !self.lines.is_empty() {
            writeln!(
                to,
                "| {:<44} | {:>7} | {:>8} | {:>8} | {:>8} | {:>11} | {:>8} | {:>6} |",
                "", "callers", "calls/s", "p50 µs", "p99 µs", "CPU µs/call", "peak MiB", "ratio"
            )?;
            writeln!(to, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
        }
        for line in &self.lines {
            writeln!(
                to,
                "| {:<44} | {:>7} | {:>8.0} | {:>8} | {:>8} | {:>11.1} | {:>8.1} | {:>6.2} |",
                line.what,
                line.callers,
                line.per_second,
                line.p50_micros,
                line.p99_micros,
                line.cpu_micros,
                line.peak_mib,
                line.ratio
            )?;
        }
        if !(self.lines.is_empty() || self.facts.is_empty() && self.bars.is_empty()) {
            writeln!(to)?;
        }
        for Fact { what, value, unit } in &self.facts {
            writeln!(to, "- {what}: {value:.1} {unit}")?;
        }
        for bar in &self.bars {
            let word = if bar.kept { "kept" } else { "MISSED" };
            let wanted = match (bar.at_least, bar.at_most) {
                (Some(bar), _) => format!("at least {bar}"),
                (_, Some(bar)) => format!("at most {bar}"),
                _ => String::new(),
            };
            writeln!(to, "- {word}: {} is {:.2}, {wanted} wanted", bar.what, bar.found)?;
        }
        self.skipped.iter().try_for_each(|why| writeln!(to, "- skipped: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_bar_is_not_to_be_overlooked() {
        let mut section = Section::new("one");
        section.at_least("a", 0.7, 0.69);
        section.at_most("b", 1.5, 1.4);
        let report = Report {
            machine: "m".to_owned(),
            load_before: "0".to_owned(),
            load_after: "0".to_owned(),
            sections: vec![section],
            notes: vec![],
        };
        assert!(report.table().contains("- MISSED: a is 0.69, at least 0.7 wanted"));
        assert!(report.table().contains("- kept: b is 1.40, at most 1.5 wanted"));
    }
}
