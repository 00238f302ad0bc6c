//! Pods on this machine: a directory and a port each, with the programs of PostgreSQL.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{OWNER, REPLICATION};

const PATIENCE: Duration = Duration::from_mins(1);

/// Keeps the directories of tests apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Where the programs are, and as whom they run.
pub struct Bench {
    programs: PathBuf,
    major: String,
    user: Option<(u32, u32)>,
    root: PathBuf,
    port: u16,
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
        let bench = Self { programs, major, user, root, port: free_port() };
        bench.own();
        Some(bench)
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
        Outcome::of(command.args(["--no-sync", "--pgdata"]).arg(data)).succeeds();
    }

    /// Gives everything to the user that runs the programs.
    pub fn own(&self) {
        let Some((user, group)) = self.user else { return };
        let mut left = vec![self.root.clone()];
        while let Some(path) = left.pop() {
            chown(&path, Some(user), Some(group)).expect("root may");
            if path.is_dir() {
                left.extend(fs::read_dir(&path).expect("read").map(|entry| entry.expect("read").path()));
            }
        }
    }

    /// A pod of this name. The first is the primary, which is called `localhost`.
    pub fn pod(&self, name: &str, log_apart: bool) -> Pod<'_> {
        let is_primary = name == "localhost";
        let port = if is_primary { self.port } else { free_port() };
        let folder = self.root.join(name);
        for folder in [&folder, &folder.join("run")] {
            fs::create_dir_all(folder).expect("made");
        }
        let pod = Pod { bench: self, name: name.to_owned(), folder, port, log_apart };
        let access = "local all all trust\nhost replication streaming_replica all scram-sha-256\nhost all all all scram-sha-256\n";
        fs::write(pod.file("pg_hba.conf"), access).expect("written");
        let template = format!(
            "listen_addresses = '127.0.0.1'\nport = '{port}'\nunix_socket_directories = '{}'\nhba_file = '{}'\nwal_level = 'replica'\n",
            pod.folder.join("run").display(),
            pod.file("pg_hba.conf").display()
        );
        fs::write(pod.file("template.conf"), template).expect("written");
        self.own();
        pod
    }

    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", self.programs.display()));
        command.current_dir("/");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
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

/// What a run came to.
pub struct Outcome {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { ok: status.success(), stdout: text(stdout), stderr: text(stderr) }
    }

    #[track_caller]
    pub fn succeeds(&self) {
        assert!(self.ok, "{}{}", self.stdout, self.stderr);
    }

    #[track_caller]
    pub fn fails_with(&self, reason: &str) {
        assert!(!self.ok, "should fail with: {reason}");
        assert!(self.stderr.contains(reason), "{}", self.stderr);
    }
}

/// A pod's directory and port.
pub struct Pod<'a> {
    bench: &'a Bench,
    name: String,
    folder: PathBuf,
    port: u16,
    log_apart: bool,
}

impl Pod<'_> {
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.file("data")
    }

    pub fn wal(&self) -> PathBuf {
        self.file("wal")
    }

    /// The same volumes in a pod of another name.
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), folder: self.folder.clone(), ..*self }
    }

    pub fn prepare(&self) -> Outcome {
        self.bench.own();
        let mut command = self.bench.command(env!("CARGO_BIN_EXE_trading-agent"));
        command.args(["postgres", "prepare", "--major", &self.bench.major, "--data"]).arg(self.data());
        command.arg("--template").arg(self.file("template.conf"));
        command.arg("--output").arg(self.file("postgresql.conf"));
        command.args(["--primary", "localhost", "--primary-port", &self.bench.port.to_string()]);
        command.args(["--database", "shop", "--owner", "app"]);
        if self.log_apart {
            command.arg("--wal").arg(self.wal());
        }
        command
            .env("POD_NAME", &self.name)
            .env("OWNER_PASSWORD", OWNER)
            .env("SUPERUSER_PASSWORD", "super")
            .env("REPLICATION_PASSWORD", REPLICATION);
        Outcome::of(&mut command)
    }

    pub fn start(&self) -> Running {
        let log = fs::File::create(self.file("log")).expect("made");
        let mut command = self.bench.command(self.bench.programs.join("postgres"));
        let config = format!("config_file={}", self.file("postgresql.conf").display());
        command.arg("-D").arg(self.data()).args(["-c", &config]);
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("the server starts");
        let running = Running { child };
        let end = Instant::now() + PATIENCE;
        while !self.probe("readiness").ok {
            let log = || fs::read_to_string(self.file("log")).unwrap_or_default();
            assert!(Instant::now() < end, "the server is not ready: {}", log());
            thread::sleep(Duration::from_millis(100));
        }
        self.probe("liveness").succeeds();
        running
    }

    pub fn probe(&self, check: &str) -> Outcome {
        let mut command = self.bench.command(env!("CARGO_BIN_EXE_trading-agent"));
        let port = self.port.to_string();
        Outcome::of(command.args(["postgres", "probe", check, "--port", &port, "--timeout-ms", "5000"]))
    }

    pub fn query(&self, role: &str, statement: &str) -> Outcome {
        self.query_with(role, OWNER, statement)
    }

    pub fn query_with(&self, role: &str, password: &str, statement: &str) -> Outcome {
        let mut command = self.bench.command(self.bench.programs.join("psql"));
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", role, "-d", "shop"]);
        command.args(["-p", &self.port.to_string(), "-c", statement]).env("PGPASSWORD", password);
        Outcome::of(&mut command)
    }

    /// What the owner gets to read.
    pub fn answer(&self, statement: &str) -> String {
        let outcome = self.query("app", statement);
        outcome.succeeds();
        outcome.stdout.trim().to_owned()
    }

    pub fn wait_for(&self, statement: &str, answer: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let outcome = self.query("app", statement);
            if outcome.ok && outcome.stdout.trim() == answer {
                return;
            }
            assert!(Instant::now() < end, "{}{}", outcome.stdout, outcome.stderr);
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A server that ends with the test.
pub struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // SIGINT is the fast shutdown; the image's stop signal too.
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-INT", &pid]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
