//! RESP 2, pure: what this program sends, and the kinds of reply that it can get.
//!
//! Not the `redis` crate: these few lines know one deadline for a whole conversation and a bound on
//! what a reply may hold, and bring no further crates into a program that every pod copies.

use thiserror::Error;

/// Bytes of a reply where nothing else is said. `CLUSTER NODES` has about 150 for each of at most 600 nodes.
pub const MAX_REPLY: usize = 256 * 1024;

/// What the server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// `+OK`
    Simple(String),
    /// `-LOADING Redis is loading the dataset in memory`, without the dash
    Error(String),
    /// Any bytes, of known length
    Bulk(Vec<u8>),
    /// `$-1`, where there is no such thing
    Nothing,
    /// `:42`
    Integer(i64),
    /// Several, none of them a list
    List(Vec<Reply>),
}

/// Why bytes are not a reply.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RespError {
    /// A kind that nothing here asks for, or not RESP at all.
    #[error("reply starts with byte 0x{0:02x}")]
    Kind(u8),
    /// The length of a bulk reply is none.
    #[error("reply has no valid length")]
    Length,
    /// The number is none.
    #[error("reply has no valid number")]
    Number,
    /// The text is not ended where its length says.
    #[error("reply does not end where it says")]
    End,
    /// Longer than may be.
    #[error("reply is longer than {0} bytes")]
    TooLong(usize),
}

/// A command as Redis wants it: an array of bulk strings.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The reply at the start of `bytes`; `None` while its end has not arrived.
pub fn parse(bytes: &[u8]) -> Result<Option<Reply>, RespError> {
    parse_within(MAX_REPLY, bytes)
}

/// The same, of at most so many bytes.
pub fn parse_within(most: usize, bytes: &[u8]) -> Result<Option<Reply>, RespError> {
    Ok(whole(most, bytes, true)?.map(|(reply, _)| reply))
}

/// The reply, and what follows it.
fn whole(most: usize, bytes: &[u8], may_be_list: bool) -> Result<Option<(Reply, &[u8])>, RespError> {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let is_known = match kind {
        b'+' | b'-' | b'$' | b':' => true,
        b'*' => may_be_list,
        _ => false,
    };
    if !is_known {
        return Err(RespError::Kind(kind));
    }
    let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() > most { Err(RespError::TooLong(most)) } else { Ok(None) };
    };
    let (line, rest) = (&rest[..end], &rest[end + 2..]);
    match kind {
        b'+' => Ok(Some((Reply::Simple(text(line)), rest))),
        b'-' => Ok(Some((Reply::Error(text(line)), rest))),
        b':' => {
            let number = text(line).parse().map_err(|_| RespError::Number)?;
            Ok(Some((Reply::Integer(number), rest)))
        }
        b'*' => list(most, length(most, line)?, rest),
        _ if line == b"-1" => Ok(Some((Reply::Nothing, rest))),
        _ => bulk(length(most, line)?, rest),
    }
}

fn length(most: usize, line: &[u8]) -> Result<usize, RespError> {
    let length =
        std::str::from_utf8(line).ok().and_then(|digits| digits.parse().ok()).ok_or(RespError::Length)?;
    if length > most { Err(RespError::TooLong(most)) } else { Ok(length) }
}

fn bulk(length: usize, rest: &[u8]) -> Result<Option<(Reply, &[u8])>, RespError> {
    match (rest.get(..length), rest.get(length..length + 2)) {
        (Some(content), Some(b"\r\n")) => Ok(Some((Reply::Bulk(content.to_owned()), &rest[length + 2..]))),
        (Some(_), Some(_)) => Err(RespError::End),
        _ => Ok(None),
    }
}

fn list(most: usize, length: usize, mut rest: &[u8]) -> Result<Option<(Reply, &[u8])>, RespError> {
    let mut replies = Vec::new();
    for _ in 0..length {
        let Some((reply, further)) = whole(most, rest, false)? else { return Ok(None) };
        replies.push(reply);
        rest = further;
    }
    Ok(Some((Reply::List(replies), rest)))
}

/// What Redis says is ASCII, but for what people make it keep.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_carry_any_bytes() {
        assert_eq!(command(&[b"PING"]), b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(command(&[b"AUTH", b"a\r\n\xff"]), b"*2\r\n$4\r\nAUTH\r\n$4\r\na\r\n\xff\r\n");
    }

    #[test]
    fn whole_replies_are_read_and_beginnings_wait() {
        for (bytes, reply) in [
            (&b"+PONG\r\n"[..], Reply::Simple("PONG".into())),
            (b"-LOADING wait\r\n", Reply::Error("LOADING wait".into())),
            (b"$4\r\na\r\nb\r\n", Reply::Bulk("a\r\nb".into())),
            (b"$0\r\n\r\n", Reply::Bulk(Vec::new())),
            (b"$1\r\n\xff\r\n", Reply::Bulk(vec![0xff])),
            (b"$-1\r\n", Reply::Nothing),
            (b":-42\r\n", Reply::Integer(-42)),
            (b"*0\r\n", Reply::List(Vec::new())),
            (b"*2\r\n$1\r\na\r\n:7\r\n", Reply::List(vec![Reply::Bulk("a".into()), Reply::Integer(7)])),
        ] {
            for end in 0..bytes.len() {
                assert_eq!(parse(&bytes[..end]), Ok(None), "{end} of {reply:?}");
            }
            assert_eq!(parse(bytes), Ok(Some(reply)));
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        for (bytes, error) in [
            (&b"HTTP/1.1 400\r\n"[..], RespError::Kind(b'H')),
            (b"*1\r\n*1\r\n:1\r\n", RespError::Kind(b'*')),
            (b":x\r\n", RespError::Number),
            (b"$-2\r\n", RespError::Length),
            (b"$4x\r\n", RespError::Length),
            (b"$2\r\nabcd", RespError::End),
            (b"$262145\r\n", RespError::TooLong(MAX_REPLY)),
            (b"$99999999999999999999\r\n", RespError::Length),
        ] {
            assert_eq!(parse(bytes), Err(error));
        }
        assert_eq!(parse(&vec![b'+'; MAX_REPLY]), Ok(None));
        assert_eq!(parse(&vec![b'+'; MAX_REPLY + 1]), Err(RespError::TooLong(MAX_REPLY)));
        let long = vec![b'a'; MAX_REPLY + 1];
        let reply = [b"$262145\r\n", &long[..], b"\r\n"].concat();
        assert_eq!(parse_within(2 * MAX_REPLY, &reply), Ok(Some(Reply::Bulk(long))));
    }
}
