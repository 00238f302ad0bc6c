//! Volume stage, I/O: makes, copies and rewinds the data with the programs of the image.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{oneshot, watch};
use tokio::time::interval;

use super::local::{BROKEN, Local, PROMOTING};
use crate::postgres::config;
use crate::postgres::prepare::{self, Environment, New, PrepareError};
use crate::postgres::programs;

/// Between signs of life while a program works.
const BEAT: Duration = Duration::from_secs(1);

/// Works on the volume of one pod.
pub struct Volume<'a> {
    /// The programs.
    pub folder: &'a Path,
    /// The pod.
    pub local: &'a Local,
    /// Whether the process was told to end: the program is then, too.
    pub stopping: watch::Receiver<bool>,
}

impl Volume<'_> {
    /// A new database on an empty volume.
    pub fn initialize(&self, new: &New, environment: &Environment) -> Result<(), PrepareError> {
        let place = self.local.place();
        place.begin()?;
        prepare::initialize(new, &place, environment)?;
        place.finish()?;
        self.take_note()
    }

    /// A copy of a server in the place of what is there, which stays until the copy is whole.
    pub async fn copy(&self, connection: &str, slot: &str) -> Result<(), PrepareError> {
        let place = self.local.place();
        let is_first = self.local.look().await?.status.system.is_none();
        let wal = if is_first {
            place.begin()?;
            self.local.wal.clone()
        } else {
            place.tidy()?;
            place.other_wal()
        };
        let mut backup = prepare::copy(self.folder, &place.new_data(), wal.as_deref(), connection);
        backup.args(["--slot", slot]);
        self.run("pg_basebackup", backup).await?;
        place.mark_replica()?;
        if is_first {
            place.finish()?;
        } else {
            place.exchange()?;
        }
        place.set_note(PROMOTING, None)?;
        place.set_note(BROKEN, None)?;
        self.take_note()
    }

    /// Undoes what the server behind the connection does not have. The data stays broken where that server has
    /// thrown away the log with which it could be made whole: then it has to be copied.
    pub async fn rewind(&self, connection: &str) -> Result<(), PrepareError> {
        let place = self.local.place();
        place.set_note(BROKEN, Some(""))?;
        let mut rewind = programs::program(self.folder, "pg_rewind");
        rewind.arg("--target-pgdata").arg(&self.local.data).arg("--source-server").arg(connection);
        self.run("pg_rewind", rewind).await?;
        place.begin_as_standby()?;
        place.set_note(PROMOTING, None)?;
        if place.has_log()? {
            place.set_note(BROKEN, None)?;
        } else {
            tracing::warn!("the primary has no log from where this server would begin: it copies anew");
        }
        self.take_note()
    }

    /// Finds out whose data is there.
    pub fn take_note(&self) -> Result<(), PrepareError> {
        let name = "pg_controldata";
        let mut command = programs::program(self.folder, name);
        command.arg(&self.local.data).stderr(Stdio::inherit());
        let output = command.output().map_err(|source| PrepareError::Start { program: name, source })?;
        prepare::finish(name, Ok(output.status))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let system = text
            .lines()
            .find_map(|line| line.strip_prefix("Database system identifier:")?.trim().parse().ok());
        let system = system.ok_or(PrepareError::NotUnderstood { program: name })?;
        self.local.is_of(system, config::floors(&text));
        Ok(())
    }

    async fn run(&self, name: &'static str, mut command: Command) -> Result<(), PrepareError> {
        let start = |source| PrepareError::Start { program: name, source };
        let mut child = command.stdin(Stdio::null()).spawn().map_err(start)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let (sender, mut ended) = oneshot::channel::<std::io::Result<ExitStatus>>();
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(64 * 1024)
            .spawn(move || sender.send(child.wait()))
            .map_err(start)?;
        let mut stopping = self.stopping.clone();
        let mut beat = interval(BEAT);
        let mut was_told = false;
        loop {
            tokio::select! {
                status = &mut ended => {
                    let status = status.map_err(|_| start(std::io::ErrorKind::BrokenPipe.into()))?;
                    return prepare::finish(name, status);
                }
                Ok(_) = stopping.wait_for(|stopping| *stopping), if !was_told => {
                    was_told = true;
                    // It may have ended by itself meanwhile.
                    let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
                }
                _ = beat.tick() => self.local.beat(),
            }
        }
    }
}

/// Whether there is data of this major version; an error says what else there is.
pub fn inspect(local: &Local, folder: &Path, major: u32) -> Result<(), PrepareError> {
    let place = local.place();
    if place.holds_database(major)? {
        place.settle()?;
        place.tidy()?;
        let (_, stopping) = watch::channel(false);
        Volume { folder, local, stopping }.take_note()?;
    }
    Ok(())
}
