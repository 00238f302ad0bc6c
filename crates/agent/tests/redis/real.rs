//! `prepare` and `probe` with a real `redis-server`; skipped where there is none.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Outcome, Scratch, free_port, probe};

const PATIENCE: Duration = Duration::from_secs(20);

/// Redis answers at once here; a busy machine may not.
const READY: &str = "readiness --timeout-ms 5000";
const READY_IN_CLUSTER: &str = "readiness --cluster --timeout-ms 5000";
const ALIVE: &str = "liveness --timeout-ms 5000";

fn redis_server() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("redis-server"))
        .find(|file| file.is_file());
    if found.is_none() {
        // Past the harness, which would swallow it for a test that passes.
        let _ = writeln!(io::stderr(), "skipped: redis-server is not on PATH");
    }
    found
}

/// A server with a prepared configuration; killed when dropped.
struct Redis {
    child: Child,
    port: u16,
    password: OsString,
}

impl Redis {
    fn start(program: &Path, scratch: &Scratch, template: &str, password: &OsStr) -> Self {
        let mut prepare = scratch.prepare_with(template, password);
        prepare.env("POD_IP", "127.0.0.1");
        Outcome::of(&mut prepare).succeeds();

        // Someone else may take the port first; Redis then ends at once.
        for _ in 0..5 {
            let port = free_port();
            let log = File::create(scratch.file("log")).expect("the log can be written");
            let child = Command::new(program)
                .arg(scratch.file("redis.conf"))
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--dir"])
                .arg(scratch.path())
                .stdout(log)
                .spawn()
                .expect("redis-server starts");
            let mut redis = Self { child, port, password: password.to_owned() };
            if redis.answers() {
                return redis;
            }
        }
        let log = fs::read_to_string(scratch.file("log")).unwrap_or_default();
        panic!("redis-server does not run:\n{log}");
    }

