//! How long it takes to decide and render, without any cluster.

use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use trading_api::TradingPlatform;
use trading_core::inputs::Inputs;
use trading_core::render::render;
use trading_core::resolve::resolve;

use super::subject;
use crate::repo;

const TIMES: usize = 200;

/// The median of many times, for each of the examples.
pub struct Rendering {
    /// What each example takes, by name.
    pub examples: Vec<(String, Duration)>,
}

impl Rendering {
    /// Measures all examples as production runs them.
    pub fn measure() -> Result<Self> {
        let folder = repo::path("examples");
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        names.sort_unstable();
        let examples = names
            .into_iter()
            .map(|name| {
                let platform = subject::read(&format!("examples/{name}/base/platform.yaml"))?;
                Ok((name, median(&platform)))
            })
            .collect::<Result<_>>()?;
        Ok(Self { examples })
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        self.examples.iter().map(|(_, time)| time).sum()
    }
}

fn median(platform: &TradingPlatform) -> Duration {
    let inputs = Inputs::offline(Timestamp::UNIX_EPOCH);
    let mut times: Vec<_> = (0..TIMES)
        .map(|_| {
            let started = Instant::now();
            black_box(render(&resolve(black_box(platform), &inputs)));
            started.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
