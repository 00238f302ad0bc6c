//! A scripted server on loopback, for what a real Redis does not do on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What to do about a command.
pub enum Act {
    Say(String),
    /// Byte by byte, 50 ms apart.
    Drip(&'static str),
    /// Keep the connection and say nothing.
    Wait,
    HangUp,
}

impl Act {
    pub fn bulk(text: &str) -> Self {
        Self::Say(format!("${}\r\n{text}\r\n", text.len()))
    }
}

/// Serves one connection after the other until it is dropped.
pub struct FakeRedis {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeRedis {
    /// `script` is asked about each command, its words joined by spaces.
    pub fn start(script: impl Fn(&str) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // `None` is a client that has gone, which is its right.
                let _ = stream.ok().and_then(|stream| serve(&stream, &script));
            }
        });
        Self { port, stop, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes `incoming`.
        let woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: &TcpStream, script: &impl Fn(&str) -> Act) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        match script(&command(&mut reader)?) {
            Act::Say(reply) => stream.write_all(reply.as_bytes()).ok()?,
            Act::Drip(reply) => {
                for byte in reply.bytes() {
                    stream.write_all(&[byte]).ok()?;
                    thread::sleep(Duration::from_millis(50));
                }
            }
            // Until the client goes.
            Act::Wait => return reader.read(&mut [0]).ok().map(|_| ()),
            Act::HangUp => return None,
        }
    }
}

fn command(reader: &mut impl BufRead) -> Option<String> {
    let words = header(reader, '*')?;
    let mut command = Vec::new();
    for _ in 0..words {
        let mut word = vec![0; header(reader, '$')? + 2];
        reader.read_exact(&mut word).ok()?;
        command.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
    }
    Some(command.join(" "))
}

fn header(reader: &mut impl BufRead, kind: char) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}
