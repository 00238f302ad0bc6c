//! The table of what a running Redis takes, against a real one; skipped where there is none.

use std::{
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use trading_core::resolve::directives::needs_start;

/// What `CONFIG SET` says of directives that change with a start alone.
const REFUSALS: [&str; 2] = ["can't set immutable config", "can't set protected config"];

struct Redis {
    child: Child,
    folder: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Redis {
    fn start() -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        let socket = folder.join("sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                // Past the harness, which would swallow it for a test that passes.
                let _ = writeln!(io::stderr(), "skipped: redis-server does not start: {error}");
                return None;
            }
        };
        let stream = (0..200).find_map(|_| {
            thread::sleep(Duration::from_millis(50));
            UnixStream::connect(&socket).ok()
        });
        Some(Self { child, folder, stream: BufReader::new(stream.expect("it listens")) })
    }

    fn ask(&mut self, words: &[&str]) -> Vec<String> {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            // Writing to a String can't fail.
            let _ = write!(bytes, "${}\r\n{word}\r\n", word.len());
        }
        self.stream.get_mut().write_all(bytes.as_bytes()).expect("it reads");
        self.reply()
    }

    fn reply(&mut self) -> Vec<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("it answers");
        let (kind, rest) = line.trim_end().split_at(1);
        match kind {
            "*" => (0..rest.parse().expect("a number")).flat_map(|_| self.reply()).collect(),
            "$" => {
                let mut text = vec![0; rest.parse::<usize>().expect("a number") + 2];
                self.stream.read_exact(&mut text).expect("it answers");
                text.truncate(text.len() - 2);
                vec![String::from_utf8(text).expect("text")]
            }
            _ => vec![rest.to_owned()],
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn the_table_says_what_redis_says() {
    let Some(mut redis) = Redis::start() else { return };
    let all = redis.ask(&["CONFIG", "GET", "*"]);
    assert!(all.len() > 300, "{}", all.len());
    let mut wrong = Vec::new();
    for pair in all.chunks_exact(2) {
        let [directive, value] = pair else { continue };
        let answer = redis.ask(&["CONFIG", "SET", directive, value]).concat();
        let refused = REFUSALS.iter().any(|refusal| answer.contains(refusal));
        // The resource knows the names with dashes alone.
        if needs_start(&directive.replace('_', "-")) != refused {
            wrong.push(format!("{directive}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
