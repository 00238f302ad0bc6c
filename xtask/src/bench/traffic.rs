//! Waits until somebody asks for nothing any more, by looking only at what the audit log gained.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::cpu;

const POLL: Duration = Duration::from_millis(100);

/// The requests of one user, as they come in.
pub struct Traffic {
    log: PathBuf,
    offset: u64,
    user: String,
    last: Instant,
    cpu: f64,
}

impl Traffic {
    /// Begins where the log ends now.
    pub fn of(user: &str, log: &Path) -> Result<Self> {
        let offset = std::fs::metadata(log)?.len();
        Ok(Self { log: log.to_owned(), offset, user: format!("\"{user}\""), last: Instant::now(), cpu: 0.0 })
    }

    /// Waits until there was no request for so long, watches and the Lease excepted.
    /// Returns the CPU time of all up to the last request.
    pub async fn settle(&mut self, quiet: Duration, limit: Duration) -> Result<f64> {
        let started = Instant::now();
        self.last = started;
        self.cpu = cpu::seconds()?;
        while self.last.elapsed() < quiet {
            ensure!(started.elapsed() < limit, "still busy after {} s", limit.as_secs());
            tokio::time::sleep(POLL).await;
            if self.look()? {
                self.last = Instant::now();
                self.cpu = cpu::seconds()?;
            }
        }
        Ok(self.cpu)
    }

    fn look(&mut self) -> Result<bool> {
        let mut log = File::open(&self.log)?;
        log.seek(SeekFrom::Start(self.offset))?;
        let mut new = Vec::new();
        log.read_to_end(&mut new)?;
        // The apiserver may be in the middle of a line.
        let whole = new.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.offset += u64::try_from(whole)?;
        let new = String::from_utf8_lossy(&new[..whole]);
        Ok(new.lines().any(|line| {
            line.contains(&self.user)
                && !line.contains(r#""resource":"leases""#)
                && !line.contains(r#""verb":"watch""#)
        }))
    }
}