    fn answers(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            if probe(ALIVE, self.port, None).ok {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn probe(&self, args: &str) -> Outcome {
        probe(args, self.port, Some(&self.password))
    }

    fn connect(&self, words: &[&[u8]]) -> TcpStream {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("redis listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        // In one write: after the first of two, Redis may have hung up.
        let mut bytes = Vec::new();
        for command in [&[b"AUTH", self.password.as_encoded_bytes()][..], words] {
            bytes.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for word in command {
                bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend_from_slice(word);
                bytes.extend_from_slice(b"\r\n");
            }
        }
        stream.write_all(&bytes).expect("redis reads");
        stream
    }

    /// One command, after AUTH; both replies, raw.
    fn ask(&self, words: &[&[u8]]) -> String {
        let mut stream = self.connect(words);
        stream.shutdown(std::net::Shutdown::Write).expect("the connection is open");
        let mut replies = Vec::new();
        stream.read_to_end(&mut replies).expect("redis answers");
        let replies = String::from_utf8_lossy(&replies).into_owned();
        replies.strip_prefix("+OK\r\n").expect("the password is right").to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn passwords_survive_the_quoting() {
    let Some(program) = redis_server() else {
        return;
    };
    let mut every_byte: Vec<u8> = (1..=255).collect();
    every_byte.extend_from_slice(b"\\x41 \\n\\");
    let passwords = [
        OsString::from("plain"),
        OsString::from("a \"quoted\" 'word'"),
        OsString::from(r"back\slash\x41\n\"),
        OsString::from("# no comment"),
        OsString::from("  spaces  "),
        OsString::from("two\nlines\r\n"),
        OsString::from("pässwörd-✓-密码"),
        OsString::from("$(id)`id`;%s"),
        OsString::from("0123456789abcdef".repeat(256)),
        OsString::from_vec(every_byte),
    ];
    for password in passwords {
        let scratch = Scratch::new();
        let redis = Redis::start(&program, &scratch, "appendonly no", &password);
        redis.probe(READY).succeeds();
        redis.probe(ALIVE).succeeds();

        let masterauth = redis.ask(&[b"CONFIG", b"GET", b"masterauth"]);
        let shown = password.to_string_lossy();
        assert!(masterauth.ends_with(&format!("\r\n{shown}\r\n")));
        // Nothing of the password has become a directive of its own.
        assert!(redis.ask(&[b"CONFIG", b"GET", b"appendonly"]).contains("no"));

        probe(ALIVE, redis.port, None).succeeds();
        probe(READY, redis.port, None).fails_with("PING was refused: NOAUTH");
        let wrong = probe(READY, redis.port, Some(OsStr::new("swordfish")));
        wrong.fails_with("is not the server's password (WRONGPASS)");
        assert!(!wrong.stderr.contains("swordfish"), "{}", wrong.stderr);
        probe(ALIVE, redis.port, Some(OsStr::new("swordfish"))).succeeds();
    }
}

#[test]
fn a_node_is_ready_once_its_cluster_is_formed() {
    let Some(program) = redis_server() else {
        return;
    };
    for coverage in ["yes", "no"] {
        let scratch = Scratch::new();
        let template = format!("cluster-enabled yes\ncluster-require-full-coverage {coverage}\n");
        let redis = Redis::start(&program, &scratch, &template, OsStr::new("s e\"cret"));
        let before = redis.probe(READY_IN_CLUSTER);
        before.fails_with("cluster is not formed yet");
        redis.probe(READY).succeeds();
        redis.probe("liveness --cluster").succeeds();
        assert_eq!(
            redis.ask(&[b"CONFIG", b"GET", b"cluster-announce-ip"]),
            "*2\r\n$19\r\ncluster-announce-ip\r\n$9\r\n127.0.0.1\r\n"
        );

        let added = redis.ask(&[b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383"]);
        assert_eq!(added, "+OK\r\n");
        eventually("the cluster serves", || redis.probe(READY_IN_CLUSTER).ok);

        if coverage == "yes" {
            let deleted = redis.ask(&[b"CLUSTER", b"DELSLOTS", b"7"]);
            assert_eq!(deleted, "+OK\r\n");
            eventually("the lost slot shows", || {
                let outcome = redis.probe(READY_IN_CLUSTER);
                outcome.stderr.starts_with("cluster_state is fail (16383")
            });
        }
    }
}

#[test]
fn a_server_without_cluster_is_no_cluster_node() {
    let Some(program) = redis_server() else {
        return;
    };
    let scratch = Scratch::new();
    let redis = Redis::start(&program, &scratch, "port 1", OsStr::new("s"));
    let outcome = redis.probe(READY_IN_CLUSTER);
    outcome.fails_with("cluster support disabled");
}

#[test]
fn a_loading_server_is_alive_but_not_ready() {
    let Some(program) = redis_server() else {
        return;
    };
    let scratch = Scratch::new();
    let password = OsStr::new("s");
    let redis = Redis::start(&program, &scratch, "port 1", password);
    let script = b"for i = 1, 2000 do redis.call('SET', i, string.rep(i, 50)) end";
    redis.ask(&[b"EVAL", script, b"0"]);
    assert_eq!(redis.ask(&[b"SAVE"]), "+OK\r\n");
    drop(redis);

    // 2000 keys of 2 ms each, with clients answered after every KiB.
    let slow = "key-load-delay 2000\nloading-process-events-interval-bytes 1024\n";
    let redis = Redis::start(&program, &scratch, slow, password);
    redis.probe(READY).fails_with("PING was refused: LOADING");
    redis.probe(ALIVE).succeeds();
    eventually("the data is loaded", || redis.probe(READY).ok);
}

#[test]
fn a_server_in_a_script_is_alive_but_not_ready() {
    let Some(program) = redis_server() else {
        return;
    };
    let scratch = Scratch::new();
    let redis = Redis::start(&program, &scratch, "lua-time-limit 50", OsStr::new("s"));
    // Held, because Redis forgets a client that is gone.
    let _endless = redis.connect(&[b"EVAL", b"while true do end", b"0"]);
    eventually("the script runs", || redis.probe(READY).stderr.starts_with("PING was refused: BUSY"));
    redis.probe(ALIVE).succeeds();
}

#[test]
fn a_replica_without_master_is_alive_but_not_ready() {
    let Some(program) = redis_server() else {
        return;
    };
    let scratch = Scratch::new();
    let template = "replicaof 127.0.0.1 1\nreplica-serve-stale-data no\n";
    let redis = Redis::start(&program, &scratch, template, OsStr::new("s"));
    redis.probe(READY).fails_with("PING was refused: MASTERDOWN");
    redis.probe(ALIVE).succeeds();
}

#[test]
fn a_server_out_of_clients_is_alive_but_not_ready() {
    let Some(program) = redis_server() else {
        return;
    };
    let scratch = Scratch::new();
    let redis = Redis::start(&program, &scratch, "maxclients 1", OsStr::new("s"));
    let mut guest = None;
    // The last probe's place may not be free at once.
    eventually("the only place is taken", || {
        let mut stream = redis.connect(&[b"PING"]);
        let mut replies = [0; 12];
        let is_in = stream.read_exact(&mut replies).is_ok() && &replies == b"+OK\r\n+PONG\r\n";
        guest = is_in.then_some(stream);
        is_in
    });
    for _ in 0..20 {
        redis.probe(ALIVE).succeeds();
        redis.probe(READY).fails_with("the server has reached maxclients");
    }
}

#[test]
fn a_stopped_server_fails_in_time() {
    let Some(program) = redis_server() else {
        return;
    };
    let scratch = Scratch::new();
    let redis = Redis::start(&program, &scratch, "port 1", OsStr::new("s"));
    let signal = |name: &str| {
        let status = Command::new("kill").args([name, &redis.child.id().to_string()]).status();
        assert!(status.is_ok_and(|it| it.success()), "kill {name}");
    };
    signal("-STOP");
    redis.probe("liveness --timeout-ms 300").fails_with("AUTH took longer than the 300 ms of the probe");
    signal("-CONT");
    redis.probe(ALIVE).succeeds();
}
