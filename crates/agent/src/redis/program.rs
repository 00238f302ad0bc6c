//! The image's own server as an oracle, I/O: which lines it takes, and what its defaults are.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::resp::{self, Reply};
use super::users::{self, Users};
use super::{settings, verdict};

/// A directive that no server has: reading stops there, so that none starts.
const NO_DIRECTIVE: &str = "trading-agent-reads-no-further yes";
/// Time for a server without data to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// The program `redis-server` of the image.
#[derive(Clone, Debug)]
pub struct Program(pub PathBuf);

/// A line that the server does not take.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Counted from 1.
    pub line: usize,
    /// What the server says.
    pub reason: String,
}

impl Program {
    /// Lines of the template with which the server would not start.
    pub fn refusals(&self, template: &str) -> io::Result<Vec<Refusal>> {
        let lines: Vec<&str> = template.lines().collect();
        let mut refusals: Vec<Refusal> = Vec::new();
        loop {
            // Blank ones, so that those behind keep their numbers.
            let mut text = String::new();
            for (index, line) in lines.iter().enumerate() {
                let is_refused = refusals.iter().any(|refusal| refusal.line == index + 1);
                text.push_str(if is_refused { "" } else { line });
                text.push('\n');
            }
            text.push_str(NO_DIRECTIVE);
            text.push('\n');
            let said = self.read_config(&text)?;
            let (line, reason) = settings::complaint(&said).ok_or(io::ErrorKind::InvalidData)?;
            if line > lines.len() || refusals.iter().any(|refusal| refusal.line == line) {
                return Ok(refusals);
            }
            refusals.push(Refusal { line, reason });
        }
    }

    /// What the server says of a configuration with an end that it does not take.
    fn read_config(&self, text: &str) -> io::Result<String> {
        let mut child = Command::new(&self.0)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            stderr.take(64 * 1024).read_to_string(&mut said)?;
        }
        child.wait()?;
        Ok(said)
    }

    /// The value that a directive has where nobody sets it.
    pub fn default_of(&self, directive: &str, folder: &Path) -> io::Result<String> {
        match Fresh::start(&self.0, folder)?.ask(&["CONFIG", "GET", directive])? {
            Reply::List(pair) => match &pair[..] {
                [Reply::Bulk(_), Reply::Bulk(value)] => Ok(resp::text(value)),
                _ => Err(io::Error::other("it has no such directive")),
            },
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Those of the users whom the server does not take, and why. Reading a configuration does not tell: a
    /// command that it does not know could be a module's.
    pub fn refused_users(&self, users: &Users, folder: &Path) -> io::Result<BTreeMap<String, String>> {
        if users.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut fresh = Fresh::start(&self.0, folder)?;
        let mut refused = BTreeMap::new();
        for (name, words) in users::commands(&Users::new(), users) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            if let Reply::Error(reason) = fresh.ask(&words)? {
                refused.insert(name, verdict::one_line(&reason));
            }
        }
        Ok(refused)
    }
}

/// A server without a port and without data.
struct Fresh {
    child: Child,
    socket: PathBuf,
    stream: UnixStream,
}

impl Fresh {
    /// Its socket is in the folder, which is this user's alone.
    fn start(program: &Path, folder: &Path) -> io::Result<Self> {
        let socket = folder.join("fresh.sock");
        let config = format!(
            "port 0\nunixsocket {}\nunixsocketperm 600\nsave \"\"\nappendonly no\n",
            socket.display()
        );
        let mut child = Command::new(program)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        match connected(&mut child, &config, &socket) {
            Ok(stream) => Ok(Self { child, socket, stream }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    fn ask(&mut self, words: &[&str]) -> io::Result<Reply> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.stream.write_all(&resp::command(&words))?;
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            if let Some(reply) = resp::parse(&received).map_err(io::Error::other)? {
                return Ok(reply);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => received.extend_from_slice(&chunk[..length]),
            }
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        end(&mut self.child);
        // Redis removes it where it ends by itself.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Whoever supervises the main server buries every process, so that this one may be gone already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn connected(child: &mut Child, config: &str, socket: &Path) -> io::Result<UnixStream> {
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(config.as_bytes())?;
    }
    let end = Instant::now() + PATIENCE;
    let stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => thread::sleep(PAUSE),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}
