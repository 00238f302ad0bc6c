//! Accounts stage, I/O: the server takes the passwords and the users that are good now, while it runs.
//!
//! It is told of all of them in one command, so that there is no moment without one, and nobody who is
//! connected notices. What it shows to others, its master or the servers that it watches, is the
//! consumers' password: by the time that is another, all servers take it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::Duration;

use trading_report::REDIS_PASSWORDS;

use super::connections;
use super::link::{Link, LinkError, field};
use super::live::Shared;
use super::password::{self, Password, Passwords, hashes};
use super::users::{self, Files, Users};
use crate::said::Said;
use crate::with_causes;

/// Time between two looks at the files.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for one conversation.
const PATIENCE: Duration = Duration::from_secs(2);

/// Those of one server.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Where the server is reached.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
    /// What is good.
    pub passwords: Passwords,
    /// Name under which it watches servers, where it is a Sentinel.
    pub watches: Option<String>,
    /// Where its further users are told of.
    pub users: Option<Files>,
    /// Those of them that are not in force.
    pub pending: Shared,
    /// What the server runs by, for the operator.
    pub told: Shared,
}

/// What the server was told last.
struct Told {
    /// What it takes.
    takes: Vec<Arc<Password>>,
    /// The first connection that may have come with it, of each of them: those that the server began with are as
    /// old as all.
    since: Vec<(Arc<Password>, u64)>,
    /// Connections are to be ended that came before every one that is good.
    are_old_to_end: bool,
    /// What it shows.
    shows: Option<Arc<Password>>,
}

impl Accounts {
    /// Keeps the server by the files, for as long as it runs; it was started with these passwords.
    pub fn tend(self, begins_with: Vec<Arc<Password>>, mut users: Users) {
        let since = begins_with.iter().map(|password| (Arc::clone(password), 0)).collect();
        let shows = begins_with.first().cloned();
        let mut told = Told { takes: begins_with, since, are_old_to_end: false, shows };
        let (mut of_users, mut of_passwords) = (Said::default(), Said::default());
        loop {
            let unread = self.keep_users(&mut users, &told).err();
            let unread = unread.map(|error| format!("all stay as they were until they can be read: {error}"));
            of_users.once("users", unread.unwrap_or_default());
            match self.look_and_act(&mut told) {
                Ok(done) => {
                    of_passwords.once("passwords", done.unwrap_or_default());
                    self.tell(&told);
                }
                // While it starts it does not answer; what it was started with is known.
                Err(error) if error.is_silence() => {}
                Err(error) => of_passwords.once("passwords", with_causes(&error)),
            }
            thread::sleep(PAUSE);
        }
    }

