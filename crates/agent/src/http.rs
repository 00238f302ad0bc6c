//! HTTP stage, I/O: answers GET requests of a scraper, one after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Bytes of a request that are read.
const LONGEST: u64 = 8 * 1024;
/// Time for a client to ask, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is told about a path.
pub struct Answer {
    /// Such as `200 OK`.
    status: &'static str,
    /// Its media type.
    kind: &'static str,
    /// Text.
    body: String,
}

/// What Prometheus reads, and people.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Answer {
    /// Text.
    pub fn text(body: impl Into<String>) -> Self {
        Self { status: "200 OK", kind: TEXT, body: body.into() }
    }

    /// JSON.
    pub fn json(body: String) -> Self {
        Self { status: "200 OK", kind: "application/json", body }
    }

    /// It can't be told.
    pub fn failed(body: String) -> Self {
        Self { status: "500 Internal Server Error", kind: TEXT, body }
    }

    fn refused(status: &'static str) -> Self {
        Self { status, kind: TEXT, body: String::new() }
    }
}

/// Answers in a thread of its own until the process ends.
pub fn serve(listener: TcpListener, answer: impl Fn(&str) -> Option<Answer> + Send + 'static) {
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away early needs no answer.
            let _ = converse(&stream, &answer);
        }
    });
}

fn converse(stream: &TcpStream, answer: &impl Fn(&str) -> Option<Answer>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(LONGEST));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    // To the end of the headers: closing with something unread would reset the connection.
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let answer = path(&line).map_or_else(
        || Answer::refused("405 Method Not Allowed"),
        |path| answer(path).unwrap_or_else(|| Answer::refused("404 Not Found")),
    );
    let Answer { status, kind, body } = answer;
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// From `GET /metrics?x HTTP/1.1`.
fn path(line: &str) -> Option<&str> {
    let target = line.strip_prefix("GET ")?.split(' ').next()?;
    target.split('?').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    #[test]
    fn known_paths_are_answered_and_others_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let answer = |path: &str| (path == "/healthz").then(|| Answer::text("well\n"));
        serve(listener, answer);

        let well = ask(port, "GET /healthz?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(well.starts_with("HTTP/1.1 200 OK\r\n") && well.ends_with("\r\n\r\nwell\n"), "{well}");
        assert!(well.contains("Content-Length: 5\r\n"), "{well}");
        assert!(ask(port, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask(port, "POST /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask(port, "\r\n\r\n").starts_with("HTTP/1.1 405 "));
    }
}
