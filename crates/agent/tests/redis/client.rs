//! A client of Redis and of Redis Cluster, and a ledger of what it was promised.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::authority::Authority;

/// In the certificate of every server.
pub const SERVER: &str = "shop-redis";
pub const PASSWORD: &str = "s e\"cret";
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom clients trust at servers that speak TLS, by their port.
static TRUSTED: Mutex<BTreeMap<u16, Arc<ClientConfig>>> = Mutex::new(BTreeMap::new());

/// From now on servers at this port have to have a certificate of this authority.
pub fn encrypt(port: u16, authority: &Authority) {
    TRUSTED.lock().expect("no panic").insert(port, Arc::new(authority.trusting()));
}

trait Stream: io::Read + io::Write + Send {}
impl<T: io::Read + io::Write + Send> Stream for T {}

/// One connection, its password told.
pub struct Connection(BufReader<Box<dyn Stream>>);

impl Connection {
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        Self::open_as(address, &["AUTH", PASSWORD])
    }

    /// With a login of the kind `AUTH [USER] PASSWORD`; a refused one is the first question's to tell.
    pub fn open_as(address: SocketAddr, login: &[&str]) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let config = TRUSTED.lock().expect("no panic").get(&address.port()).cloned();
        let stream: Box<dyn Stream> = match config {
            None => Box::new(stream),
            Some(config) => {
                let name = SERVER.try_into().expect("it is one");
                let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(session, stream))
            }
        };
        let mut connection = Self(BufReader::new(stream));
        connection.ask(login)?;
        Ok(connection)
    }

    /// The reply as text: lines of an array one below the other, errors with their dash.
    pub fn ask(&mut self, words: &[&str]) -> io::Result<String> {
        let mut bytes = format!("*{}\r\n", words.len());
        for word in words {
            // Writing to a String can't fail.
            let _ = write!(bytes, "${}\r\n{word}\r\n", word.len());
        }
        self.0.get_mut().write_all(bytes.as_bytes())?;
        self.0.get_mut().flush()?;
        self.reply()
    }

    fn reply(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let odd = || io::Error::other(format!("odd reply {line:?}"));
        match line.split_at(1) {
            ("+" | ":", text) => Ok(text.to_owned()),
            ("$" | "*", "-1") => Ok(String::new()),
            ("$", length) => {
                let mut bytes = vec![0; length.parse::<usize>().map_err(|_| odd())? + 2];
                io::Read::read_exact(&mut self.0, &mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            ("*", count) => {
                let count = count.parse::<usize>().map_err(|_| odd())?;
                let replies: Vec<String> = (0..count).map(|_| self.reply()).collect::<Result<_, _>>()?;
                Ok(replies.join("\n"))
            }
            _ => Ok(line.to_owned()),
        }
    }
}

/// One question to one server; empty where it does not answer.
pub fn ask(address: SocketAddr, words: &[&str]) -> String {
    Connection::open(address).and_then(|mut it| it.ask(words)).unwrap_or_default()
}

/// The same with this password; errors with their dash.
pub fn ask_with(address: SocketAddr, password: &str, words: &[&str]) -> String {
    Connection::open_as(address, &["AUTH", password]).and_then(|mut it| it.ask(words)).unwrap_or_default()
}

/// What a client logs in with: changes as its pod is replaced.
pub type Secret = Arc<Mutex<String>>;

/// Where a client starts to look: changes as servers move.
pub type Seeds = Arc<Mutex<Vec<SocketAddr>>>;

/// Follows redirections, as clients of a cluster do; to a server alone, it is a client as well.
pub struct Client {
    seeds: Seeds,
    /// Keys of a group are all in one slot; where that is, as far as known.
    places: BTreeMap<u64, SocketAddr>,
    connections: BTreeMap<SocketAddr, Connection>,
    password: Secret,
}

const GROUPS: u64 = 48;

pub fn key(number: u64) -> String {
    format!("{{{}}}:{number}", number % GROUPS)
}

impl Client {
    pub fn new(seeds: Seeds) -> Self {
        Self::with(seeds, Arc::new(Mutex::new(PASSWORD.to_owned())))
    }

    pub fn with(seeds: Seeds, password: Secret) -> Self {
        Self { seeds, places: BTreeMap::new(), connections: BTreeMap::new(), password }
    }

    /// The reply of the server that the key is at; an error where nobody has it just now.
    pub fn ask(&mut self, number: u64, words: &[&str]) -> io::Result<String> {
        let group = number % GROUPS;
        let mut last = io::Error::other("there is no server");
        for turn in 0..4 {
            let Some(place) = self.places.get(&group).copied().or_else(|| self.seed(number + turn)) else {
                return Err(last);
            };
            let reply = self.ask_at(place, words).and_then(|reply| match elsewhere("-ASK ", &reply) {
                // Only this time: the slot is on its way there.
                Some(place) => {
                    self.ask_at(place, &["ASKING"])?;
                    self.ask_at(place, words)
                }
                None => Ok(reply),
            });
            match reply {
                Ok(reply) => {
                    let moved = elsewhere("-MOVED ", &reply);
                    let Some(moved) = moved else {
                        if reply.starts_with('-') {
                            self.places.remove(&group);
                            return Err(io::Error::other(reply));
                        }
                        self.places.insert(group, place);
                        return Ok(reply);
                    };
                    self.places.insert(group, moved);
                }
                Err(error) => {
                    self.connections.remove(&place);
                    self.places.remove(&group);
                    last = error;
                }
            }
        }
        Err(last)
    }

    fn seed(&self, turn: u64) -> Option<SocketAddr> {
        let seeds = self.seeds.lock().expect("no panic");
        let length = u64::try_from(seeds.len()).ok().filter(|length| *length > 0)?;
        seeds.get(usize::try_from(turn % length).ok()?).copied()
    }

    fn ask_at(&mut self, place: SocketAddr, words: &[&str]) -> io::Result<String> {
        let connection = match self.connections.entry(place) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(free) => {
                let password = self.password.lock().expect("no panic").clone();
                free.insert(Connection::open_as(place, &["AUTH", &password])?)
            }
        };
        connection.ask(words)
    }

    /// How many replicas have everything that was written to this key's server.
    fn copies(&mut self, number: u64) -> u32 {
        let place = self.places.get(&(number % GROUPS)).copied();
        let reply = place.and_then(|place| self.ask_at(place, &["WAIT", "1", "50"]).ok());
        reply.and_then(|it| it.parse().ok()).unwrap_or(0)
    }
}

