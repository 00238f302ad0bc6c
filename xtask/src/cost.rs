//! Fills the tables of docs/cost.md with what the command prints.

use std::{fmt::Write, fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::repo;

/// Before a table: which command makes it, with arguments that are separated by spaces.
const BEGIN: &str = "<!-- kubectl trading ";
const BEGIN_END: &str = " -->\n";
const END: &str = "<!-- end -->";

/// The page as it is, with its tables made anew.
pub fn page() -> Result<String> {
    let path = repo::path("docs/cost.md");
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let plugin = trading_testbed::workspace_binary("kubectl-trading")?;
    filled(&page, |arguments| {
        repo::output(Command::new(&plugin).args(arguments.split(' ')).current_dir(repo::root()))
    })
}

fn filled(page: &str, run: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut parts = page.split(BEGIN);
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut tables = 0;
    for part in parts {
        let (arguments, rest) =
            part.split_once(BEGIN_END).context("a comment that begins a table does not end")?;
        let (_, rest) =
            rest.split_once(END).with_context(|| format!("nothing ends the table of {arguments}"))?;
        let output = run(arguments)?;
        // Writing to a String can't fail.
        _ = write!(
            text,
            "{BEGIN}{arguments}{BEGIN_END}```\n$ kubectl trading {arguments}\n{}\n```\n{END}{rest}",
            output.trim_end()
        );
        tables += 1;
    }
    ensure!(tables > 0, "no table in it");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_made_anew_and_the_rest_stays() -> Result<()> {
        let page = "A\n<!-- kubectl trading cost -f a -->\nold\n<!-- end -->\nB\n";
        let once = filled(page, |arguments| Ok(format!("{arguments}!\n")))?;
        assert_eq!(
            once,
            "A\n<!-- kubectl trading cost -f a -->\n```\n$ kubectl trading cost -f a\ncost -f a!\n```\n<!-- end -->\nB\n"
        );
        assert_eq!(once, filled(&once, |arguments| Ok(format!("{arguments}!\n")))?);
        assert!(filled("no table", |_| Ok(String::new())).is_err());
        assert!(filled("<!-- kubectl trading a -->\nold", |_| Ok(String::new())).is_err());
        Ok(())
    }
}
