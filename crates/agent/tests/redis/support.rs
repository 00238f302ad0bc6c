//! Running the program, and a directory to run it in.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program without any environment of the machine.
pub fn agent(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trading-agent"));
    command.env_clear().arg("redis").args(args);
    command
}

/// What a run came to.
pub struct Outcome {
    pub ok: bool,
    pub stdout: String,
    /// Without the line end.
    pub stderr: String,
}

impl Outcome {
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("the program starts");
        let stderr = String::from_utf8(stderr).expect("stderr is text");
        Self {
            ok: status.success(),
            stdout: String::from_utf8(stdout).expect("stdout is text"),
            stderr: stderr.trim_end_matches('\n').to_owned(),
        }
    }

    #[track_caller]
    pub fn succeeds(&self) {
        assert!(self.ok, "{}", self.stderr);
        assert_eq!(self.stderr, "");
    }

    /// Fails with one line that holds `reason`.
    #[track_caller]
    pub fn fails_with(&self, reason: &str) {
        assert!(!self.ok, "should fail with: {reason}");
        assert!(self.stderr.contains(reason), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
    }
}

/// A folder as the kubelet mounts a Secret with these keys.
pub fn mount(folder: &Path, keys: &[(&str, &OsStr)]) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let state = format!("..state-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    fs::create_dir_all(folder.join(&state)).expect("made");
    for (key, value) in keys {
        fs::write(folder.join(&state).join(key), value.as_encoded_bytes()).expect("written");
        let _ = symlink(Path::new("..data").join(key), folder.join(key));
    }
    let (new, data) = (folder.join("..data_tmp"), folder.join("..data"));
    let before = fs::read_link(&data);
    symlink(state, &new).expect("linked");
    fs::rename(&new, &data).expect("renamed");
    if let Ok(before) = before {
        fs::remove_dir_all(folder.join(before)).expect("removed");
    }
}

/// One probe, with the arguments after `probe`.
pub fn probe(args: &str, port: u16, password: Option<&OsStr>) -> Outcome {
    let scratch = Scratch::new();
    let port = port.to_string();
    let mut words = vec!["probe"];
    words.extend(args.split_whitespace());
    words.extend(["--port", &port]);
    let mut command = agent(&words);
    if let Some(password) = password {
        mount(scratch.path(), &[("password", password)]);
        command.arg("--passwords").arg(scratch.path());
    }
    Outcome::of(&mut command)
}

/// A port whose cluster bus port is free too.
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        if let Some(bus) = port.checked_add(10_000)
            && TcpListener::bind((Ipv4Addr::LOCALHOST, bus)).is_ok()
        {
            return port;
        }
    }
}

/// A directory of one test, gone when the test ends.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("agent-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("the scratch directory can be made");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// `prepare` on a template, its files all in here, and this password.
    pub fn prepare_with(&self, template: &str, password: &OsStr) -> Command {
        mount(&self.file("secret"), &[("password", password)]);
        let mut command = self.prepare(template);
        command.arg("--passwords").arg(self.file("secret"));
        command
    }

    /// `prepare` on a template, its files all in here.
    pub fn prepare(&self, template: &str) -> Command {
        fs::write(self.file("template.conf"), template).expect("the template can be written");
        let mut command = agent(&["prepare"]);
        command
            .arg("--template")
            .arg(self.file("template.conf"))
            .arg("--output")
            .arg(self.file("redis.conf"))
            .arg("--binary")
            .arg(self.file("trading-agent"));
        command
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}
