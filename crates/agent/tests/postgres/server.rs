//! The programs of PostgreSQL on this machine, and a folder for what they make.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::small_volume::SmallVolume;

/// Keeps the directories of tests apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where the programs are, and as whom they run.
pub struct Bench {
    programs: PathBuf,
    major: String,
    user: Option<(u32, u32)>,
    root: PathBuf,
}

impl Bench {
    /// `None` where the machine has not what it takes; it then says so.
    pub fn new() -> Option<Self> {
        let skip = |why: &str| {
            // Past the harness, which would swallow it for a test that passes.
            let _ = writeln!(io::stderr(), "skipped: {why}");
        };
        let Some(programs) = programs() else {
            skip("initdb, postgres, pg_basebackup and psql are not all there");
            return None;
        };
        let version = said(Command::new(programs.join("postgres")).arg("--version"))?;
        let major = version.split_whitespace().find_map(|word| {
            let digits: String = word.chars().take_while(char::is_ascii_digit).collect();
            (!digits.is_empty()).then_some(digits)
        })?;
        let own = fs::metadata("/proc/self").ok()?.uid();
        let user = if own == 0 {
            let id = |flag: &str| said(Command::new("id").args([flag, "postgres"]))?.trim().parse().ok();
            let Some(user) = id("-u").zip(id("-g")) else {
                skip("PostgreSQL does not run as root, and there is no user postgres");
                return None;
            };
            Some(user)
        } else {
            None
        };
        let name = format!("postgres-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // Short: the name of a socket in it has at most 107 characters.
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).expect("the scratch directory can be made");
        let bench = Self { programs, major, user, root };
        bench.own_only(std::slice::from_ref(&bench.root));
        Some(bench)
    }

    /// As whom the programs run; `None` where that is as the tests do.
    pub fn user(&self) -> Option<(u32, u32)> {
        self.user
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn major(&self) -> &str {
        &self.major
    }

    /// Gives these to the user that runs the programs, and nothing below them.
    pub fn own_only(&self, paths: &[PathBuf]) {
        let Some((user, group)) = self.user else { return };
        for path in paths {
            chown(path, Some(user), Some(group)).expect("root may");
        }
    }

    /// A database that nobody knows.
    pub fn initdb(&self, data: &Path) {
        let mut command = self.command(self.programs.join("initdb"));
        let made = command
            .args(["--no-sync", "--pgdata"])
            .arg(data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        assert!(made.is_ok_and(|status| status.success()));
    }

    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        self.surround(&mut command);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// One that sees a volume which others don't.
    pub fn command_on(&self, volume: &SmallVolume, program: impl AsRef<Path>) -> Command {
        let mut command = volume.run_in(program, self.user);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", self.programs.display()));
        command.current_dir("/");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{} stays behind: {error}", self.root.display());
        }
    }
}

fn said(command: &mut Command) -> Option<String> {
    let Output { status, stdout, .. } = command.output().ok()?;
    status.success().then(|| String::from_utf8_lossy(&stdout).into_owned())
}

fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).chain(versions.map(|version| version.path().join("bin"))).find(|folder| {
        ["initdb", "postgres", "pg_basebackup", "psql"].iter().all(|name| folder.join(name).is_file())
    })
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}