    /// One that the server refuses stays as it was.
    ///
    /// # Errors
    /// When the rules can't be read; nothing is changed then.
    fn keep_users(&self, known: &mut Users, told: &Told) -> io::Result<()> {
        let Some(files) = &self.users else { return Ok(()) };
        let wished = files.read(known)?;
        let before = self.pending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut pending = BTreeMap::new();
        for (name, words) in users::commands(known, &wished) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let done = Link::open_with(self.ip, self.port, &told.takes, PATIENCE)
                .and_then(|mut link| link.count_or_order("ACL", &words));
            match done {
                Ok(()) => {
                    println!("users: {name} is in force");
                    match wished.get(&name) {
                        Some(rules) => known.insert(name, rules.clone()),
                        None => known.remove(&name),
                    };
                }
                Err(LinkError::Silent(_)) => return Ok(()),
                Err(error) => {
                    let reason = with_causes(&error);
                    if before.get(&name) != Some(&reason) {
                        eprintln!("users: {name} stays as it was: {reason}");
                    }
                    pending.insert(name, reason);
                }
            }
        }
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = pending;
        Ok(())
    }

    /// That the server takes these, and shows the consumers'. Of one that a person chose nothing is told.
    fn tell(&self, told: &Told) {
        let counted = self.passwords.are_counted();
        let digest = password::told(&told.takes, told.shows.as_ref()).filter(|_| counted);
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match digest {
            Some(digest) => all.insert(REDIS_PASSWORDS.to_owned(), digest),
            None => all.remove(REDIS_PASSWORDS),
        };
    }

    /// What was done, in words.
    fn look_and_act(&self, told: &mut Told) -> Result<Option<String>, LinkError> {
        let good = self.passwords.all();
        let Some(main) = good.first() else { return Ok(None) };
        let is_shown = told.shows.as_ref() == Some(main);
        if told.takes == good && is_shown && good.len() == 1 && !told.are_old_to_end {
            return Ok(None);
        }
        // The server may know none but those of before.
        let known: Vec<Arc<Password>> = told.takes.iter().chain(&good).cloned().collect();
        let mut link = Link::open_with(self.ip, self.port, &known, PATIENCE)?.with_room(connections::ROOM);
        let mut done = None;
        if told.takes != good {
            let number = connections::number(&mut link)?;
            let hashes = hashes(&good);
            let mut words = vec!["ACL", "SETUSER", "default", "resetpass"];
            words.extend(hashes.iter().map(String::as_str));
            link.order("ACL SETUSER", &words)?;
            done = Some(format!("the server takes {}", good.len()));
            // Consumers of a password that a person replaced may be at work with the old one.
            told.are_old_to_end |=
                self.passwords.are_counted() && told.takes.iter().any(|it| !good.contains(it));
            told.takes.clone_from(&good);
            told.since.retain(|(password, _)| good.contains(password));
            let known: Vec<_> = told.since.iter().map(|(password, _)| Arc::clone(password)).collect();
            told.since
                .extend(good.iter().filter(|it| !known.contains(it)).map(|it| (Arc::clone(it), number)));
        }
        if told.are_old_to_end {
            let first = told.since.iter().map(|(_, first)| *first).min().unwrap_or(0);
            let ended = connections::end_before(&mut link, first)?;
            told.are_old_to_end = false;
            done =
                Some(format!("the server takes {}, and {ended} connections of old ones ended", good.len()));
        }
        if let Some(next) = self.to_show(&mut link, told, &good)? {
            self.show(&mut link, &next)?;
            told.shows = Some(next);
        }
        Ok(done)
    }

    /// What the server should show instead. Where several are good and its master refuses what it shows,
    /// it is the next one.
    fn to_show(
        &self,
        link: &mut Link,
        told: &Told,
        good: &[Arc<Password>],
    ) -> Result<Option<Arc<Password>>, LinkError> {
        let shown = good.iter().position(|password| Some(password) == told.shows.as_ref());
        let consumers = || Ok(good.first().filter(|_| shown != Some(0)).cloned());
        let Some(shown) = shown.filter(|_| self.watches.is_none() && good.len() > 1) else {
            return consumers();
        };
        let info = link.text("INFO", &["INFO", "replication"])?;
        match field(&info, "master_link_status") {
            Some("down") => Ok(good.get((shown + 1) % good.len()).cloned()),
            _ => consumers(),
        }
    }

    fn show(&self, link: &mut Link, password: &Password) -> Result<(), LinkError> {
        let Some(name) = &self.watches else {
            return link.order_bytes("CONFIG SET", &[b"CONFIG", b"SET", b"masterauth", password.bytes()]);
        };
        let of_servers: [&[u8]; 5] = [b"SENTINEL", b"SET", name.as_bytes(), b"auth-pass", password.bytes()];
        link.order_bytes("SENTINEL SET", &of_servers)?;
        let of_sentinels: [&[u8]; 5] = [b"SENTINEL", b"CONFIG", b"SET", b"sentinel-pass", password.bytes()];
        link.order_bytes("SENTINEL CONFIG SET", &of_sentinels)
    }
}
