//! How the operator fared in a namespace, told at the end. The test harness shows it of tests that fail.

use anyhow::Result;

use super::stack::Stack;

/// How many lines of the operator's log are told.
const LAST: usize = 60;

/// Tells it when dropped.
pub(super) struct Epilogue<'a> {
    pub(super) stack: &'a Stack,
    pub(super) namespace: String,
}

impl Epilogue<'_> {
    fn told(&self) -> Result<String> {
        let mut operator = self.stack.operator();
        let end = match operator.exited()? {
            None => "the operator runs".to_owned(),
            Some(status) => format!("the operator has ended with {status}"),
        };
        let log = operator.log()?;
        let mine = format!("reconcile{{namespace=\"{}\"", self.namespace);
        let of_others = |line: &&str| line.contains("reconcile{") && !line.contains(&mine);
        let lines: Vec<&str> = log.lines().filter(|line| !of_others(line)).collect();
        Ok(format!("{end}; its log:\n{}", lines[lines.len().saturating_sub(LAST)..].join("\n")))
    }
}

impl Drop for Epilogue<'_> {
    fn drop(&mut self) {
        match self.told() {
            Ok(told) => println!("{}: {told}", self.namespace),
            Err(error) => println!("{}: how the operator fared is not known: {error:#}", self.namespace),
        }
    }
}
