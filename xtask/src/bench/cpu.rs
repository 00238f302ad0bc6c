//! CPU time of everything that takes part: the control plane, the client that is measured, and this
//! program. Unlike the time on the clock, it hardly depends on what else the machine does.

use std::fs;

use anyhow::{Context, Result};

/// Of Linux' `USER_HZ`, on every machine that matters.
const TICKS_PER_SECOND: f64 = 100.0;

/// What this process and the programs that it started have used up to now, in seconds.
pub fn seconds() -> Result<f64> {
    let mut ticks = ticks("self")?;
    for thread in fs::read_dir("/proc/self/task")? {
        let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        // One that ends just now is none of those that matter.
        ticks += children.split_whitespace().filter_map(|child| self::ticks(child).ok()).sum::<f64>();
    }
    Ok(ticks / TICKS_PER_SECOND)
}

fn ticks(process: &str) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    user_and_system(&stat).with_context(|| format!("cannot read the CPU time of process {process}"))
}

/// Fields 14 and 15. Field 2 is the name, which may hold anything but ends with the last parenthesis.
fn user_and_system(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_count() {
        let stat = "17 (a) b) S 1 17 17 0 -1 4194304 100 0 0 0 250 50 7 7 20 0 4 0 12345";
        assert_eq!(user_and_system(stat), Some(300.0));
    }
}
