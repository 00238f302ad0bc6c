//! The table at the end.

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

struct Row {
    level: u8,
    name: String,
    outcome: Outcome,
    reason: String,
    seconds: f64,
}

/// The outcomes so far.
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub fn new() -> Self {
        Self { rows: Vec::new() }
    }

    pub fn add(&mut self, level: u8, name: &str, outcome: Outcome, reason: &str, seconds: f64) {
        let reason = reason.lines().next().unwrap_or_default().to_owned();
        self.rows.push(Row { level, name: name.to_owned(), outcome, reason, seconds });
    }

    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.outcome != Outcome::Failed)
    }

    pub fn print(&self) {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
        println!();
        for row in &self.rows {
            let outcome = match row.outcome {
                Outcome::Passed => "passed",
                Outcome::Failed => "FAILED",
                Outcome::Skipped => "skipped",
            };
            let line = format!(
                "level {}  {:width$}  {outcome:7}  {:>7.1} s  {}",
                row.level, row.name, row.seconds, row.reason
            );
            println!("{}", line.trim_end());
        }
        println!("total: {:.1} s", self.rows.iter().map(|row| row.seconds).sum::<f64>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_check_is_no_failure_and_a_failed_one_is() {
        let mut report = Report::new();
        report.add(1, "a", Outcome::Passed, "", 1.0);
        report.add(2, "b", Outcome::Skipped, "no Go", 0.0);
        assert!(report.passed());
        report.add(3, "c", Outcome::Failed, "broken\nwith details", 0.0);
        assert!(!report.passed());
    }
}
