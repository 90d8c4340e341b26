//! Figures of many rounds: raw as CSV, and as medians and ratios for people.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::contender::Kind;

/// One figure of one round.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    scenario: String,
    round: usize,
    contender: &'static str,
    figure: &'static str,
    value: f64,
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

/// The median with the smallest and the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Half are below.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

impl Report {
    /// Notes a figure, and says it on standard error, so that whoever waits sees life.
    pub fn note(
        &mut self,
        scenario: &str,
        round: usize,
        contender: &'static str,
        figure: &'static str,
        value: f64,
    ) {
        // Nobody may be watching.
        let _ = writeln!(std::io::stderr(), "{scenario} #{round} {contender}: {figure} {value:.3}");
        self.rows.push(Row { scenario: scenario.to_owned(), round, contender, figure, value });
    }

    fn values(&self, scenario: &str, contender: &str, figure: &str) -> Vec<(usize, f64)> {
        let fits = |row: &&Row| {
            row.scenario == scenario && row.contender == contender && row.figure == figure
        };
        self.rows.iter().filter(fits).map(|row| (row.round, row.value)).collect()
    }

    /// A figure over all rounds.
    #[must_use]
    pub fn spread(&self, scenario: &str, contender: &str, figure: &str) -> Option<Spread> {
        let values = self.values(scenario, contender, figure);
        Spread::of(values.into_iter().map(|(_, value)| value).collect())
    }

    /// The ratio of two contenders' figures, round by round.
    #[must_use]
    pub fn ratio(&self, scenario: &str, figure: &str, of: &str, to: &str) -> Option<Spread> {
        let others = self.values(scenario, to, figure);
        let pairs = self.values(scenario, of, figure).into_iter().filter_map(|(round, value)| {
            let (_, other) = others.iter().find(|(other, _)| *other == round)?;
            (*other > 0.0).then(|| value / other)
        });
        Spread::of(pairs.collect())
    }

    /// The ratio of one contender's figure in two scenarios, round by round.
    #[must_use]
    pub fn across(&self, figure: &str, contender: &str, of: &str, to: &str) -> Option<Spread> {
        let others = self.values(to, contender, figure);
        let pairs = self.values(of, contender, figure).into_iter().filter_map(|(round, value)| {
            let (_, other) = others.iter().find(|(other, _)| *other == round)?;
            (*other > 0.0).then(|| value / other)
        });
        Spread::of(pairs.collect())
    }

    /// Every figure as a line of a table: the contenders' medians, then the ratios of ours to
    /// the others, each as median (min … max).
    #[must_use]
    pub fn table(&self) -> String {
        let ours = Kind::Ours.name();
        let mut contenders: Vec<&str> = Vec::new();
        let mut lines: Vec<(&str, &str)> = Vec::new();
        for Row { scenario, figure, contender, .. } in &self.rows {
            if !contenders.contains(contender) {
                contenders.push(contender);
            }
            if !lines.contains(&(scenario, figure)) {
                lines.push((scenario, figure));
            }
        }
        let others: Vec<&str> = match contenders.contains(&ours) {
            true => contenders.iter().copied().filter(|name| *name != ours).collect(),
            false => Vec::new(),
        };
        let mut head = vec!["scenario".to_owned(), "figure".to_owned()];
        head.extend(contenders.iter().map(|name| (*name).to_owned()));
        head.extend(others.iter().map(|name| format!("{ours} ÷ {name}")));
        let mut text = String::new();
        line(&mut text, &head);
        line(&mut text, &vec!["---".to_owned(); head.len()]);
        for (scenario, figure) in lines {
            let mut cells = vec![scenario.to_owned(), figure.to_owned()];
            cells.extend(contenders.iter().map(|who| match self.spread(scenario, who, figure) {
                Some(spread) => number(spread.median),
                None => "–".to_owned(),
            }));
            cells.extend(others.iter().map(|to| match self.ratio(scenario, figure, ours, to) {
                Some(Spread { median, min, max }) => {
                    format!("{median:.2} ({min:.2} … {max:.2})")
                }
                None => "–".to_owned(),
            }));
            line(&mut text, &cells);
        }
        text
    }

    /// Writes every figure of every round.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = String::from("scenario,round,contender,figure,value\n");
        for Row { scenario, round, contender, figure, value } in &self.rows {
            writeln!(text, "{scenario},{round},{contender},{figure},{value}")?;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn line(text: &mut String, cells: &[String]) {
    text.push_str("| ");
    text.push_str(&cells.join(" | "));
    text.push_str(" |\n");
}

/// Few digits, all of them meaningful.
fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_made_within_a_round() {
        let mut report = Report::default();
        for (round, ours, stand_in) in [(1, 20.0, 10.0), (2, 90.0, 30.0), (3, 4.0, 4.0)] {
            report.note("r", round, "ours", "f", ours);
            report.note("r", round, "S", "f", stand_in);
        }
        report.note("r", 4, "ours", "f", 1.0);
        let ratio = report.ratio("r", "f", "ours", "S").unwrap();
        assert_eq!(ratio, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(report.spread("r", "ours", "f").unwrap().median, 12.0);
        assert!(report.ratio("r", "f", "ours", "floor").is_none());
        assert!(report.table().contains("| r | f | 12.0 | 10.0 | 2.00 (1.00 … 3.00) |"));
    }
}
