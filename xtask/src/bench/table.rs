//! A Markdown table whose last column says what should be reached.

use std::fmt::Write;

/// A number that was measured.
pub struct Cell {
    pub text: String,
    pub missed: bool,
}

impl Cell {
    /// A number without a target.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), missed: false }
    }
}

/// The table.
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Rows that missed their target, in words.
    pub missed: Vec<String>,
}

impl Table {
    pub fn new(first: &str, columns: &[usize]) -> Self {
        let mut header = vec![first.to_owned()];
        header.extend(columns.iter().map(ToString::to_string));
        header.push("target".to_owned());
        Self { header, rows: Vec::new(), missed: Vec::new() }
    }

    pub fn row(&mut self, name: &str, cells: Vec<Cell>, target: &str) {
        if cells.iter().any(|cell| cell.missed) {
            let texts: Vec<_> = cells.iter().map(|cell| cell.text.as_str()).collect();
            self.missed.push(format!("{name}: {}; target {target}", texts.join(", ")));
        }
        let shown =
            cells.into_iter().map(|Cell { text, missed }| if missed { format!("**{text}**") } else { text });
        self.rows.push([name.to_owned()].into_iter().chain(shown).chain([target.to_owned()]).collect());
    }

    pub fn markdown(&self) -> String {
        let mut text = format!("| {} |\n|---|", self.header.join(" | "));
        let numbers = self.header.len() - 2;
        text.push_str(&"---:|".repeat(numbers));
        text.push_str("---|\n");
        for row in &self.rows {
            // Writing to a String can't fail.
            let _ = writeln!(text, "| {} |", row.join(" | ").trim_end());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_misses_its_target_stands_out() {
        let mut table = Table::new("platforms", &[1, 100]);
        table.row("reads", vec![Cell::plain("1"), Cell { text: "9".into(), missed: true }], "≤ 3");
        let expected = "| platforms | 1 | 100 | target |\n|---|---:|---:|---|\n| reads | 1 | **9** | ≤ 3 |\n";
        assert_eq!(table.markdown(), expected);
        assert_eq!(table.missed, ["reads: 1, 9; target ≤ 3"]);
    }
}