/// Where the key is, in an answer such as `-MOVED 3999 10.0.0.7:6379`.
fn elsewhere(what: &str, reply: &str) -> Option<SocketAddr> {
    reply.strip_prefix(what)?.rsplit(' ').next()?.parse().ok()
}

/// What the servers promised to keep.
#[derive(Default)]
pub struct Ledger {
    /// Acknowledged by the master, which has written it to its disk.
    pub acknowledged: Vec<u64>,
    /// By one of its replicas as well.
    pub copied: Vec<u64>,
    /// The longest time without an acknowledged write to one and the same slot.
    pub longest_pause: Duration,
    pub refused: u64,
}

/// Writes without a pause until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    ledger: Arc<Mutex<Ledger>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub fn start(seeds: &Seeds, first: u64) -> Self {
        Self::run(Client::new(Arc::clone(seeds)), first, u64::MAX)
    }

    /// Logs in anew all the time.
    pub fn start_as(seeds: &Seeds, password: &Secret) -> Self {
        Self::run(Client::with(Arc::clone(seeds), Arc::clone(password)), 0, 20)
    }

    fn run(mut client: Client, first: u64, login_lasts: u64) -> Self {
        let (stop, ledger) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Ledger::default())));
        let (told, book) = (Arc::clone(&stop), Arc::clone(&ledger));
        let thread = thread::spawn(move || {
            let mut last: BTreeMap<u64, Instant> = BTreeMap::new();
            for number in first.. {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                if number % login_lasts == 0 {
                    client.connections.clear();
                }
                let written = client.ask(number, &["SET", &key(number), &number.to_string()]);
                let is_acknowledged = written.is_ok_and(|reply| reply == "OK");
                let is_copied = is_acknowledged && number.is_multiple_of(4) && client.copies(number) > 0;
                let mut book = book.lock().expect("no panic");
                if is_acknowledged {
                    book.acknowledged.push(number);
                    if let Some(before) = last.insert(number % GROUPS, Instant::now()) {
                        book.longest_pause = book.longest_pause.max(before.elapsed());
                    }
                } else {
                    book.refused += 1;
                }
                if is_copied {
                    book.copied.push(number);
                }
                drop(book);
                thread::sleep(Duration::from_millis(if is_acknowledged { 1 } else { 20 }));
            }
        });
        Self { stop, ledger, thread: Some(thread) }
    }

    pub fn count(&self) -> usize {
        self.ledger.lock().expect("no panic").acknowledged.len()
    }

    pub fn stop(mut self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("it ran").join().expect("no panic");
        std::mem::take(&mut *self.ledger.lock().expect("no panic"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Those of the numbers that are not there any more.
pub fn lost(seeds: &Seeds, numbers: &[u64]) -> Vec<u64> {
    lost_to(Client::new(Arc::clone(seeds)), numbers)
}

/// The same as a client sees it.
pub fn lost_to(mut client: Client, numbers: &[u64]) -> Vec<u64> {
    let mut is_there = |number: u64| {
        // A server that has just come may not serve yet.
        for _ in 0..200 {
            match client.ask(number, &["GET", &key(number)]) {
                Ok(value) => return value == number.to_string(),
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
        false
    };
    numbers.iter().copied().filter(|number| !is_there(*number)).collect()
}

pub fn address(ip: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}
